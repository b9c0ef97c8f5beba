"""What a shadow test comes to: when it is judged, and its verdict with the reason in words."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from mlops.comparison import Comparison
from mlops.decision import A_PERSON, Decision, Outcome, decide_refresh
from mlops.models import ModelPolicy, ModelVersion, ShadowTest

Verdict = ShadowTest.Verdict
THE_EXPERIMENT = "the experiment decides"


@dataclass(frozen=True)
class Served:
    """A version that served beside the one in shadow, and on how many of the scored days."""

    version: str
    days: int
    samples: int
    first_day: dt.date
    last_day: dt.date


@dataclass(frozen=True)
class Finding:
    """The verdict of a shadow test; the decision holds its numbers, guards and reason."""

    verdict: ShadowTest.Verdict
    decision: Decision
    served: tuple[Served, ...]

    @property
    def asks_a_person(self) -> bool:
        return self.decision.outcome is Outcome.PENDING

    def as_json(self) -> dict[str, Any]:
        """The whole of it, as it is stored with the test."""
        served = [
            asdict(one) | {"first_day": one.first_day.isoformat(), "last_day": one.last_day.isoformat()}
            for one in self.served
        ]
        return self.decision.as_json() | {"verdict": self.verdict.value, "served": served}


def is_due(days: int, *, target_days: int, started_on: dt.date, as_of: dt.date, policy: ModelPolicy) -> bool:
    """Whether a test with so many scored days is judged: it has them all, or it has had time enough for them.

    A feed with gaps gets `shadow_min_days` more; then that many scored days are enough to end it. After twice that
    time it ends with whatever it has, so that nothing unscored keeps its room for ever.
    """
    allowed = target_days + policy.shadow_min_days
    waited = (as_of - started_on).days
    late = waited >= allowed and days >= policy.shadow_min_days
    return days >= target_days or late or waited >= 2 * allowed


def judge(
    comparison: Comparison,
    policy: ModelPolicy,
    *,
    as_of: dt.date,
    status: ModelVersion.Status,
    champion: ModelVersion | None,
    target_days: int,
    served: Sequence[Served],
) -> Finding:
    """The verdict on a version of this status; `champion` is the present one, whoever served during the test.

    Only a challenger asks a person or refreshes the champion: an experimental version waits for its experiment.
    """
    complete = comparison.days >= target_days
    decision = decide_refresh(
        comparison,
        policy,
        as_of=as_of,
        champion=champion.version if champion else "",
        champion_since=champion.champion_since if champion else None,
        complete=complete,
    )
    verdict = _verdict(decision) if complete else Verdict.EXTEND
    if not complete:
        decision = replace(decision, reason=_too_few(comparison, target_days))
    if status == ModelVersion.Status.EXPERIMENTAL:
        verdict = Verdict.KEEP if verdict is Verdict.REFRESH else verdict
        decision = _left_to_the_experiment(decision)
    return Finding(verdict, replace(decision, reason=decision.reason + _beside(served)), tuple(served))


def _verdict(decision: Decision) -> ShadowTest.Verdict:
    if decision.outcome is not Outcome.PENDING:
        return Verdict.KEEP
    return Verdict.REFRESH if decision.rule == "refresh" else Verdict.PROMOTE


def _too_few(comparison: Comparison, target_days: int) -> str:
    improvement = comparison.improvement_pct
    found = "the improvement is unknown"
    if improvement is not None:
        found = f"{abs(improvement):.1f} % {'better' if improvement >= 0 else 'worse'} so far"
    return f"extend: only {comparison.days} of {target_days} days could be scored, too few to tell; {found}"


def _left_to_the_experiment(decision: Decision) -> Decision:
    reason = decision.reason.removesuffix(f": {A_PERSON}").removeprefix("refresh: ")
    return replace(
        decision,
        outcome=Outcome.CHALLENGER,
        status=ModelVersion.Status.EXPERIMENTAL,
        reason=f"{reason}: {THE_EXPERIMENT}",
    )


def _beside(served: Sequence[Served]) -> str:
    """Names those that served, where it was not one and the same all the time."""
    if len(served) < 2:
        return ""
    parts = [f"{one.version} on {one.days} day{'s' if one.days > 1 else ''}" for one in served]
    return f" (compared with {', '.join(parts)})"
