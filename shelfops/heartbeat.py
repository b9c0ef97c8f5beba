"""How a run shows that it is alive and how far it has come, and how it learns that it was given up for dead."""

import datetime as dt
import logging
import threading
import time
from typing import Any, Self

from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from shelfops.models import JobRun, Lease

logger = logging.getLogger(__name__)
WRITE_EVERY_SECONDS = 0.5
BEATS_PER_LEASE = 4


class Lost(Exception):
    """The run was closed by others meanwhile, as one without a sign of life: it must stop and decide nothing."""


def lease_time() -> dt.timedelta:
    """How long a run without a sign of life counts as alive."""
    return dt.timedelta(seconds=settings.JOB_LEASE_SECONDS)


def own(run: JobRun) -> QuerySet[JobRun]:
    """The row while this attempt is at work on it: whoever was given up for dead finds nothing here."""
    return at_work(run.pk, run.attempt)


def at_work(run_id: int, attempt: int) -> QuerySet[JobRun]:
    """The row of a run while this attempt is at work on it."""
    return JobRun.objects.filter(pk=run_id, status=JobRun.Status.RUNNING, attempt=attempt)


def leases(run_id: int, attempt: int) -> QuerySet[Lease]:
    """What this attempt of a run holds. Whoever locks a lease and its run locks them in this order."""
    return Lease.objects.filter(run=run_id, attempt=attempt)


def renew(run: JobRun) -> tuple[bool, bool]:
    """Renews the lease and the sign of life in the caller's transaction; whether there was a lease, and the run."""
    now = timezone.now()
    renewed = leases(run.pk, run.attempt).update(expires_at=now + lease_time())
    return bool(renewed), bool(own(run).update(heartbeat_at=now))


def beat(run: JobRun) -> bool:
    """Renews the sign of life and the lease; False when others have closed the run."""
    with transaction.atomic():
        _, is_at_work = renew(run)
    return is_at_work


class Heartbeat:
    """Beats in a thread with a database connection of its own, however busy the main thread is."""

    def __init__(self, run: JobRun) -> None:
        self.run = run
        self.lost = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name=f"heartbeat-{run.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat_until_stopped(self) -> None:
        try:
            while not self.lost and not self._stop.wait(settings.JOB_LEASE_SECONDS / BEATS_PER_LEASE):
                self._beat_once()
        finally:
            connection.close()

    def _beat_once(self) -> None:
        try:
            self.lost = not beat(self.run)
        except Error as error:  # the next beat may get through before the lease ends
            logger.warning("Run %s could not renew its lease: %s", self.run.pk, error)
            connection.close()


class Progress:
    """Handed to the work: tells people the stage and the percent, and the work whether it may go on."""

    def __init__(self, run: JobRun, heartbeat: Heartbeat) -> None:
        self.seconds: dict[str, float] = {}
        self._run = run
        self._heartbeat = heartbeat
        self._stage = ""
        self._since = self._written = time.monotonic()

    def stage(self, name: str, percent: float | None = None) -> None:
        """Begins a stage, or says how far it is; raises Lost once the run was given up for dead."""
        if self._heartbeat.lost:
            raise Lost
        is_new = name != self._stage
        self._count(name)
        now = time.monotonic()
        # Inside a transaction nobody would see it, and its lock on the row would hold up the heartbeat.
        if connection.in_atomic_block or not (is_new or now - self._written >= WRITE_EVERY_SECONDS):
            return
        self._written = now
        fields: dict[str, Any] = {"stage": name[:100], "stages": self.stages()}
        if percent is not None:
            fields["percent"] = min(100, max(0, int(percent)))
        if not own(self._run).update(**fields):
            raise Lost

    def confirm(self) -> None:
        """Call it first in the transaction that decides: until its end nobody can take the lease or bury the run."""
        if not all(renew(self._run)):
            raise Lost

    def stages(self) -> list[dict[str, Any]]:
        """Each stage with its seconds so far, in order."""
        self._count(self._stage)
        return [{"stage": name, "seconds": round(seconds, 3)} for name, seconds in self.seconds.items()]

    def _count(self, next_stage: str) -> None:
        now = time.monotonic()
        if self._stage:
            self.seconds[self._stage] += now - self._since
        if next_stage:
            self.seconds.setdefault(next_stage, 0.0)
        self._stage, self._since = next_stage, now
