"""Whether a version may replace the champion by itself: numbers in, a verdict with its reason in words out."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from mlops import guards
from mlops.comparison import Comparison
from mlops.guards import Guard, at_least, number
from mlops.models import ModelPolicy, ModelVersion

Status = ModelVersion.Status
A_PERSON = "a person decides"
THRESHOLDS = (
    "min_improvement_pct", "guard_rmse_pct", "guard_bias_points", "guard_bias_max_points", "guard_coverage_points",
    "guard_department_units", "guard_department_mae_pct", "guard_mape_pct", "guard_mape_min_share", "interval_level",
    "bootstrap_level", "refresh_lower_pct", "refresh_age_days", "rollback_freeze_days",
)  # fmt: skip


class Outcome(StrEnum):
    """What becomes of the version."""

    PROMOTE = "promote"
    CHALLENGER = "challenger"
    PENDING = "pending"


@dataclass(frozen=True)
class Decision:
    """A verdict as it is stored and shown: `champion` is the version that was compared with, empty where there is none.

    `status` is what the version becomes; `rule` is promotion, first or refresh.
    """

    outcome: Outcome
    status: Status
    reason: str
    rule: str
    as_of: dt.date
    champion: str
    guards: tuple[Guard, ...]
    thresholds: dict[str, float]
    comparison: Comparison

    @property
    def failed(self) -> tuple[Guard, ...]:
        """The guards that stopped it."""
        return tuple(guard for guard in self.guards if not guard.passed)

    def as_json(self) -> dict[str, Any]:
        """The whole of it, as it is stored with the version."""
        return {
            "outcome": self.outcome.value,
            "status": self.status.value,
            "reason": self.reason,
            "rule": self.rule,
            "as_of": self.as_of.isoformat(),
            "champion": self.champion,
            "guards": [asdict(guard) for guard in self.guards],
            "thresholds": self.thresholds,
            "comparison": self.comparison.as_json(),
        }


@dataclass(frozen=True)
class _Verdict:
    """Before it is known whether the version may promote itself."""

    outcome: Outcome
    reason: str
    rule: str
    guards: tuple[Guard, ...]


def decide(
    comparison: Comparison,
    policy: ModelPolicy,
    *,
    as_of: dt.date,
    champion: str = "",
    may_promote: bool = True,
    why_held: str = "",
    hold_status: Status = Status.CHALLENGER,
    hold_alerts: bool = False,
    frozen_until: dt.date | None = None,
) -> Decision:
    """At least `min_improvement_pct` better and every guard passes: promoted; else a challenger, or a person decides.

    `champion` is the version that the comparison's champion columns are of. Where `may_promote` is False the version
    becomes `hold_status` whatever the numbers say, with `why_held` as the reason, and `hold_alerts` asks a person.
    Before `frozen_until` nothing is promoted by itself.
    """
    verdict = _verdict(comparison, policy, champion)
    if not may_promote:
        verdict = _held(verdict, comparison, why_held, hold_alerts)
    elif verdict.outcome is Outcome.PROMOTE and frozen_until is not None and as_of < frozen_until:
        found = _passed(comparison) if comparison.champion else "it passes all guards"
        reason = f"{found}, but nothing is promoted by itself before {frozen_until} (rollback): {A_PERSON}"
        verdict = _Verdict(Outcome.PENDING, reason, verdict.rule, verdict.guards)
    status = Status.CHAMPION if verdict.outcome is Outcome.PROMOTE else hold_status
    return _decision(verdict, status, comparison, policy, as_of, champion)


def decide_refresh(
    shadow: Comparison,
    policy: ModelPolicy,
    *,
    as_of: dt.date,
    champion: str,
    champion_since: dt.date | None,
    complete: bool,
) -> Decision:
    """Whether a challenger's shadow test asks for a person: it is no worse and the champion is old, or it is better.

    A shadow test never promotes by itself. `shadow` compares the challenger with the champion that served beside it.
    """
    verdict = _verdict(shadow, policy, champion)
    age = (as_of - champion_since).days if champion_since else 0
    if not complete:
        verdict = _Verdict(Outcome.CHALLENGER, "kept: its shadow test is not complete", "refresh", verdict.guards)
    elif verdict.outcome is Outcome.PROMOTE:
        reason = f"the shadow test is {_better(shadow, policy.min_improvement_pct)} and all guards pass: {A_PERSON}"
        verdict = _Verdict(Outcome.PENDING, reason, "promotion", verdict.guards)
    else:
        verdict = _refresh(shadow, policy, age)
    return _decision(verdict, Status.CHALLENGER, shadow, policy, as_of, champion)


def _verdict(comparison: Comparison, policy: ModelPolicy, champion: str) -> _Verdict:
    if not champion and comparison.champion is None:
        return _first(comparison, policy)
    checks = guards.against_champion(comparison, policy)
    improvement, needed = comparison.improvement_pct, policy.min_improvement_pct
    if improvement is None:
        return _Verdict(Outcome.PENDING, f"{_why_unknown(comparison, champion)}: {A_PERSON}", "promotion", checks)
    if not at_least(improvement, needed):
        worse = improvement < 0
        reason = f"kept: {_better(comparison, needed)}, needs {needed:g} %" + (" better" if worse else "")
        return _Verdict(Outcome.CHALLENGER, reason, "promotion", checks)
    if stopped := _stopped_by(checks):
        return _Verdict(
            Outcome.PENDING, f"{_better(comparison, needed)}, but {stopped}: {A_PERSON}", "promotion", checks
        )
    return _Verdict(Outcome.PROMOTE, f"promoted: {_passed(comparison)}", "promotion", checks)


def _first(comparison: Comparison, policy: ModelPolicy) -> _Verdict:
    checks = guards.for_a_first_champion(comparison, policy)
    if stopped := _stopped_by(checks):
        return _Verdict(Outcome.PENDING, f"no champion yet, but {stopped}: {A_PERSON}", "first", checks)
    found = "; ".join(check.sentence for check in checks)
    return _Verdict(Outcome.PROMOTE, f"promoted: no champion yet, and {found}", "first", checks)


def _refresh(shadow: Comparison, policy: ModelPolicy, age: int) -> _Verdict:
    enough = guards.lower_bound_above(shadow, policy.refresh_lower_pct)
    checks = (
        *guards.against_champion(shadow, policy)[:-1],
        enough,
    )  # the bound above 0 is what a refresh need not show
    if shadow.improvement_pct is None:
        return _Verdict(Outcome.CHALLENGER, "kept: the improvement in shadow is unknown", "refresh", checks)
    found = f"{_better(shadow, policy.min_improvement_pct)} in shadow"
    if stopped := _stopped_by(checks):
        return _Verdict(Outcome.CHALLENGER, f"kept: {found}, and {stopped}", "refresh", checks)
    if age <= policy.refresh_age_days:
        reason = f"kept: {found}, and the champion is {age} days old (refreshed after {policy.refresh_age_days})"
        return _Verdict(Outcome.CHALLENGER, reason, "refresh", checks)
    reason = f"refresh: {found}, all guards pass, and the champion is {age} days old: {A_PERSON}"
    return _Verdict(Outcome.PENDING, reason, "refresh", checks)


def _held(verdict: _Verdict, comparison: Comparison, why: str, alerts: bool) -> _Verdict:
    why = why or "it may not promote itself"
    if verdict.outcome is Outcome.PROMOTE:
        reason = f"{_passed(comparison) if comparison.champion else 'it passes all guards'}, but {why}"
    else:
        reason = f"{verdict.reason.removesuffix(f': {A_PERSON}')}; {why}"
    if alerts:
        reason = f"{reason}: {A_PERSON}"
    outcome = Outcome.PENDING if alerts else Outcome.CHALLENGER
    return _Verdict(outcome, reason, verdict.rule, verdict.guards)


def _decision(
    verdict: _Verdict, status: Status, comparison: Comparison, policy: ModelPolicy, as_of: dt.date, champion: str
) -> Decision:
    return Decision(
        outcome=verdict.outcome,
        status=status,
        reason=verdict.reason,
        rule=verdict.rule,
        as_of=as_of,
        champion=champion,
        guards=verdict.guards,
        thresholds={name: float(getattr(policy, name)) for name in THRESHOLDS},
        comparison=comparison,
    )


def _better(comparison: Comparison, limit: float) -> str:
    improvement = comparison.improvement_pct or 0.0
    return f"{number(improvement, limit)} % better" if improvement >= 0 else f"{number(-improvement)} % worse"


def _passed(comparison: Comparison) -> str:
    return f"{number(comparison.improvement_pct or 0.0)} % better and all guards pass"


def _stopped_by(checks: Sequence[Guard]) -> str:
    return "; ".join(check.sentence for check in checks if not check.passed)


def _why_unknown(comparison: Comparison, champion: str) -> str:
    name = champion or "the champion"
    if comparison.candidate.mae is None:
        return "its forecasts of the held-out days have gaps"
    if comparison.champion is None or comparison.champion.mae is None:
        return f"{name} could not be scored on the same rows"
    return f"the improvement is unknown, as {name}'s MAE is 0"
