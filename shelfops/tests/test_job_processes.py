"""Runs that meet in threads and processes: asked for at once, killed, given up for dead, with the broker down."""

import contextlib
import datetime as dt
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings as project
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from shelfops import heartbeat, jobs
from shelfops.models import JobRun, Lease
from shelfops.refusals import Refusal
from shelfops.tests import worker_jobs  # noqa: F401  # registers its jobs here too

pytestmark = pytest.mark.django_db(transaction=True)
Status = JobRun.Status
SETUP = "import django; django.setup()\nfrom shelfops import jobs, tasks\nfrom shelfops.models import Customer\n"
SETUP += "import shelfops.tests.worker_jobs\nacme = Customer.objects.get()\n"


@pytest.fixture
def job(monkeypatch):
    """Registers what it is given as the job “count” of the resource “shelf”."""
    monkeypatch.setattr(jobs, "_jobs", {})
    monkeypatch.setattr(jobs, "_senders", [])
    return lambda work, **options: jobs.register("count", work, resource="shelf", **options)


@pytest.fixture
def quick(monkeypatch):
    """Waits ask often, while no lease runs out on a machine that stalls for seconds."""
    monkeypatch.setattr(jobs, "_poll_seconds", lambda: 0.02)


def at_once(count, work):
    """What `work(number)` returns in so many threads that begin together."""
    barrier = threading.Barrier(count)

    def begin(number):
        try:
            barrier.wait()
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


def an_hour_ago():
    return timezone.now() - dt.timedelta(hours=1)


def end_lease(run):
    """Makes it look as if the run was late to renew it."""
    Lease.objects.filter(run=run).update(expires_at=an_hour_ago())


def silence(run):
    """Makes it look as if its worker had died long ago."""
    JobRun.objects.filter(pk=run.pk).update(heartbeat_at=an_hour_ago())
    end_lease(run)


# --- Many at once


def test_twenty_who_ask_at_once_get_one_run(acme, job):
    done, sent = [], []
    job(lambda run, progress: done.append(run.pk))
    jobs.send_with(sent.append)
    runs = at_once(20, lambda _: jobs.request(acme, "count", slot="2026-11-22"))
    at_once(5, lambda _: jobs.perform(runs[0].pk))
    assert len({run.pk for run in runs}) == 1
    assert sent == done == [runs[0].pk]


def test_a_failed_slot_that_many_take_again_is_queued_once(acme, job):
    sent = []
    job(lambda run, progress: None)
    run = jobs.request(acme, "count", slot="1")
    JobRun.objects.update(status=Status.FAILED)
    jobs.send_with(sent.append)
    at_once(10, lambda _: jobs.request(acme, "count", slot="1"))
    assert sent == [run.pk]


def test_commands_at_once_do_it_once_and_all_get_the_result(acme, job, quick):
    done = []

    def work(run, progress):
        time.sleep(0.3)
        done.append(run.pk)
        return {"mae": 1.5}

    job(work)
    runs = at_once(6, lambda _: jobs.run_now(acme, "count", slot="1"))
    assert len(done) == 1
    assert [run.result for run in runs] == [{"mae": 1.5}] * 6


def test_runs_on_one_resource_follow_each_other(acme, job, quick):
    times = []

    def work(run, progress):
        times.append(("in", run.slot))
        time.sleep(0.1)
        times.append(("out", run.slot))

    job(work)
    runs = at_once(3, lambda number: jobs.run_now(acme, "count", slot=str(number)))
    assert {run.status for run in runs} == {Status.COMPLETED}
    assert [what for what, _ in times] == ["in", "out"] * 3


def test_a_run_that_is_busy_in_native_code_keeps_its_lease(acme, job, monkeypatch):
    monkeypatch.setattr(heartbeat, "BEATS_PER_LEASE", 600)  # of 60 seconds

    def work(run, progress):
        begun = Lease.objects.get().expires_at
        _wait_until(lambda: hashlib.pbkdf2_hmac("sha256", b"busy", b"in C", 100_000) and _renewed_since(begun))

    job(work)
    assert jobs.run_now(acme, "count", slot="1").status == Status.COMPLETED


def _renewed_since(moment):
    return Lease.objects.get().expires_at > moment


def test_customers_do_not_wait_for_each_other(acme, globex, job):
    barrier = threading.Barrier(2)
    job(lambda run, progress: barrier.wait(30) and None)
    runs = at_once(2, lambda number: jobs.run_now([acme, globex][number], "count", slot="1"))
    assert {run.status for run in runs} == {Status.COMPLETED}


# --- A resource that is not given up


@pytest.fixture
def held(acme, job):
    """A run at work elsewhere that holds the resource."""
    job(lambda run, progress: None)
    now = timezone.now()
    run = JobRun.objects.create(
        customer=acme, job="count", slot="held", status=Status.RUNNING, attempt=1, heartbeat_at=now
    )
    Lease.objects.create(customer=acme, resource="shelf", run=run, attempt=1, expires_at=now + dt.timedelta(minutes=1))
    return run


def test_a_worker_that_waited_long_enough_puts_the_run_back(acme, held):
    run = jobs.perform(jobs.request(acme, "count", slot="2").pk, wait_seconds=0)
    assert (run.status, run.stage) == (Status.QUEUED, f"Waiting for run {held.pk} (count held)")
    JobRun.objects.filter(pk=held.pk).update(status=Status.COMPLETED)
    Lease.objects.all().delete()
    assert jobs.perform(run.pk).status == Status.COMPLETED


def test_a_command_that_waited_long_enough_is_refused(acme, held):
    with pytest.raises(Refusal, match=f"Waiting for run {held.pk} .* Try again"):
        jobs.run_now(acme, "count", slot="2", wait_seconds=0)
    assert JobRun.objects.get(slot="2").status == Status.FAILED


def test_a_command_does_not_begin_what_another_process_is_doing(acme, held):
    with pytest.raises(Refusal, match="still at work"):
        jobs.run_now(acme, "count", slot="held", wait_seconds=0)


# --- Dead, or taken for dead


def test_the_sweeper_closes_a_dead_run_once_and_what_it_left_open(acme, held, job):
    closed = []
    job(lambda run, progress: None, on_death=closed.append)
    assert jobs.sweep() == (0, 0)
    silence(held)
    assert jobs.sweep() == (1, 0)
    assert jobs.sweep() == (0, 0)
    held.refresh_from_db()
    assert (held.status, closed) == (Status.FAILED, [held])
    assert held.error.startswith("Its worker died: no sign of life after ")


def test_what_cannot_be_tidied_up_does_not_stop_the_next_run(acme, held, job, caplog):
    job(lambda run, progress: None, on_death=lambda run: 1 / 0)
    silence(held)
    assert jobs.run_now(acme, "count", slot="2").status == Status.COMPLETED
    assert "could not be closed" in caplog.text


@pytest.mark.parametrize("notices", ["stage", "confirm", None])
def test_a_run_given_up_for_dead_cannot_complete(notices, acme, job):
    def work(run, progress):
        silence(run)
        jobs.sweep()
        if notices:
            getattr(progress, notices)(*(["Promoting"] if notices == "stage" else []))
            raise AssertionError("it went on")
        return {"promoted": True}

    job(work)
    with pytest.raises(Refusal, match="Its worker died"):
        jobs.run_now(acme, "count", slot="1")
    assert JobRun.objects.get().result == {}


def test_a_dead_slot_taken_again_is_closed_to_its_first_worker(acme, job):
    def second(run, progress):
        return {"by": "second"}

    def first(run, progress):
        silence(run)
        jobs.sweep()
        job(second)
        jobs.run_now(acme, "count", slot="1")
        return {"by": "first"}

    job(first)
    run = jobs.run_now(acme, "count", slot="1")
    assert (run.status, run.result, run.attempt) == (Status.COMPLETED, {"by": "second"}, 2)


# --- Leases and runs are locked in one order


def test_a_lease_that_ran_out_is_not_taken_from_a_run_that_lives(acme, held):
    end_lease(held)
    run = jobs.perform(jobs.request(acme, "count", slot="2").pk, wait_seconds=0)
    assert (run.status, run.stage) == (Status.QUEUED, f"Waiting for run {held.pk} (count held)")
    assert Lease.objects.get().run == held


def test_a_run_that_comes_back_while_it_is_looked_at_keeps_its_lease(held):
    held.heartbeat_at = an_hour_ago()  # as a sweeper read it a moment ago
    assert not jobs._bury_if_dead(held)
    assert Lease.objects.get().run == held


def test_a_lease_that_a_closed_run_left_behind_is_free(acme, held):
    JobRun.objects.filter(pk=held.pk).update(status=Status.FAILED, error="no")
    end_lease(held)
    assert jobs.run_now(acme, "count", slot="2").status == Status.COMPLETED
    assert JobRun.objects.get(pk=held.pk).error == "no"


def test_a_run_renews_its_lease_when_it_decides(acme, job):
    def work(run, progress):
        end_lease(run)
        with transaction.atomic():
            progress.confirm()
            return {"still_held": Lease.objects.get().expires_at > timezone.now()}

    job(work)
    assert jobs.run_now(acme, "count", slot="1").result == {"still_held": True}


def test_a_run_that_lost_its_lease_decides_nothing(acme, job):
    decided = []

    def work(run, progress):
        Lease.objects.all().delete()
        with transaction.atomic():
            progress.confirm()
            decided.append(run)

    job(work)
    run = jobs.perform(jobs.request(acme, "count", slot="1").pk)
    assert (decided, run.result) == ([], {})


def _confirm(run):
    with transaction.atomic(), contextlib.suppress(jobs.Lost):
        _progress(run).confirm()


def _progress(run):
    return jobs.Progress(run, heartbeat.Heartbeat(run))


LATE = {
    "beat": heartbeat.beat,
    "confirm": _confirm,
    "close": lambda run: jobs._close(run, _progress(run), {"status": Status.COMPLETED}),
}


@pytest.mark.parametrize("write", LATE.values(), ids=LATE)
def test_who_buries_a_run_and_who_writes_to_it_late_do_not_wait_for_each_other(write, held):
    silence(held)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            list(Lease.objects.select_for_update())  # as whoever takes a lease over begins
            late = pool.submit(write, held)
            _wait_until(lambda: late.done() or _somebody_waits_for_this_one())
            assert jobs._bury(held, held.attempt) == held
        late.result()
        pool.submit(connection.close)
    assert JobRun.objects.get().status == Status.FAILED
    assert not Lease.objects.exists()


def _somebody_waits_for_this_one():
    if connection.vendor == "sqlite":  # one writer at a time: whoever else comes waits for the whole transaction
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return cursor.fetchone()[0]


# --- Processes


def _environment(**extra: str) -> dict[str, str]:
    """Of a process that works on this test's database."""
    database = connection.settings_dict
    url = f"sqlite:///{database['NAME']}"
    if connection.vendor == "postgresql":
        url = "postgres://{USER}:{PASSWORD}@{HOST}:{port}/{NAME}".format(**database, port=database["PORT"] or 5432)
    own = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "shelfops.settings"}
    return {**os.environ, **own, **extra}


def _python(code: str, **extra: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SETUP + code], env=_environment(**extra), cwd=project.BASE_DIR)


def _wait_until(true, seconds=40):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_run_after_a_killed_one_waits_its_lease_out_says_so_and_completes(acme, settings, tmp_path, caplog):
    settings.JOB_LEASE_SECONDS = 3.0
    digging, counted = tmp_path / "digging", tmp_path / "counted"
    often = "from shelfops import heartbeat; heartbeat.BEATS_PER_LEASE = 30\n"
    dig = f"jobs.run_now(acme, 'dig', slot='1', arguments={{'file': {str(digging)!r}}})"
    process = _python(often + dig, SHELFOPS_JOB_LEASE_SECONDS="3")
    a_lease = dt.timedelta(seconds=3)
    _wait_until(lambda: JobRun.objects.filter(stage="Digging", heartbeat_at__gt=F("started_at") + a_lease).exists())
    assert jobs.sweep() == (0, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = jobs.run_now(acme, "count", slot="2", arguments={"file": str(counted)})
    dead = JobRun.objects.get(slot="1")
    assert (dead.status, dead.stage, dead.percent) == (Status.FAILED, "Digging", 40)
    assert "Its worker died" in dead.error
    assert "Its worker died" in caplog.text
    assert run.status == Status.COMPLETED
    stages = [stage["stage"] for stage in run.stages]
    assert stages == [f"Waiting for run {dead.pk} (dig 1)", f"Took over from run {dead.pk} (dig 1), whose worker died"]


def test_the_slot_of_a_killed_run_can_be_taken_again(acme, tmp_path, monkeypatch):
    file = tmp_path / "digging"
    process = _python(f"jobs.run_now(acme, 'dig', slot='1', arguments={{'file': {str(file)!r}}})")
    _wait_until(lambda: file.exists() and file.read_text())
    process.kill()
    process.wait()
    silence(JobRun.objects.get())
    monkeypatch.setitem(jobs._jobs, "dig", jobs.Job(lambda run, progress: {"dug": True}, "garden", None))
    run = jobs.run_now(acme, "dig", slot="1")
    assert (run.status, run.attempt, run.error) == (Status.COMPLETED, 2, "")


def test_a_broker_that_is_down_delays_a_run_and_loses_none(acme, tmp_path, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    file = tmp_path / "counted"
    began = time.monotonic()
    asking = f"jobs.request(acme, 'count', slot='1', arguments={{'file': {str(file)!r}}})"
    assert _python(asking, CELERY_BROKER_URL=closed).wait(60) == 0
    assert time.monotonic() - began < 30
    run = JobRun.objects.get()
    assert (run.status, run.sent_at) == (Status.QUEUED, None)
    monkeypatch.setattr(jobs, "_senders", [jobs.perform])
    assert jobs.sweep() == (0, 1)
    assert JobRun.objects.get().status == Status.COMPLETED
    assert jobs.sweep() == (0, 0)


BROKERS = ["localfs", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.mark.parametrize("broker", BROKERS)
def test_a_worker_process_does_once_what_it_is_told_twice(broker, acme, redis_url, tmp_path):
    url = redis_url if broker == "redis" else "localfs://localhost"
    extra = {"CELERY_BROKER_URL": url, "SHELFOPS_DATA_DIR": str(tmp_path)}
    file = tmp_path / "counted"
    asking = f"run = jobs.request(acme, 'count', slot='1', arguments={{'file': {str(file)!r}}})\ntasks.send(run.pk)\n"
    asking += f"last = jobs.request(acme, 'count', slot='2', arguments={{'file': {str(file)!r}}})"
    assert _python(asking, **extra).wait(60) == 0
    command = [sys.executable, "-m", "celery", "-A", "shelfops", "worker", "-P", "prefork", "-c", "1"]
    command += ["-I", "shelfops.tests.worker_jobs", "--without-mingle", "--without-gossip"]
    worker = subprocess.Popen(command, env=_environment(**extra), cwd=project.BASE_DIR)
    try:
        _wait_until(lambda: JobRun.objects.filter(status=Status.COMPLETED).count() == 2)
    finally:
        worker.terminate()
        worker.wait(20)
    assert [run.attempt for run in JobRun.objects.all()] == [1, 1]
    pids = Path(file).read_text().split()
    assert len(pids) == 2
    assert str(os.getpid()) not in pids
