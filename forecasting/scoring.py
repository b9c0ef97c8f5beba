"""Every night: the days that are in are scored, and what follows from it is told."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import pandas as pd
from django.db.models import Count, Exists, Max, OuterRef, QuerySet

from alerts.models import MLAlert
from forecasting import actuals, sales, tally
from forecasting.evaluate import SEASONAL_NAIVE
from forecasting.models import FeedDay, Forecast
from mlops import backtests, degradation, metrics, shadow
from mlops.models import BacktestResult, ModelPolicy, ModelVersion, ShadowPrediction
from shelfops import bulk, jobs
from shelfops.models import MODEL_NAME_DEFAULT, Customer, JobRun, User
from shelfops.refusals import Refusal

JOB = "score"
NOT_COVERED = {
    FeedDay.Status.MISSING: "the store's sales are missing",
    FeedDay.Status.CLOSED: "the store was closed",
}
TRAINED_ON = "the version was trained on the day"

Stage = Callable[[str, int], None]


class NotYet(Refusal):
    """The day whose night is to be scored has not come."""


@dataclass(frozen=True)
class ScoredDay:
    """One day: how many forecasts that served were scored or left out, and how far off they were.

    `changed` counts the actuals written, shadow rows included. MAE in units per series, WAPE as a share of units sold.
    """

    day: dt.date
    rows: int
    changed: int
    excluded: dict[str, int]
    mae: float | None
    wape: float | None
    seasonal_naive_mae: float | None
    seasonal_naive_wape: float | None


@dataclass(frozen=True)
class Scored:
    """What one night's scoring did and found."""

    as_of: dt.date
    last_complete_day: dt.date
    days: list[ScoredDay] = field(default_factory=list)
    shadow_tests_completed: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)
    alerts: list[str] = field(default_factory=list)


def score(
    customer: Customer,
    as_of: dt.date,
    *,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
) -> Scored:
    """Scores the days that are due, judges the shadow tests that have their days, and looks for degradation.

    Each day is one transaction, in which `confirm` is called; a second call finds nothing to do and changes nothing.
    Raises sales.NoSales.
    """
    policy = ModelPolicy.of(customer)
    last_alert = _alerts(customer).aggregate(pk=Max("pk"))["pk"] or 0
    until = sales.last_complete_day(customer, as_of, policy)
    days = actuals.due(customer, as_of=as_of, until=until)
    scored = []
    for number, day in enumerate(days):
        stage("scoring days", 5 + 80 * number // len(days))
        scored.append(bulk.patiently(partial(score_day, customer, day, confirm)))
    stage("judging shadow tests", 85)
    judged = shadow.evaluate_due(customer, as_of)
    stage("looking for a champion that has become worse", 95)
    checks = degradation.check(customer, as_of=as_of, last_day=until)
    return Scored(
        as_of=as_of,
        last_complete_day=until,
        days=scored,
        shadow_tests_completed=[f"{test.version}: {test.get_verdict_display()}" for test in judged],
        degraded=[check.version.version for check in checks if check.degraded],
        alerts=list(_alerts(customer).filter(pk__gt=last_alert).order_by("pk").values_list("title", flat=True)),
    )


def _alerts(customer: Customer) -> "QuerySet[MLAlert]":
    return MLAlert.objects.filter(customer=customer)


def score_day(customer: Customer, day: dt.date, confirm: Callable[[], None] = lambda: None) -> ScoredDay:
    """Fills the day's actuals and replaces its results, while no load of the customer changes its sales."""
    with bulk.turn(customer):
        confirm()
        changed = actuals.fill(customer, day)
        served, shadowed = tally.served(customer, day), tally.shadowed(customer, day)
        versions = _versions(customer, day, [served, shadowed])
        fresh = {key for key, version in versions.items() if version.train_end < day}
        scored = served[served["version"].isin(fresh)]
        beside = shadowed[shadowed["version"].isin(fresh - {*scored["version"]})]
        backtests.replace_day(customer, versions.values(), day, _results([scored, beside], day))
        actuals.put_scored(customer, day)
    excluded = _excluded(customer, day)
    if trained_on := int(served["n"].sum() - scored["n"].sum()):
        excluded[TRAINED_ON] = trained_on
    return _summary(day, scored, changed, excluded)


def _versions(customer: Customer, day: dt.date, tables: list[pd.DataFrame]) -> dict[int, ModelVersion]:
    """Those that can be scored, and those that were and have only rows without an actual by now.

    Results of a version in shadow whose rows have been deleted meanwhile stay as they are.
    """
    keys = {int(key) for table in tables for key in table["version"].unique()}
    former = BacktestResult.objects.filter(customer=customer, kind=BacktestResult.Kind.DAILY, day=day)
    served = Forecast.objects.served(customer, [day]).filter(version=OuterRef("pk"))
    shadowed = ShadowPrediction.objects.filter(version=OuterRef("pk"), forecast_date=day)
    lost = ModelVersion.objects.filter(pk__in=former.values("version")).exclude(pk__in=keys)
    keys |= {one.pk for one in lost.filter(Exists(served) | Exists(shadowed))}
    return ModelVersion.objects.in_bulk(keys)


def _results(tables: list[pd.DataFrame], day: dt.date) -> pd.DataFrame:
    """Each version's results of the day, and seasonal naive's on the same rows."""
    sums = pd.concat(tables, ignore_index=True)
    own, naive = tally.of_version(sums), tally.of_naive(sums)
    both = [own.assign(baseline=""), naive.assign(baseline=SEASONAL_NAIVE)]
    return backtests.one_day_ahead(pd.concat(both, ignore_index=True), day)


def _excluded(customer: Customer, day: dt.date) -> dict[str, int]:
    """How many forecasts that served have no actual, by reason."""
    unknown = Forecast.objects.served(customer, [day]).filter(actual=None).order_by()
    rows = dict(unknown.values_list("store").annotate(rows=Count("pk")))
    if not rows:
        return {}
    states = dict(FeedDay.objects.filter(store__in=rows, date=day).values_list("store", "status"))
    found: Counter[str] = Counter()
    for store, count in rows.items():
        found[NOT_COVERED[FeedDay.Status(states.get(store, FeedDay.Status.MISSING))]] += count
    return dict(sorted(found.items()))


def _summary(day: dt.date, scored: pd.DataFrame, changed: int, excluded: dict[str, int]) -> ScoredDay:
    own, naive = (_overall(sums) for sums in (tally.of_version(scored), tally.of_naive(scored)))
    return ScoredDay(
        day=day,
        rows=int(own["n"]),
        changed=changed,
        excluded=excluded,
        mae=_known(own["mae"]),
        wape=_known(own["wape"]),
        seasonal_naive_mae=_known(naive["mae"]),
        seasonal_naive_wape=_known(naive["wape"]),
    )


def _overall(sums: pd.DataFrame) -> "pd.Series[Any]":
    return metrics.ratios(sums.drop(columns=tally.KEYS).sum().to_frame().T).iloc[0]


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


# --- As a job


def score_here(customer: Customer, as_of: dt.date | None = None, *, by: User | None = None) -> JobRun:
    """Scores in this process, to the end; raises Refusal where the day has not come yet or the run fails."""
    day = as_of or customer.today()
    if day > customer.today():
        raise NotYet(f"{day} has not come yet: today is {customer.today()} at {customer}. Name a day up to then.")
    return jobs.run_now(customer, JOB, slot=f"manual:{uuid4()}", arguments={"as_of": day.isoformat()}, by=by)


def work(run: JobRun, progress: jobs.Progress, *, as_of: dt.date | None = None) -> dict[str, Any]:
    """What a worker does for a run of this job, or for the part of a night that it is."""
    day = as_of or dt.date.fromisoformat(run.arguments["as_of"])
    return asdict(score(run.customer, day, stage=progress.stage, confirm=progress.confirm))


def register() -> None:
    """Called once, when the apps are ready."""
    jobs.register(JOB, work, resource=MODEL_NAME_DEFAULT)
