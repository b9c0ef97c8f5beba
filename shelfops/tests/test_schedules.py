"""What is due when, in each customer's zone: once per date, also where the clocks change."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db.models import F
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler
from django_celery_beat.tzcrontab import TzAwareCrontab

from shelfops import customers, jobs, schedules, tasks
from shelfops.celery import app
from shelfops.models import Customer, JobRun, Lease, User

NEW_YORK, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
# Zone, Sunday on which the clocks change, when 02:00 of it is, in UTC.
CHANGES = [
    ("America/New_York", "2027-03-14", "07:00"),  # 02:00 does not exist: 03:00 EDT
    ("America/New_York", "2026-11-01", "07:00"),  # 01:00 comes twice: 02:00 EST
    ("Europe/Berlin", "2027-03-28", "01:00"),  # 02:00 does not exist: 03:00 CEST
    ("Europe/Berlin", "2026-10-25", "00:00"),  # 02:00 comes twice: the first, CEST
]


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def retrain(monkeypatch):
    monkeypatch.setattr(jobs, "_jobs", {})
    monkeypatch.setattr(jobs, "_senders", [])
    jobs.register("retrain", lambda run, progress: {}, resource="demand_forecast")


def customer_in(zone: str, created: str = "2026-10-01") -> Customer:
    with time_machine.travel(utc(created), tick=False):
        return customers.create(Customer(slug="acme", name="Acme", timezone=zone))


def slots() -> list[str]:
    return list(JobRun.objects.order_by("slot").values_list("slot", flat=True))


# --- The reckoning


@pytest.mark.parametrize(("zone", "day", "moment"), CHANGES)
def test_two_in_the_morning_is_one_moment_on_every_sunday(zone, day, moment):
    due = schedules.instant(dt.date.fromisoformat(day), dt.time(2), ZoneInfo(zone))
    assert due == utc(f"{day} {moment}")


def test_a_time_within_the_skipped_hour_runs_when_the_clocks_jump():
    assert schedules.instant(dt.date(2027, 3, 14), dt.time(2, 30), NEW_YORK) == utc("2027-03-14 07:00")
    assert schedules.instant(dt.date(2027, 3, 28), dt.time(2, 59), BERLIN) == utc("2027-03-28 01:00")


def test_a_day_that_a_zone_skipped_is_due_when_the_next_begins():
    assert schedules.instant(dt.date(2011, 12, 30), dt.time(2), ZoneInfo("Pacific/Apia")) == utc("2011-12-30 10:00")


@pytest.mark.parametrize(("now", "day"), [("06:59:59", "2026-10-25"), ("07:00", "2026-11-01")])
def test_the_last_due_date_turns_on_the_second(now, day):
    plan = TzAwareCrontab("0", "2", "0", tz=NEW_YORK)
    assert schedules.last_due(plan, utc(f"2026-11-01 {now}"))[0].isoformat() == day


def test_the_next_moments_are_told_in_the_zone():
    plan = TzAwareCrontab("0", "2", "0", tz=BERLIN)
    coming = schedules.next_dues(plan, utc("2027-03-20 12:00"), 3)
    assert [str(moment) for moment in coming] == [
        "2027-03-21 02:00:00+01:00",
        "2027-03-28 03:00:00+02:00",
        "2027-04-04 02:00:00+02:00",
    ]


# --- Asking


@pytest.mark.django_db
@pytest.mark.parametrize(("zone", "day", "moment"), CHANGES)
def test_a_due_date_gives_one_run_whoever_asks(zone, day, moment):
    acme = customer_in(zone)
    due = utc(f"{day} {moment}")
    for late in (0, 30, 3600, 7200, 86400):
        with time_machine.travel(due + dt.timedelta(seconds=late), tick=False):
            tasks.due(str(acme.pk), "retrain")
            tasks.sweep()
    assert slots() == [day]


@pytest.mark.django_db
def test_a_run_that_failed_is_not_begun_again_by_a_second_scheduler():
    acme = customer_in("UTC")
    with time_machine.travel(utc("2026-11-22 02:00"), tick=False):
        tasks.due(str(acme.pk), "retrain")
        JobRun.objects.update(status=JobRun.Status.FAILED)
        tasks.due(str(acme.pk), "retrain")
    assert JobRun.objects.get().status == JobRun.Status.FAILED


@pytest.mark.django_db
def test_what_came_due_while_beat_was_down_is_made_up_for():
    customer_in("UTC")
    with time_machine.travel(utc("2026-11-25 12:00"), tick=False):
        tasks.sweep()
    assert slots() == ["2026-11-22"]


@pytest.mark.django_db
def test_a_new_customer_has_nothing_to_make_up_for():
    acme = customer_in("UTC", created="2026-11-23 12:00")
    with time_machine.travel(utc("2026-11-23 12:05"), tick=False):
        tasks.due(str(acme.pk), "retrain")
        tasks.sweep()
    assert slots() == []


@pytest.mark.django_db
def test_a_job_that_nobody_does_stops_no_other(caplog):
    acme = customer_in("UTC")
    schedules.change(acme, "nap", weekday=None, at=dt.time(1), enabled=True)
    PeriodicTask.objects.update(start_time=utc("2026-10-01"))
    with time_machine.travel(utc("2026-11-25 12:00"), tick=False):
        schedules.catch_up()
    assert slots() == ["2026-11-22"]
    assert "“acme: nap” of the timetable cannot be followed" in caplog.text


# --- The lines


@pytest.mark.django_db
def test_customers_share_times_of_day_but_not_lines():
    for slug in ("acme", "globex"):
        customers.create(Customer(slug=slug, name=slug, timezone="Europe/Berlin"))
    assert [task.name for task in schedules.lines().order_by("name")] == [
        "acme: retrain",
        "acme: run_day",
        "globex: retrain",
        "globex: run_day",
    ]
    assert CrontabSchedule.objects.filter(timezone=BERLIN).count() == 2


@pytest.mark.django_db
def test_a_line_follows_the_customer_into_another_zone():
    acme = customer_in("Europe/Berlin")
    schedules.change(acme, "retrain", weekday=3, at=dt.time(4, 15), enabled=False)
    acme.timezone = "Asia/Kathmandu"
    customers.change(acme)
    line = schedules.lines_of(acme)["retrain"]
    assert (str(line.crontab.timezone), line.enabled) == ("Asia/Kathmandu", False)
    assert schedules.when(line) == (3, dt.time(4, 15))


@pytest.mark.django_db
def test_only_a_real_change_makes_beat_read_again():
    acme = customer_in("UTC")
    before = PeriodicTasks.last_change()
    schedules.change(acme, "retrain", weekday=0, at=dt.time(2), enabled=True)
    assert PeriodicTasks.last_change() == before
    schedules.change(acme, "retrain", weekday=1, at=dt.time(2), enabled=True)
    assert PeriodicTasks.last_change() > before


# --- The real scheduler


class Beat(DatabaseScheduler):
    """Does at once what it would send to a worker, and counts."""

    producer = None

    def apply_async(self, entry, **_):
        if entry.task == schedules.TASK:  # and not the sweep, which would do it too
            app.tasks[entry.task](*entry.args)


def _days_before(day: str) -> str:
    return str(dt.date.fromisoformat(day) - dt.timedelta(days=3))


def run_beats(start: dt.datetime, hours: int, count: int = 1) -> None:
    """Schedulers that wake every ten minutes; each tick does one thing, so they tick until nothing is due."""
    with time_machine.travel(start, tick=False) as clock:
        beats = [Beat(app=app) for _ in range(count)]
        for beat in beats:
            beat._finalize.cancel()  # else it would write to the database when the tests are over
        for _ in range(hours * 6):
            for beat in beats:
                while beat.tick() <= 0:
                    pass
            clock.shift(dt.timedelta(minutes=10))


@pytest.mark.django_db(transaction=True)  # beat ends transactions
@pytest.mark.parametrize(("zone", "day", "moment"), CHANGES)
def test_two_schedulers_give_one_run_where_the_clocks_change(zone, day, moment):
    customer_in(zone, created=_days_before(day))
    run_beats(utc(f"{day} {moment}") - dt.timedelta(hours=2, minutes=5), hours=5, count=2)
    assert slots() == [day]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("at", [dt.time(1, 30), dt.time(2, 30)])
@pytest.mark.parametrize(("zone", "day", "moment"), CHANGES)
def test_half_hours_within_the_change_give_one_run_too(zone, day, moment, at):
    acme = customer_in(zone)
    with time_machine.travel(utc(_days_before(day)), tick=False):
        schedules.change(acme, "retrain", weekday=0, at=at, enabled=True)
    run_beats(utc(f"{day} {moment}") - dt.timedelta(hours=3), hours=6)
    with time_machine.travel(utc(f"{day} {moment}") + dt.timedelta(hours=3), tick=False):
        tasks.sweep()
    assert slots() == [day]


@pytest.mark.django_db(transaction=True)
def test_a_line_moved_into_the_past_of_today_waits_for_its_next_time():
    acme = customer_in("UTC")
    with time_machine.travel(utc("2026-11-24 12:00"), tick=False):  # a Tuesday
        schedules.change(acme, "retrain", weekday=2, at=dt.time(11), enabled=True)
    run_beats(utc("2026-11-24 12:05"), hours=3)
    assert slots() == []
    run_beats(utc("2026-12-01 10:05"), hours=2)
    assert slots() == ["2026-12-01"]


# --- After a worker has died


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "deaths", "then"),
    [
        ("Its worker died: no sign of life after 02:03. Start it again.", 1, JobRun.Status.QUEUED),
        ("Its worker died: no sign of life after 02:03. Start it again.", jobs.MOST_DEATHS, JobRun.Status.FAILED),
        ("Acme has no sales before 2026-11-01.", 1, JobRun.Status.FAILED),
    ],
)
def test_a_due_run_whose_worker_died_is_asked_for_again(error, deaths, then):
    acme = customer_in("America/New_York")
    with time_machine.travel(utc("2026-11-01 07:05"), tick=False):
        schedules.ask(acme, "retrain")
        JobRun.objects.update(status=JobRun.Status.FAILED, error=error, deaths=deaths)

        schedules.catch_up()
        schedules.catch_up()

    assert JobRun.objects.get().status == then


@pytest.mark.django_db
def test_it_is_asked_for_as_it_was_the_first_time():
    acme, wanted = customer_in("America/New_York"), {"as_of": "2026-11-01", "promote": False}
    with time_machine.travel(utc("2026-11-01 07:05"), tick=False):
        jobs.request(acme, "retrain", slot="2026-11-01", arguments=wanted)
        JobRun.objects.update(status=JobRun.Status.FAILED, error=f"{jobs.DIED}.", deaths=1)

        schedules.catch_up()

    run = JobRun.objects.get()
    assert (run.status, run.arguments) == (JobRun.Status.QUEUED, wanted)


@pytest.mark.django_db
def test_the_sweeper_has_a_killed_run_done_again(settings):
    acme, worked = customer_in("America/New_York"), []
    jobs.register("retrain", lambda run, _progress: worked.append(run.attempt), resource="demand_forecast")
    with time_machine.travel(utc("2026-11-01 07:05"), tick=False) as now:
        run = schedules.ask(acme, "retrain")
        JobRun.objects.update(status=JobRun.Status.RUNNING, attempt=1, heartbeat_at=utc("2026-11-01 07:05"))
        now.shift(settings.JOB_LEASE_SECONDS + 1)

        tasks.sweep()
        jobs.perform(run.pk)

    run.refresh_from_db()
    assert (worked, run.status) == ([2], JobRun.Status.COMPLETED)


@pytest.fixture
def killed(settings):
    """Kills the worker of a due retrain that waited behind another run as often as a worker may die."""
    acme = customer_in("America/New_York")
    with time_machine.travel(utc("2026-11-01 07:05"), tick=False) as now:
        run, holder = schedules.ask(acme, "retrain"), JobRun.objects.create(customer=acme, job="retrain", slot="held")
        until = timezone.now() + dt.timedelta(minutes=1)
        lease = Lease.objects.create(customer=acme, resource="demand_forecast", run=holder, attempt=1, expires_at=until)
        waits = [jobs.perform(run.pk, wait_seconds=0).status for _ in range(jobs.MOST_DEATHS)]
        assert waits == ["queued"] * jobs.MOST_DEATHS
        lease.delete()
        holder.delete()

        def kill():
            JobRun.objects.update(status=JobRun.Status.RUNNING, attempt=F("attempt") + 1, heartbeat_at=timezone.now())
            now.shift(settings.JOB_LEASE_SECONDS + 1)
            tasks.sweep()
            return JobRun.objects.get()

        yield kill


@pytest.mark.django_db
def test_only_deaths_count_against_a_run_not_how_often_it_waited(killed):
    ends = [killed().status for _ in range(jobs.MOST_DEATHS)]
    assert ends == [*["queued"] * (jobs.MOST_DEATHS - 1), "failed"]


@pytest.mark.django_db
def test_whoever_starts_it_again_by_hand_gives_it_all_its_tries_back(killed):
    run = [killed() for _ in range(jobs.MOST_DEATHS)][-1]
    jobs.request(run.customer, run.job, slot=run.slot, arguments=run.arguments, by=User.objects.create_user("anna"))

    run = killed()
    assert (run.status, run.deaths) == ("queued", 1)
    assert run.attempt == 2 * jobs.MOST_DEATHS + 1  # an attempt is never numbered like one before it
