"""The life of a run of forecasts: begun, written in batches, published as a whole, pruned in time."""

import datetime as dt
from collections.abc import Callable
from functools import partial

import pyarrow as pa
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from forecasting import targets
from forecasting.models import Forecast, ForecastRun
from forecasting.night import Night
from mlops.models import RoutingRule
from shelfops import bulk
from shelfops.models import Customer

Status = ForecastRun.Status


def begin(night: Night, rules: list[RoutingRule], days: int, cause: str) -> ForecastRun:
    """A run that nobody reads yet; what a run that crashed has left is removed before."""
    discard(ForecastRun.objects.filter(customer=night.customer, status=Status.WRITING))
    return ForecastRun.objects.create(
        customer=night.customer,
        as_of=night.as_of,
        origin=night.origin,
        cause=cause[:200],
        days=days,
        rules=rule_keys(rules),
    )


def rule_keys(rules: list[RoutingRule]) -> list[int]:
    """What a run keeps of the rules that held."""
    return sorted(rule.pk for rule in rules)


def discard(runs: "QuerySet[ForecastRun]") -> None:
    """Removes runs with their rows: the rows first, so that none is ever without its run."""
    for run in runs:
        _delete(Forecast.objects.filter(run=run))
        run.delete()


def write(rows: pa.Table, wrote: Callable[[int], None]) -> None:
    """Writes the rows batch by batch; `wrote` is told how many each had."""
    for start in range(0, len(rows), bulk.batch_rows()):
        batch = rows.slice(start, bulk.batch_rows())
        bulk.patiently(partial(_write, batch))
        wrote(len(batch))


@transaction.atomic
def _write(batch: pa.Table) -> None:
    bulk.insert(targets.FORECASTS, batch)


def publish(run: ForecastRun, *, rows: int, notes: list[str], confirm: Callable[[], None]) -> ForecastRun:
    """From now on the run is read instead of the former one."""
    with transaction.atomic():
        confirm()
        ForecastRun.objects.filter(customer=run.customer, model_name=run.model_name, status=Status.PUBLISHED).update(
            status=Status.SUPERSEDED
        )
        run.status, run.published_at, run.rows, run.notes = Status.PUBLISHED, timezone.now(), rows, " ".join(notes)
        run.save(update_fields=["status", "published_at", "rows", "notes"])
    return run


def prune(night: Night) -> int:
    """Deletes rows beyond one day ahead of old runs, and of those that another run of the same day replaced."""
    last_kept = night.as_of - dt.timedelta(days=night.policy.keep_forecast_days)
    later = ForecastRun.objects.published().filter(
        customer=OuterRef("customer"), model_name=OuterRef("model_name"), as_of=OuterRef("as_of"), pk__gt=OuterRef("pk")
    )
    due = ForecastRun.objects.filter(customer=night.customer, status=Status.SUPERSEDED, pruned=False)
    deleted = 0
    for run in due.filter(Q(as_of__lt=last_kept) | Exists(later)).order_by("pk"):
        deleted += _delete(Forecast.objects.filter(run=run, lead__gt=1))
        ForecastRun.objects.filter(pk=run.pk).update(pruned=True)
    return deleted


def _delete(rows: "QuerySet[Forecast]") -> int:
    """Deletes in bounded statements, so that no lock lasts."""
    total, limit = 0, bulk.batch_rows()
    while True:
        deleted, _ = Forecast.objects.filter(pk__in=rows.order_by().values("pk")[:limit]).delete()
        total += deleted
        if deleted < limit:
            return total


def latest(customer: Customer) -> ForecastRun | None:
    """The run that was published last."""
    return ForecastRun.objects.published().filter(customer=customer).order_by("-as_of", "-pk").first()
