"""Whether every forecast says what made it: a version of the customer, the rule that chose it, a published run."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from django.db.models import Count

from forecasting.models import Forecast, ForecastRun
from mlops.faults import MOST_OF_A_KIND, Audit, Fault, silent_since
from mlops.models import ModelVersion, RoutingRule
from shelfops.models import Customer, JobRun

RESTORE = "Rows were written or deleted past the rules: restore the forecasts of that run from a backup."


class Group(NamedTuple):
    """So many rows of one run that name the same version and rule."""

    run: int
    version: int
    rule: int
    rows: int


def audit(customer: Customer) -> Audit:
    """Reads every forecast of the customer once, in the database; changes nothing."""
    runs = {run.pk: run for run in ForecastRun.objects.filter(customer=customer)}
    groups = _groups(customer)
    versions = set(ModelVersion.objects.filter(customer=customer).values_list("pk", flat=True))
    rules = dict(RoutingRule.objects.filter(customer=customer).values_list("pk", "version_id"))
    faults = [
        *_without_version(groups, runs, versions),
        *_against_rule([group for group in groups if group.version in versions], runs, rules),
        *_missing(groups, runs),
        *_left_writing(customer, runs),
    ]
    checked = {"forecast runs": len(runs), "forecasts": sum(group.rows for group in groups)}
    return Audit(tuple(faults), checked)


def _groups(customer: Customer) -> list[Group]:
    rows = Forecast.objects.filter(run__customer=customer).order_by().values_list("run_id", "version_id", "rule_id")
    return [Group(*row) for row in rows.annotate(rows=Count("pk"))]


def _without_version(groups: list[Group], runs: Mapping[int, ForecastRun], known: set[int]) -> Iterator[Fault]:
    lost = _rows(group for group in groups if group.version not in known)
    for run, rows in lost.most_common(MOST_OF_A_KIND):
        message = f"{rows:,} of its forecasts name no version of this customer."
        yield Fault("forecast_without_version", _name(runs[run]), message, RESTORE)


def _against_rule(groups: list[Group], runs: Mapping[int, ForecastRun], rules: Mapping[int, int]) -> Iterator[Fault]:
    lost = _rows(group for group in groups if rules.get(group.rule) != group.version)
    for run, rows in lost.most_common(MOST_OF_A_KIND):
        message = f"{rows:,} of its forecasts name a routing rule that is not their version's, or none."
        yield Fault("forecast_against_rule", _name(runs[run]), message, RESTORE)


def _missing(groups: list[Group], runs: Mapping[int, ForecastRun]) -> Iterator[Fault]:
    """A run that was published and not pruned since has all its rows."""
    there = _rows(groups)
    whole = [run for run in runs.values() if run.status != ForecastRun.Status.WRITING and not run.pruned]
    short = Counter({run.pk: run.rows - there[run.pk] for run in whole if run.rows != there[run.pk]})
    for run, _ in short.most_common(MOST_OF_A_KIND):
        message = f"It was published with {runs[run].rows:,} forecasts and has {there[run]:,}."
        yield Fault("forecasts_missing", _name(runs[run]), message, RESTORE)


def _left_writing(customer: Customer, runs: Mapping[int, ForecastRun]) -> Iterator[Fault]:
    """Forecasts that nobody may read, though nobody is at work on them any more."""
    since = silent_since()  # what a night that died has left is removed by the next one
    working = JobRun.objects.filter(customer=customer, status=JobRun.Status.RUNNING, heartbeat_at__gte=since).exists()
    for run in runs.values():
        if run.status == ForecastRun.Status.WRITING and run.created_at < since and not working:
            message = f"It was begun at {run.created_at:%Y-%m-%d %H:%M} UTC and never published; no run is at work."
            advice = "Forecast again: the next run removes it. Until then the former forecasts serve."
            yield Fault("run_left_unpublished", _name(run), message, advice)


def _rows(groups: Iterable[Group]) -> Counter[int]:
    """How many in each run."""
    counts = Counter[int]()
    for group in groups:
        counts[group.run] += group.rows
    return counts


def _name(run: ForecastRun) -> str:
    return f"forecast run {run.pk} ({run})"
