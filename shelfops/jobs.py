"""Work that must happen once: asked for by slot, done by one worker under a lease, told from beginning to end.

A run goes queued -> running -> completed, failed or skipped. A failed or skipped slot may be taken again, a completed
one answers its first result. Deliveries may be doubled, late or lost: the row decides, the message is only a bell.
"""

import datetime as dt
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from shelfops.heartbeat import Heartbeat, Lost, Progress, at_work, lease_time, leases, own
from shelfops.models import Customer, JobRun, Lease, User
from shelfops.refusals import Refusal

__all__ = ["Lost", "Progress", "Skip", "perform", "register", "request", "run_now", "send_with", "sweep"]

logger = logging.getLogger(__name__)
Work = Callable[[JobRun, Progress], dict[str, Any] | None]
Status = JobRun.Status
AGAIN = (Status.FAILED, Status.SKIPPED)
COMMAND_WAIT_SECONDS = 600
DIED = "Its worker died"
MOST_DEATHS = 3  # what kills its worker each time shall not do so for ever


class _Busy(Exception):
    """The resource was not given up within the time to wait."""


class Skip(Exception):
    """Raised by a job that has nothing to do today; the message is the reason that people read."""


@dataclass(frozen=True)
class Job:
    """What an app has registered under a name."""

    work: Work
    resource: str
    on_death: Callable[[JobRun], None] | None


_jobs: dict[str, Job] = {}
_senders: list[Callable[[int], object]] = []


def register(name: str, work: Work, *, resource: str, on_death: Callable[[JobRun], None] | None = None) -> None:
    """Says what a job does; called in `AppConfig.ready()`.

    Only one run of a customer works on a `resource` at a time. `on_death` tidies up after a run whose worker died.
    """
    _jobs[name] = Job(work, resource, on_death)


def send_with(sender: Callable[[int], object]) -> None:
    """Sets what asks a worker to perform a run, given its key."""
    _senders[:] = [sender]


# --- Asking


def request(
    customer: Customer,
    job: str,
    *,
    slot: str,
    arguments: dict[str, Any] | None = None,
    by: User | None = None,
    again: bool = True,
    deaths: int = 0,
) -> JobRun:
    """The one run of this slot, queued in the caller's transaction and sent to a worker after it.

    `again` says whether a slot that failed or was skipped is taken again; one that is queued, running or completed
    never is. `deaths` are its workers' deaths that still count: none where somebody asks for it anew. A broker that is
    down changes nothing: the sweeper sends the run later.
    """
    run, is_new = _open(customer, job, slot, arguments, by, again, deaths)
    if is_new:
        transaction.on_commit(lambda: _send(run.pk))
    return run


def cut_short(customer: Customer, job: str, slot: str) -> JobRun | None:
    """The slot's run that failed only because its worker died, not so often that it must be the run's own doing."""
    died = JobRun.objects.filter(status=Status.FAILED, error__startswith=DIED, deaths__lt=MOST_DEATHS)
    return died.filter(customer=customer, job=job, slot=slot).select_related("requested_by").first()


def _open(
    customer: Customer,
    job: str,
    slot: str,
    arguments: dict[str, Any] | None,
    by: User | None,
    again: bool,
    deaths: int = 0,
) -> tuple[JobRun, bool]:
    """The run, and whether this call has queued it."""
    if job not in _jobs:
        raise LookupError(f"No app has registered the job “{job}”.")
    asked = {"arguments": arguments or {}, "requested_by": by, "sent_at": timezone.now(), "deaths": deaths}
    run, created = JobRun.objects.get_or_create(customer=customer, job=job, slot=slot, defaults=asked)
    if created or not again:
        return run, created
    reopened = JobRun.objects.filter(pk=run.pk, status__in=AGAIN).update(status=Status.QUEUED, **asked, **_blank())
    run.refresh_from_db()
    return run, bool(reopened)


def _blank() -> dict[str, Any]:
    return {"stage": "", "percent": 0, "stages": [], "result": {}, "error": "", "completed_at": None}


def _send(run_id: int) -> None:
    if not _senders:
        return
    try:
        _senders[0](run_id)
    except Exception as error:  # of whatever kind the broker's library raises
        logger.warning("Run %s stays queued until the broker answers: %s", run_id, error)
        JobRun.objects.filter(pk=run_id, status=Status.QUEUED).update(sent_at=None)


# --- Doing


def perform(run_id: int, *, wait_seconds: float | None = None) -> JobRun:
    """Does a queued run and closes it; a run that is not queued is returned as it is.

    Waits up to `wait_seconds` for the run that holds the resource, then goes back into the queue.
    """
    run, _ = _perform(run_id, settings.JOB_WAIT_SECONDS if wait_seconds is None else wait_seconds)
    return run


def run_now(
    customer: Customer,
    job: str,
    *,
    slot: str,
    arguments: dict[str, Any] | None = None,
    by: User | None = None,
    wait_seconds: float = COMMAND_WAIT_SECONDS,
) -> JobRun:
    """Does the run of this slot in this process, without broker or worker; a run that fails raises Refusal."""
    deadline = time.monotonic() + wait_seconds
    while True:
        run, _ = _open(customer, job, slot, arguments, by, again=True)
        run, error = _perform(run.pk, deadline - time.monotonic())
        if not (run.status == Status.RUNNING and _died_before(run, deadline)):
            break
    run.refresh_from_db()
    if run.status == Status.QUEUED:
        _withdraw(run)
    if run.status == Status.RUNNING:
        raise Refusal(f"Run {run.pk} of this slot is still at work ({run.stage}, {run.percent} %). Wait for its end.")
    if run.status == Status.FAILED:
        raise Refusal(run.error) from error
    return run


def _died_before(run: JobRun, deadline: float) -> bool:
    """Waits for a run of another process; True when it was found dead, False when it ended or time is up."""
    while run.status == Status.RUNNING and time.monotonic() < deadline:
        if _bury_if_dead(run):
            return True
        time.sleep(_poll_seconds())
        run.refresh_from_db()
    return False


def _withdraw(run: JobRun) -> None:
    """Whoever asked at a terminal is told no; the run shall not start behind their back."""
    error = f"{run.stage or 'Another run is at work'}, and it has not ended. Try again when it has."
    JobRun.objects.filter(pk=run.pk, status=Status.QUEUED).update(
        status=Status.FAILED, error=error, completed_at=timezone.now()
    )
    run.refresh_from_db()


def _perform(run_id: int, wait_seconds: float) -> tuple[JobRun, Exception | None]:
    run = _claim(run_id)
    if run is None:
        return JobRun.objects.get(pk=run_id), None
    error = None
    with Heartbeat(run) as heartbeat:
        progress = Progress(run, heartbeat)
        try:
            closing = _work(run, progress, wait_seconds)
        except Lost:
            closing = {}
        except _Busy as busy:
            closing = {"status": Status.QUEUED, "stage": str(busy), "sent_at": timezone.now()}
        except Skip as skip:
            closing = {"status": Status.SKIPPED, "error": _one_line(skip)}
        except Exception as failure:
            error = failure
            closing = {"status": Status.FAILED, "error": _in_words(run, failure)}
        except BaseException:  # Ctrl-C, or the worker is told to stop at once
            _close(run, progress, {"status": Status.FAILED, "error": "It was interrupted. Start it again."})
            raise
        _close(run, progress, closing)
    run.refresh_from_db()
    return run, error


def _claim(run_id: int) -> JobRun | None:
    now = timezone.now()
    begun = {"status": Status.RUNNING, "attempt": F("attempt") + 1, "started_at": now, "heartbeat_at": now}
    if not JobRun.objects.filter(pk=run_id, status=Status.QUEUED).update(**begun, **_blank()):
        return None
    return JobRun.objects.select_related("customer", "requested_by").get(pk=run_id)


def _work(run: JobRun, progress: Progress, wait_seconds: float) -> dict[str, Any]:
    """What to close the row with."""
    job = _jobs.get(run.job)
    if job is None:
        raise Refusal(f"This worker knows no job “{run.job}”. Run the same version of ShelfOps everywhere.")
    _wait_for_lease(run, job.resource, progress, wait_seconds)
    result = job.work(run, progress) or {}
    json.dumps(result, cls=DjangoJSONEncoder, allow_nan=False)  # what the database would not take is a failure
    return {"status": Status.COMPLETED, "result": result, "percent": 100}


def _close(run: JobRun, progress: Progress, closing: dict[str, Any]) -> None:
    """Once, and only by the attempt that is at work: a run given up for dead changes nothing any more."""
    ended = {} if closing.get("status") == Status.QUEUED else {"completed_at": timezone.now()}
    with transaction.atomic():
        leases(run.pk, run.attempt).delete()
        if not (closing and own(run).update(stages=progress.stages(), **ended, **closing)):
            logger.error("Run %s was given up for dead while it was at work; its end is not recorded.", run.pk)


def _in_words(run: JobRun, error: Exception) -> str:
    if isinstance(error, Refusal | PermissionDenied):
        return _one_line(error)
    if isinstance(error, ValidationError):
        return _one_line(" ".join(error.messages))
    logger.error("Run %s (%s) failed", run.pk, run, exc_info=error)
    return _one_line(f"{type(error).__name__}: {error}. This is a fault of the program: its log holds the details.")


def _one_line(text: object) -> str:
    return " ".join(str(text).replace("\0", "").split())


# --- Leases, and runs whose worker died


def _poll_seconds() -> float:
    return min(1.0, settings.JOB_LEASE_SECONDS / 10)


def _wait_for_lease(run: JobRun, resource: str, progress: Progress, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while holder := _take_lease(run, resource, progress):
        waiting = f"Waiting for run {holder.pk} ({holder})"
        if time.monotonic() >= deadline:
            raise _Busy(waiting)
        progress.stage(waiting)
        time.sleep(_poll_seconds())


def _take_lease(run: JobRun, resource: str, progress: Progress) -> JobRun | None:
    """None once the lease is the run's, else the run that holds it; one that a dead run left behind is taken over."""
    place: dict[str, Any] = {"customer_id": run.customer_id, "resource": resource}
    try:
        with transaction.atomic():
            lease, created = Lease.objects.select_for_update().get_or_create(**place, defaults=_terms(run))
            if created:
                return None
            if lease.expires_at > timezone.now():
                return lease.run
            dead = _bury(lease.run, lease.attempt)
            if at_work(lease.run_id, lease.attempt).exists():  # late to renew it, but not silent
                return lease.run
            Lease.objects.update_or_create(**place, defaults=_terms(run))
    except IntegrityError:  # another run has just taken it
        return _take_lease(run, resource, progress)
    if dead:
        progress.stage(f"Took over from run {dead.pk} ({dead}), whose worker died")
    return None


def _terms(run: JobRun) -> dict[str, Any]:
    return {"run": run, "attempt": run.attempt, "expires_at": timezone.now() + lease_time()}


def _bury(run: JobRun, attempt: int) -> JobRun | None:
    """Closes a run without a sign of life, and what its job left open; None when it lives or is closed already."""
    error = f"{DIED}: no sign of life after {run.heartbeat_at:%Y-%m-%d %H:%M:%S} UTC. Start it again."
    with transaction.atomic():
        held = leases(run.pk, attempt)
        list(held.select_for_update())
        silent = at_work(run.pk, attempt).filter(heartbeat_at__lte=timezone.now() - lease_time())
        died = {"status": Status.FAILED, "error": error, "completed_at": timezone.now(), "deaths": F("deaths") + 1}
        if not silent.update(**died):
            return None
        held.delete()
        run.refresh_from_db()
        logger.error("Run %s (%s): %s", run.pk, run, error)
        _tidy_up_after(run)
    return run


def _tidy_up_after(run: JobRun) -> None:
    job = _jobs.get(run.job)
    if job is None or job.on_death is None:
        return
    try:
        with transaction.atomic():
            job.on_death(run)
    except Exception:  # the next run must not be held up by what the dead one left behind
        logger.exception("What run %s left open could not be closed", run.pk)


def _bury_if_dead(run: JobRun) -> bool:
    return _is_silent(run) and _bury(run, run.attempt) is not None


def _is_silent(run: JobRun) -> bool:
    return run.heartbeat_at is not None and run.heartbeat_at <= timezone.now() - lease_time()


def sweep() -> tuple[int, int]:
    """Closes runs whose worker died and sends queued runs whose message was lost; returns how many of each."""
    now = timezone.now()
    silent = JobRun.objects.filter(status=Status.RUNNING, heartbeat_at__lte=now - lease_time())
    buried = sum(_bury_if_dead(run) for run in silent)
    unheard = Q(sent_at=None) | Q(sent_at__lte=now - dt.timedelta(seconds=settings.JOB_RESEND_SECONDS))
    waiting = JobRun.objects.filter(unheard, status=Status.QUEUED)
    sent = 0
    for run_id in waiting.order_by("created_at").values_list("pk", flat=True):
        if waiting.filter(pk=run_id).update(sent_at=now):  # only one of two sweepers
            _send(run_id)
            sent += 1
    return buried, sent
