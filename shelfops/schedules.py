"""The timetable: what is done when, one set of lines per customer in its own time zone, in beat's tables."""

import datetime as dt
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from django_celery_beat.tzcrontab import TzAwareCrontab

from shelfops import jobs
from shelfops.models import Customer, JobRun

logger = logging.getLogger(__name__)
TASK = "shelfops.tasks.due"
DAYS_SEARCHED = 366


@dataclass(frozen=True)
class Line:
    """A job of the timetable as each customer first gets it; weekday 0 is Sunday, None is every day."""

    job: str
    title: str
    weekday: int | None
    at: dt.time


TIMETABLE = (
    Line("retrain", "Weekly retrain", 0, dt.time(2)),
    Line("run_day", "Nightly forecasts, scores and drift check", None, dt.time(3)),
)


# --- When something is due, in UTC


def instant(day: dt.date, at: dt.time, zone: ZoneInfo) -> dt.datetime:
    """The moment of a local time: where the clocks skip it, the moment they jump; where it comes twice, the first."""
    local = dt.datetime.combine(day, at, tzinfo=zone)
    moment = local.astimezone(dt.UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    jump = local.replace(fold=1).astimezone(dt.UTC)
    offset_before = jump.astimezone(zone).utcoffset()
    while jump.astimezone(zone).utcoffset() == offset_before:
        jump += dt.timedelta(minutes=1)
    return jump


def last_due(plan: TzAwareCrontab, now: dt.datetime) -> tuple[dt.date, dt.datetime] | None:
    """The latest local date that has come due, and since when."""
    return next(((day, due) for day, due in _dues(plan, now, step=-1) if due <= now), None)


def next_dues(plan: TzAwareCrontab, now: dt.datetime, count: int = 3) -> list[dt.datetime]:
    """The next moments at which it will be due, in the plan's zone."""
    coming = (due.astimezone(plan.tz) for _, due in _dues(plan, now, step=1) if due > now)
    return list(islice(coming, count))


def _dues(plan: TzAwareCrontab, now: dt.datetime, *, step: int) -> Iterator[tuple[dt.date, dt.datetime]]:
    today = now.astimezone(plan.tz).date()
    first = dt.time(min(plan.hour), min(plan.minute))
    for days in range(DAYS_SEARCHED):
        day = today + step * dt.timedelta(days=days)
        if _falls_on(plan, day):
            yield day, instant(day, first, plan.tz)


def _falls_on(plan: TzAwareCrontab, day: dt.date) -> bool:
    by_week = day.isoweekday() % 7 in plan.day_of_week
    return by_week and day.day in plan.day_of_month and day.month in plan.month_of_year


# --- Asking for what is due


def ask(customer: Customer, job: str) -> JobRun | None:
    """Asks for the run of the latest due date, once per date whoever asks how often; None where none is due."""
    line = PeriodicTask.objects.filter(name=name_of(customer, job), enabled=True).first()
    return _ask(customer, job, line) if line else None


def catch_up() -> None:
    """Asks for what came due while beat or the broker was down, and once more for what a dying worker has left."""
    customers = {str(customer.pk): customer for customer in Customer.objects.all()}
    for line in lines().filter(enabled=True):
        try:
            key, job = json.loads(line.args)
            _ask(customers[key], job, line)
        except Exception:  # one line that is broken must not stop the others
            logger.exception("The line “%s” of the timetable cannot be followed", line.name)


def _ask(customer: Customer, job: str, line: PeriodicTask) -> JobRun | None:
    due = last_due(line.crontab.schedule, timezone.now())
    if due is None or (line.start_time and due[1] < line.start_time):  # due before the line was made or moved
        return None
    slot = due[0].isoformat()
    died = jobs.cut_short(customer, job, slot)
    if died:  # as whoever asked for it wanted it
        by, deaths = died.requested_by, died.deaths
        return jobs.request(customer, job, slot=slot, arguments=died.arguments, by=by, deaths=deaths)
    return jobs.request(customer, job, slot=slot, again=False)


def falls_on(customer: Customer, job: str, day: dt.date) -> bool:
    """Whether the customer's timetable has the job on this local date."""
    line = lines_of(customer).get(job)
    return line is not None and line.enabled and _falls_on(line.crontab.schedule, day)


# --- The lines


def lines() -> QuerySet[PeriodicTask]:
    """Those of all customers; beat's own tables hold other tasks besides."""
    return PeriodicTask.objects.filter(task=TASK, crontab__isnull=False).select_related("crontab")


def lines_of(customer: Customer) -> dict[str, PeriodicTask]:
    """Job -> the customer's line."""
    names = {name_of(customer, line.job): line.job for line in TIMETABLE}
    return {names[task.name]: task for task in lines().filter(name__in=names)}


def name_of(customer: Customer, job: str) -> str:
    return f"{customer.slug}: {job}"


@transaction.atomic
def create(customer: Customer) -> None:
    """Gives a new customer the timetable."""
    for line in TIMETABLE:
        change(customer, line.job, weekday=line.weekday, at=line.at, enabled=True)


@transaction.atomic
def change(customer: Customer, job: str, *, weekday: int | None, at: dt.time, enabled: bool) -> None:
    """Moves a line, which is next due after now; beat reads it anew within seconds."""
    now = timezone.now()
    wanted = {
        "task": TASK,
        "args": json.dumps([str(customer.pk), job]),
        "crontab": _crontab(weekday, at, customer.timezone),
        "enabled": enabled,
    }
    line = PeriodicTask.objects.select_for_update().filter(name=name_of(customer, job)).first()
    if line and all(getattr(line, field) == value for field, value in wanted.items()):
        return
    line = line or PeriodicTask(name=name_of(customer, job))
    for field, value in wanted.items():
        setattr(line, field, value)
    line.start_time = line.last_run_at = now  # beat counts from here: a time of the past is not made up for
    line.save()


@transaction.atomic
def follow_zone(customer: Customer) -> None:
    """Keeps each line's local time after the customer has moved to another time zone."""
    for job, line in lines_of(customer).items():
        weekday, at = when(line)
        change(customer, job, weekday=weekday, at=at, enabled=line.enabled)


def when(line: PeriodicTask) -> tuple[int | None, dt.time]:
    """Weekday (None is every day) and local time."""
    plan = line.crontab.schedule
    weekday = None if len(plan.day_of_week) > 1 else min(plan.day_of_week)
    return weekday, dt.time(min(plan.hour), min(plan.minute))


def _crontab(weekday: int | None, at: dt.time, zone: str) -> CrontabSchedule:
    """Rows are shared by customers with the same wish, and so never changed."""
    wanted = {
        "minute": str(at.minute),
        "hour": str(at.hour),
        "day_of_week": "*" if weekday is None else str(weekday),
        "day_of_month": "*",
        "month_of_year": "*",
        "timezone": ZoneInfo(zone),
    }
    return CrontabSchedule.objects.filter(**wanted).first() or CrontabSchedule.objects.create(**wanted)
