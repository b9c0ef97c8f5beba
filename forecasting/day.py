"""One day of ShelfOps in its order: retrain where due, forecast, shadow, score, look for drift."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from forecasting import drift, nightly, retraining_job, sales, scoring
from forecasting.orders import Trigger
from forecasting.retrain import close_dead
from mlops import routing
from mlops.models import ModelVersion
from shelfops import jobs
from shelfops.models import MODEL_NAME_DEFAULT, Customer, JobRun, User
from shelfops.refusals import Refusal

JOB = "run_day"
SERVING_OR_WAITING = (ModelVersion.Status.CHAMPION, ModelVersion.Status.CHALLENGER)
Report = dict[str, Any]


def run_day(customer: Customer, as_of: dt.date, *, retrain_due: bool, by: User | None = None) -> Report:
    """The whole day in this process; a step that was done for this day already is not done again.

    `retrain_due` says whether the timetable retrains on this day; where nobody serves or waits for a decision yet, it
    is tried every day. A retrain that fails is told in the report, and the champion goes on serving. `done_before` is
    when an earlier run of the day ended whose results these are.
    """
    begun = timezone.now()
    report: Report = {"as_of": as_of, "retrain": _retrain(customer, as_of, retrain_due)}
    night = jobs.run_now(customer, JOB, slot=as_of.isoformat(), arguments={"as_of": as_of.isoformat()}, by=by)
    done_before = night.completed_at if night.completed_at and night.completed_at < begun else None
    return report | {"status": night.status, "reason": night.error, "done_before": done_before, **night.result}


def _retrain(customer: Customer, as_of: dt.date, is_due: bool) -> Report | None:
    nobody_yet = not ModelVersion.objects.of(customer).filter(status__in=SERVING_OR_WAITING).exists()
    if not (is_due or nobody_yet):
        return None
    try:
        return retraining_job.retrain_here(customer, trigger=Trigger.SCHEDULED, as_of=as_of).result
    except Refusal as refusal:
        return {"refused": str(refusal)}


def work(run: JobRun, progress: jobs.Progress) -> Report:
    """What a worker does at night; each step goes on where a run that was killed has stopped."""
    customer, as_of = run.customer, day_of(run)
    progress.stage("forecasting", 5)
    try:
        forecasts = nightly.work(run, progress, as_of=as_of)
    except (routing.NobodyServes, sales.NoSales) as nobody:
        raise jobs.Skip(str(nobody)) from nobody
    progress.stage("scoring", 50)
    scores = scoring.work(run, progress, as_of=as_of)
    progress.stage("looking for drift", 70)
    checks = drift.work(run, progress, as_of=as_of)
    return {"forecast": forecasts, "score": scores, "drift": checks, "customer": customer.slug}


def day_of(run: JobRun) -> dt.date:
    """The day that was asked for; the timetable asks for the customer's fixed today, else for the day it was due."""
    asked: Mapping[str, Any] = run.arguments
    if "as_of" in asked:
        return dt.date.fromisoformat(asked["as_of"])
    return run.customer.clock or dt.date.fromisoformat(run.slot)


def register() -> None:
    """Called once, when the apps are ready."""
    jobs.register(JOB, work, resource=MODEL_NAME_DEFAULT, on_death=close_dead)
