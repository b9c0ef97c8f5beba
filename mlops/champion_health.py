"""How the champion does: the recent error against the month before, against seasonal naive, and its intervals."""

import datetime as dt
import math
from dataclasses import dataclass

from mlops.backtests import ONE_DAY_AHEAD
from mlops.charts import Chart, Line, Tone
from mlops.metrics import improvement_pct
from mlops.models import GLOBAL, BacktestResult, DriftCheck, ModelPolicy, ModelVersion
from shelfops.models import MODEL_NAME_DEFAULT, Customer

NIGHTS = 60


@dataclass(frozen=True)
class Health:
    """The champion of everything with its nightly drift checks, the oldest first; None is unknown."""

    champion: ModelVersion
    checks: list[DriftCheck]
    coverage: float | None
    policy: ModelPolicy

    @property
    def last(self) -> DriftCheck | None:
        return self.checks[-1] if self.checks else None

    @property
    def has_drifted(self) -> bool:
        return self.last is not None and self.last.verdict == DriftCheck.Verdict.DRIFT

    @property
    def is_scored(self) -> bool:
        """Whether a day on which this champion served is among the last check's."""
        last_day, since = self.last.last_day if self.last else None, self.champion.champion_since
        return last_day is not None and (since is None or since <= last_day)

    @property
    def against_naive_pct(self) -> float | None:
        """By how many percent its recent MAE is lower than seasonal naive's on the same rows."""
        if self.last is None or self.last.recent_mae is None or self.last.recent_naive_mae is None:
            return None
        return improvement_pct(self.last.recent_naive_mae, self.last.recent_mae)

    def chart(self) -> Chart:
        """The recent MAE of each night beside its baseline, the line of drift and seasonal naive."""
        limit = 1 + self.policy.drift_pct / 100
        baselines = [check.baseline_mae for check in self.checks]
        recent, month = self.policy.drift_recent_days, self.policy.drift_baseline_days
        return Chart(
            key="error-by-night",
            title=f"Error of the last {recent} days, night by night",
            what="Night",
            unit="units per product and day",
            labels=[str(check.as_of) for check in self.checks],
            lines=[
                Line(f"Last {recent} days", [check.recent_mae for check in self.checks], Tone.OWN),
                Line(f"The {month} days before", baselines, Tone.LEVEL),
                Line(
                    f"Drift: {self.policy.drift_pct:g} % above them",
                    [None if value is None else value * limit for value in baselines],
                    Tone.LIMIT,
                ),
                Line("Seasonal naive", [check.recent_naive_mae for check in self.checks], Tone.NAIVE),
            ],
        )


def health(customer: Customer, policy: ModelPolicy) -> Health | None:
    """None where nobody is champion of everything yet."""
    champion = ModelVersion.objects.champion_for(customer)
    if champion is None:
        return None
    checks = DriftCheck.objects.filter(customer=customer, model_name=MODEL_NAME_DEFAULT, segment=GLOBAL)
    newest = list(checks.order_by("-as_of")[:NIGHTS])
    last_day = newest[0].last_day if newest else None
    return Health(champion, newest[::-1], _coverage(champion, last_day, policy), policy)


def _coverage(champion: ModelVersion, last_day: dt.date | None, policy: ModelPolicy) -> float | None:
    """Share of actuals in the interval, one day ahead, on the days of the recent window on which it served."""
    if last_day is None:
        return None
    first_day = last_day - dt.timedelta(days=policy.drift_recent_days - 1)
    daily = BacktestResult.objects.filter(
        version=champion,
        kind=BacktestResult.Kind.DAILY,
        baseline="",
        lead_band=ONE_DAY_AHEAD,
        scope_type=BacktestResult.Scope.ALL,
        day__range=(max(first_day, champion.champion_since or first_day), last_day),
        coverage__isnull=False,
    )
    rows = list(daily.order_by().values_list("n", "coverage"))
    total = sum(n for n, _share in rows)
    return math.fsum(n * share for n, share in rows) / total if total else None
