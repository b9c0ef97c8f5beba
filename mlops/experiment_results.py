"""What an experiment has shown so far: its versions in shadow against whoever served the same rows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from django.db.models import Avg, F, QuerySet
from django.db.models.functions import Abs

from mlops import kept, shadow
from mlops.comparison import Comparison, compare
from mlops.metrics import improvement_pct
from mlops.models import ModelExperiment, ModelPolicy, ModelVersion, ShadowPrediction, ShadowTest
from mlops.routing import in_words

PROMOTE, PARTIAL, EXTEND, REJECT = "PROMOTE", "PARTIAL", "EXTEND", "REJECT"


@dataclass(frozen=True)
class Shown:
    """One version of the experiment on the rows of its segment, or all of them together."""

    segment: str
    version: str
    champion_mae: float | None
    experimental_mae: float | None
    improvement_pct: float | None
    lower: float | None
    upper: float | None
    samples: int
    days: int
    reaches_target: bool

    def as_json(self) -> dict[str, Any]:
        """As the API and the pages show it."""
        return {
            "segment": self.segment,
            "version": self.version,
            "baseline_mae": self.champion_mae,
            "experimental_mae": self.experimental_mae,
            "improvement_pct": self.improvement_pct,
            "interval": [self.lower, self.upper],
            "samples": self.samples,
            "days": self.days,
            "reaches_target": self.reaches_target,
        }


def results_of(experiment: ModelExperiment) -> dict[str, Any]:
    """Computed from the shadow rows that have their actual; unknown is null. The fields of the specification's example.

    A segment's version is compared on its segment's rows only, with whoever served them on each day. What was computed
    when it was completed stays as it was.
    """
    if experiment.results:
        return experiment.results | {"status": experiment.status}
    policy = ModelPolicy.of(experiment.customer)
    target = target_of(experiment, policy)
    tests = tests_of(experiment)
    frames = {test.version: shadow.frame(_scored(test)) for test in tests}
    segments = [
        _shown(version.segment, version.version, compare(rows, level=policy.bootstrap_level), target)
        for version, rows in frames.items()
    ]
    together = pd.concat(frames.values(), ignore_index=True) if frames else None
    overall = None if together is None else compare(together, level=policy.bootstrap_level)
    whole = _shown("all", experiment.experimental_version, overall, target)
    return {
        "experiment_id": str(experiment.pk),
        "status": experiment.status,
        "shadow_test_duration_days": whole.days,
        "baseline_version": experiment.baseline_version,
        "experimental_version": experiment.experimental_version,
        "target_improvement_pct": target,
        "baseline_mae": whole.champion_mae,
        "experimental_mae": whole.experimental_mae,
        "improvement_pct": whole.improvement_pct,
        "interval": [whole.lower, whole.upper],
        "samples": whole.samples,
        "segments": [shown.as_json() for shown in segments],
        "latency_ms_per_1000": {test.version.version: test.result.get("latency_ms_per_1000") for test in tests},
        "products": {test.version.version: len(test.version.products) or None for test in tests},
        "conditions": experiment.conditions,
        "recommendation": recommend(whole, segments, target=target, needed_days=_needed_days(tests, policy))
        + _only_of(tests),
    }


def with_guards(results: dict[str, Any], experiment: ModelExperiment) -> dict[str, Any]:
    """The same with what the guards of each segment's shadow test found; none until it has been judged."""
    tests = ShadowTest.objects.filter(version__experiment=experiment).values_list("version__version", "result")
    found = {version: result.get("guards", []) for version, result in tests}
    segments = [one | {"guards": found.get(one["version"], [])} for one in results["segments"]]
    return results | {"segments": segments}


def question(experiment: ModelExperiment) -> kept.Question:
    """The same for pages; a trial that has ended without a decision is worked out no more."""
    tests = ShadowTest.objects.filter(version__experiment=experiment).order_by("pk")
    state = tests.values_list("pk", "status", "verdict", "completed_on", "target_days", "days", "samples")
    is_running = experiment.status == ModelExperiment.Status.SHADOW_TESTING
    made_of = (experiment.status, list(state), kept.ledger(experiment.customer) if is_running else ())
    return kept.Question(experiment.customer, f"experiment:{experiment.pk}", made_of, lambda: results_of(experiment))


def target_of(experiment: ModelExperiment, policy: ModelPolicy) -> float:
    """The improvement in percent that decides: the experiment's own, else the policy's."""
    own = experiment.target_improvement_pct
    return policy.target_improvement_pct if own is None else own


def improvement_of(results: Mapping[str, Any], versions: Collection[str]) -> float | None:
    """The improvement in percent over the rows of these versions together, of all where none is named."""
    those = [one for one in results.get("segments", ()) if one["version"] in versions or not versions]
    if not those or any(one["improvement_pct"] is None for one in those):
        return None
    before, after = (sum(one[name] * one["samples"] for one in those) for name in ("baseline_mae", "experimental_mae"))
    return improvement_pct(before, after)


def recommend(whole: Shown, segments: list[Shown], *, target: float, needed_days: int) -> str:
    """One sentence that begins with PROMOTE, PARTIAL, EXTEND or REJECT."""
    if whole.improvement_pct is None:
        return f"{EXTEND} — No day could be scored yet ({needed_days} days are needed)"
    if (fewest := min(shown.days for shown in segments)) < needed_days:
        return f"{EXTEND} — {fewest} of {needed_days} shadow days so far ({_against(whole, target)})"
    good = [shown for shown in segments if shown.reaches_target]
    if len(good) == len(segments):
        return f"{PROMOTE} — Exceeded hypothesis target ({_against(whole, target)})"
    if good:
        names = ", ".join(f"{in_words(shown.segment)} by {shown.improvement_pct:.1f}%" for shown in good)
        return f"{PARTIAL} — Only some segments reach the target of {target:g}%: {names}"
    if whole.improvement_pct >= target and len(segments) == 1:
        return f"{REJECT} — It could be chance: {whole.improvement_pct:.1f}%, {_between(whole)} by day"
    return f"{REJECT} — Target not reached ({_against(whole, target)})"


def _only_of(tests: list[ShadowTest]) -> str:
    """What a limit of the approval leaves out of all of these numbers; "" where there is none."""
    limits = [len(test.version.products) for test in tests if test.version.products]
    return f". Measured on the {max(limits)} best-selling products only" if limits else ""


def _against(shown: Shown, target: float) -> str:
    improvement = shown.improvement_pct or 0.0
    sign = ">" if improvement > target else "=" if improvement == target else "<"
    return f"{improvement:.1f}% {sign} {target:g}% threshold"


def _between(shown: Shown) -> str:
    if shown.lower is None or shown.upper is None:
        return "with an unknown interval"
    return f"with an interval of {shown.lower:.1f}% to {shown.upper:.1f}%"


def _shown(segment: str, version: str, compared: Comparison | None, target: float) -> Shown:
    """It reaches its target when the improvement does, and the interval says that it is one."""
    if compared is None or not compared.n:
        return Shown(segment, version, None, None, None, None, None, samples=0, days=0, reaches_target=False)
    improvement, lower = compared.improvement_pct, compared.lower
    return Shown(
        segment=segment,
        version=version,
        champion_mae=compared.champion.mae if compared.champion else None,
        experimental_mae=compared.candidate.mae,
        improvement_pct=improvement,
        lower=lower,
        upper=compared.upper,
        samples=compared.n,
        days=compared.days,
        reaches_target=improvement is not None and improvement >= target and lower is not None and lower > 0,
    )


def tests_of(experiment: ModelExperiment) -> list[ShadowTest]:
    tests = ShadowTest.objects.filter(version__experiment=experiment).select_related("version", "customer")
    return list(tests.order_by("version__segment", "version_id"))


def _scored(test: ShadowTest) -> QuerySet[ShadowPrediction]:
    """The rows that count: up to the test's end, and further where that had too few days to tell."""
    is_over = test.completed_on is not None and test.verdict != ShadowTest.Verdict.EXTEND
    return shadow.scored(test, test.completed_on if is_over and test.completed_on else test.customer.today())


def daily_maes(test: ShadowTest) -> list[dict[str, Any]]:
    """By day, in order, the MAE of the version (own), of who served, and of seasonal naive (naive) on the same rows."""

    def mae(prediction: str) -> Avg:
        return Avg(Abs(F(prediction) - F("actual_demand")))

    days = _scored(test).values("forecast_date").order_by("forecast_date")
    columns = {"own": "challenger_prediction", "served": "champion_prediction", "naive": "seasonal_naive"}
    return [dict(day) for day in days.annotate(**{name: mae(column) for name, column in columns.items()})]


def _needed_days(tests: list[ShadowTest], policy: ModelPolicy) -> int:
    return max((test.target_days for test in tests), default=policy.shadow_days)


def versions_of(experiment: ModelExperiment) -> list[ModelVersion]:
    """The versions that were trained for it, in the order of their segments."""
    return list(experiment.versions.select_related("customer", "parent").order_by("segment", "pk"))
