"""Whether a champion has become worse than in its own hold-out: by WAPE, as a fall in demand lowers MAE."""

import datetime as dt
import math
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from alerts.alerting import raise_alert
from alerts.models import MLAlert
from mlops.backtests import ONE_DAY_AHEAD
from mlops.models import BacktestResult, DegradationCheck, ModelPolicy, ModelRetrainingLog, ModelVersion
from mlops.routing import Kind, parts
from shelfops.models import MODEL_NAME_DEFAULT, Customer

DIGITS = 9  # so that exactly the threshold is not above it


@dataclass(frozen=True)
class Window:
    """A version's forecasts one day ahead over some days: scored days and rows, units of error, units sold."""

    first_day: dt.date
    last_day: dt.date
    days: int
    rows: int
    error: float
    units: float

    @property
    def length(self) -> int:
        return (self.last_day - self.first_day).days + 1

    @property
    def wape(self) -> float | None:
        """sum|error| / sum(actual); None where nothing was sold."""
        return self.error / self.units if self.units > 0 else None


@dataclass(frozen=True)
class Finding:
    """Whether it is degraded, None where that cannot be told, with the numbers and the reason in words."""

    recent_wape: float | None
    holdout_wape: float | None
    increase_pct: float | None
    degraded: bool | None
    reason: str


def check(customer: Customer, *, as_of: dt.date, last_day: dt.date) -> list[DegradationCheck]:
    """Looks at every champion as of the night, by its forecasts up to `last_day`, and tells people once per episode.

    Of a night before it became champion there is nothing to say.
    """
    policy = ModelPolicy.of(customer)
    champions = ModelVersion.objects.of(customer, MODEL_NAME_DEFAULT).champions().order_by("pk")
    found = []
    for champion in champions.exclude(champion_since__gt=as_of).select_related("customer"):
        recent = window(champion, last_day, policy)
        found.append(respond(champion, measure(recent, holdout_wape(champion), policy), recent, as_of=as_of))
    return found


# --- Measuring


def window(version: ModelVersion, last_day: dt.date, policy: ModelPolicy) -> Window:
    """The days up to `last_day` on which it served; what it said in shadow before does not count."""
    first_day = last_day - dt.timedelta(days=policy.drift_recent_days - 1)
    since = max(first_day, version.champion_since or first_day)
    served = _served(version, BacktestResult.Kind.DAILY).filter(day__range=(since, last_day))
    rows = list(served.values_list("day", "n", "mae", "units"))
    return Window(
        first_day=first_day,
        last_day=last_day,
        days=len({day for day, _n, _mae, _units in rows}),
        rows=sum(n for _day, n, _mae, _units in rows),
        error=math.fsum(n * mae for _day, n, mae, _units in rows),
        units=math.fsum(units for _day, _n, _mae, units in rows),
    )


def holdout_wape(version: ModelVersion) -> float | None:
    """Its WAPE one day ahead over the whole hold-out, of what it serves now.

    None for a version that drift asked for, which has no such hold-out, and where a model of a part that no backtest
    tells apart has taken over some of its series.
    """
    if any(parts(segment)[0] is not Kind.DEPARTMENT for segment in _handed_over(version)):
        return None
    rows = list(_served(version, BacktestResult.Kind.HOLDOUT).values_list("first_day", "day", "n", "mae", "units"))
    whole = min(((first, -last.toordinal()) for first, last, *_ in rows), default=None)
    inside = [(n, mae, units) for first, last, n, mae, units in rows if (first, -last.toordinal()) == whole]
    units = math.fsum(units for _n, _mae, units in inside)
    return math.fsum(n * mae for n, mae, _units in inside) / units if units > 0 else None


def why_not(version: ModelVersion) -> str:
    """Why nobody can tell whether a champion has become worse than in its hold-out; "" where one can."""
    if version.status != ModelVersion.Status.CHAMPION or holdout_wape(version) is not None:
        return ""
    if version.run and version.run.trigger_type == ModelRetrainingLog.Trigger.DRIFT:
        return "it answered a drift, and of such a version no held-out forecasts one day ahead are kept apart"
    return "no held-out forecasts one day ahead are kept of what it serves now"


def _served(version: ModelVersion, kind: BacktestResult.Kind) -> "QuerySet[BacktestResult]":
    """Its results one day ahead, without the departments that have a champion of their own now.

    Its hold-out was before they had one: with them, a part that was easy or hard would be taken for a change.
    """
    results = BacktestResult.objects.filter(version=version, kind=kind, baseline="", lead_band=ONE_DAY_AHEAD)
    departments = [name for of, name in map(parts, _handed_over(version)) if of is Kind.DEPARTMENT]
    if not departments:
        return results.filter(scope_type=BacktestResult.Scope.ALL)
    return results.filter(scope_type=BacktestResult.Scope.DEPARTMENT).exclude(scope_value__in=departments)


def _handed_over(version: ModelVersion) -> list[str]:
    """The segments of champions that go before it."""
    own, _ = parts(version.segment)
    stronger = list(Kind)[: list(Kind).index(own)] if own else list(Kind)
    champions = ModelVersion.objects.of(version.customer, version.model_name).champions()
    return [segment for segment in champions.values_list("segment", flat=True) if parts(segment)[0] in stronger]


def measure(recent: Window, holdout: float | None, policy: ModelPolicy) -> Finding:
    """increase = (recent WAPE - hold-out WAPE) / hold-out WAPE x 100; strictly more than the policy's is degraded."""
    wape = recent.wape

    def unknown(why: str) -> Finding:
        return Finding(wape, holdout, None, None, f"it cannot be told whether it has become worse: {why}")

    if holdout is None or holdout <= 0:
        return unknown("it has no hold-out one day ahead of what it serves now")
    if recent.days < policy.drift_min_days_share * recent.length or recent.rows < policy.drift_min_rows:
        return unknown(
            f"{recent.rows} forecasts of {recent.days} days were scored in the last {recent.length} days, "
            f"and it takes {policy.drift_min_rows} of {policy.drift_min_days_share:.0%} of the days"
        )
    if wape is None:
        return unknown("nothing was sold")
    increase = (wape - holdout) / holdout * 100
    degraded = round(increase, DIGITS) > policy.degradation_pct
    words = f"{abs(increase):.1f} % {'worse' if increase > 0 else 'better'}"
    return Finding(wape, holdout, increase, degraded, f"WAPE {wape:.1%} against {holdout:.1%} in its hold-out: {words}")


# --- Telling


@transaction.atomic
def respond(champion: ModelVersion, finding: Finding, recent: Window, *, as_of: dt.date) -> DegradationCheck:
    """Writes the night's check; the first degraded one of an episode raises the alert.

    An episode ends with the first night that is not degraded; a night without a verdict neither ends nor begins one.
    """
    numbers = {
        "recent_wape": finding.recent_wape,
        "holdout_wape": finding.holdout_wape,
        "increase_pct": finding.increase_pct,
        "degraded": finding.degraded,
    }
    ModelVersion.objects.select_for_update(no_key=True).get(pk=champion.pk)  # one night, one writer
    known = DegradationCheck.objects.filter(version=champion, as_of=as_of).select_related("version").first()
    if known and all(getattr(known, name) == value for name, value in numbers.items()):
        return known
    begins = finding.degraded and not (known and known.degraded) and not _was_degraded(champion, as_of)
    written, _ = DegradationCheck.objects.update_or_create(
        version=champion, as_of=as_of, defaults={"customer": champion.customer, **numbers}
    )
    if begins:
        _tell(champion, finding, recent, as_of)
    return written


def _was_degraded(version: ModelVersion, as_of: dt.date) -> bool:
    """By its last verdict before this night, since it became champion."""
    since = version.champion_since or as_of
    checks = DegradationCheck.objects.filter(version=version, as_of__range=(since, as_of - dt.timedelta(days=1)))
    checks = checks.filter(degraded__isnull=False)
    last = checks.order_by("as_of").last()
    return last is not None and bool(last.degraded)


def _tell(champion: ModelVersion, finding: Finding, recent: Window, as_of: dt.date) -> None:
    name, limit = champion.version, ModelPolicy.of(champion.customer).degradation_pct
    raise_alert(
        champion.customer,
        MLAlert.Type.BACKTEST_DEGRADATION,
        title=f"{name} forecasts worse than in its hold-out",
        message=(
            f"One day ahead, over the {recent.days} days up to {recent.last_day}: {finding.reason}. More than "
            f"{limit:g} % worse counts. See on its page which departments and stores carry it; then retrain, or "
            "dismiss this alert where the reason is known and passes."
        ),
        metadata={
            "model_name": champion.model_name,
            "version": name,
            "segment": champion.segment,
            "recent_wape": finding.recent_wape,
            "holdout_wape": finding.holdout_wape,
            "increase_pct": finding.increase_pct,
            "threshold_pct": limit,
            "first_day": recent.first_day.isoformat(),
            "last_day": recent.last_day.isoformat(),
            "days": recent.days,
            "rows": recent.rows,
        },
        action_url=f"/models/{name}",
        dedupe=f"{champion.model_name}:{name}:{as_of}",
        model_name=champion.model_name,
        version=name,
        segment=champion.segment,
    )
