"""What a person is shown of an experiment: its plan, how far it is, what it has shown, and what each step would do."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html

from mlops import review_facts
from mlops.charts import Chart, Line, Tone
from mlops.experiment_results import PARTIAL, PROMOTE, daily_maes
from mlops.figures import UNKNOWN, Row, Table, figure
from mlops.models import GLOBAL, ExperimentEvent, ModelExperiment, ModelPolicy, ModelVersion, ShadowTest
from mlops.routing import Kind, in_words
from shelfops.told import told

Status = ModelExperiment.Status
Serving = Mapping[str, ModelVersion | None]
COLOURS = {
    Status.PROPOSED: "warning",
    Status.APPROVED: "info",
    Status.IN_PROGRESS: "info",
    Status.SHADOW_TESTING: "info",
    Status.COMPLETED: "success",
    Status.REJECTED: "danger",
    Status.ROLLED_BACK: "danger",
}
SEGMENTATIONS = {
    Kind.DEPARTMENT: "by department",
    Kind.STORE_CLUSTER: "by store cluster",
    Kind.LIFECYCLE: "for new and for mature products",
}
PARAMETERS = {
    "num_boost_round": "Number of trees",
    "learning_rate": "Learning rate",
    "max_leaves": "Most leaves of a tree",
    "min_child_weight": "Least weight of a leaf",
    "subsample": "Share of rows for each tree",
    "colsample_bytree": "Share of features for each tree",
    "tweedie_variance_power": "Tweedie variance power",
}
RECOMMENDED = {
    "PROMOTE": "Adopt it",
    "PARTIAL": "Adopt it in some segments",
    "EXTEND": "Wait",
    "REJECT": "Do not adopt it",
}
ADOPTING = (PROMOTE, PARTIAL)
PLAIN = {"proposed", "started", "started again"}  # reasons that say no more than the step itself


def serving_beside(experiment: ModelExperiment, versions: Sequence[ModelVersion]) -> Serving:
    """Who serves each version's series now, in one question: its segment's champion, else the global one."""
    champions = ModelVersion.objects.of(experiment.customer, experiment.model_name).champions()
    by_segment = {champion.segment: champion for champion in champions}
    return {version.version: by_segment.get(version.segment) or by_segment.get(GLOBAL) for version in versions}


def changed(versions: Sequence[ModelVersion], serving: Serving) -> list[str]:
    """Who serves now where another one did when the version was trained."""
    found = []
    for version in versions:
        now = serving[version.version]
        if version.parent and now != version.parent:
            does = f"now {now} does" if now else "now nobody does"
            found.append(f"When {version} was trained, {version.parent} served beside it; {does}.")
    return found


def status_in_words(status: str) -> str:
    """The label of a stored status."""
    return str(Status(status).label)


def segmentation_in_words(kind: str) -> str:
    """Such as: by department."""
    return SEGMENTATIONS[Kind(kind)] if kind in set(Kind) else kind.replace("_", " ")


# --- What it is, and how far


def plan(experiment: ModelExperiment) -> list[tuple[str, str]]:
    """What it trains, line by line; what is left out is as the champion's."""
    wanted = dict(experiment.plan)
    lines = [("Feature tier", str(wanted.pop("tier", "") or "as the champion’s").replace("_", " "))]
    segmentation, segments = wanted.pop("segmentation", "") or "", wanted.pop("segments", None) or []
    if segmentation:
        lines.append(("Models of their own", segmentation_in_words(segmentation)))
        lines.append(("Segments", ", ".join(segment_in_words(one) for one in segments) or "all that there are"))
    else:
        lines.append(("Serves", "all products, by one model"))
    days = wanted.pop("window_days", None)
    lines.append(("Training window", f"{days} days" if days else "as the champion’s"))
    if top := wanted.pop("top_products", None):
        lines.append(("Products", f"only the {top:,} that sell most"))
    params = wanted.pop("params", None) or {}
    named = [(PARAMETERS[name], f"{params[name]:g}") for name in PARAMETERS if name in params]
    others = {name: value for name, value in params.items() if name not in PARAMETERS}
    return [*lines, *named, *told(others), *told(wanted)]


def segment_in_words(name: str) -> str:
    """Of a key such as department:Electronics, or of a plain name."""
    return in_words(name) if ":" in name else name


def top_products(experiment: ModelExperiment) -> int | None:
    """How many products the run is limited to, by its plan or by what the approval asks for; None: all."""
    wanted = [experiment.plan.get("top_products"), experiment.conditions.get("top_products")]
    known = [number for number in wanted if isinstance(number, int)]
    return min(known) if known else None


def covered(experiment: ModelExperiment, shown: Mapping[str, Any] | None) -> str:
    """A sentence where the results hold for the best-selling products only."""
    counts = [number for number in (shown or {}).get("products", {}).values() if number]
    top = max(counts, default=None) or top_products(experiment)
    if not shown or top is None:
        return ""
    return f"These results hold for the {top:,} products that sell most. They say nothing about the others."


def conditions(experiment: ModelExperiment) -> list[tuple[str, str]]:
    """What the approval depends on, in words."""
    others = {name: value for name, value in experiment.conditions.items() if name != "top_products"}
    top = experiment.conditions.get("top_products")
    return ([("Products", f"only the {top:,} that sell most")] if top else []) + told(others)


def what_next(experiment: ModelExperiment, tests: Sequence[ShadowTest], policy: ModelPolicy) -> str:
    """Where it stands and who has to do what, in one sentence."""
    status = Status(experiment.status)
    if status is Status.PROPOSED:
        whom = "a manager" if policy.allow_self_approval else f"a manager other than {experiment.proposed_by}"
        return f"It waits for {whom} to approve or reject it."
    if status is Status.APPROVED:
        return "It is approved: a data scientist or a manager starts its training."
    if status is Status.IN_PROGRESS and experiment.error:
        return "Its training failed: put right what the error names, then start it again."
    if status is Status.IN_PROGRESS:
        return "It is being trained: as soon as that is done, its versions forecast in shadow beside the champion."
    if status is Status.SHADOW_TESTING:
        return _in_shadow(experiment, tests, policy)
    if status is Status.COMPLETED:
        more = " A manager can roll it back." if experiment.adopted else ""
        return f"It is decided, and nothing is left to do.{more}"
    return f"It was {status.label.lower()}, and nothing is left to do."


def _in_shadow(experiment: ModelExperiment, tests: Sequence[ShadowTest], policy: ModelPolicy) -> str:
    if not tests:
        return "Its versions are trained: from the next night on they forecast in shadow beside the champion."
    slowest = min(tests, key=lambda test: test.days - test.target_days)
    if slowest.days < slowest.target_days:
        so_far = f"{slowest.days} of {slowest.target_days} shadow days are scored"
        return f"Its versions forecast in shadow: {so_far}, and it is decided when all are in."
    whom = "anybody who may" if policy.allow_self_approval else f"somebody other than {experiment.approved_by}"
    return f"Its shadow days are in: it waits for {whom} to decide."


# --- What it has shown


def results(shown: Mapping[str, Any], level: float) -> Table:
    """Each segment on its own rows against who served them, and all rows together."""
    rows: list[Row] = [_result(one, in_words(one["segment"]), shown) for one in shown["segments"]]
    if len(rows) > 1:
        days = {"days": shown["shadow_test_duration_days"], "version": "", "reaches_target": None}
        rows.append(_result({**shown, **days}, "all together", shown))
    headers = [
        "Segment",
        "Version",
        "MAE of who served",
        "Its MAE",
        "Improvement",
        f"{level * 100:g} % interval",
        f"Target of {shown['target_improvement_pct']:g}\N{NO-BREAK SPACE}%",
        "Forecasts scored",
        "Days",
        "Time per 1,000 forecasts, and that of who served",
    ]
    return Table("Results by segment, MAE in units per product and day", headers, rows)


def by_day(tests: Iterable[ShadowTest]) -> list[Chart]:
    """For each version in shadow its MAE and that of who served, day by day, on the same rows."""
    charts = []
    for test in tests:
        days = daily_maes(test)
        names = {"own": test.version.version, "served": "Who served", "naive": "Seasonal naive"}
        tones = {"own": Tone.OWN, "served": Tone.OTHER, "naive": Tone.NAIVE}
        charts.append(
            Chart(
                key=f"shadow-{test.pk}",
                title=f"{test.version} in shadow, day by day",
                what="Day",
                unit="MAE in units per product and day",
                labels=[day["forecast_date"].isoformat() for day in days],
                lines=[Line(names[name], [day[name] for day in days], tones[name]) for name in names],
            )
        )
    return [chart for chart in charts if chart]


def _result(one: Mapping[str, Any], name: str, shown: Mapping[str, Any]) -> Row:
    improvement, (lower, upper) = one["improvement_pct"], one["interval"]
    return [
        name,
        _linked(one["version"], shown),
        figure(one["baseline_mae"]),
        figure(one["experimental_mae"]),
        UNKNOWN if improvement is None else f"{improvement:+.1f} %",
        UNKNOWN if lower is None or upper is None else f"{lower:+.1f} to {upper:+.1f} %",
        {True: "reached", False: "not reached", None: UNKNOWN}[one["reaches_target"]],
        f"{one['samples']:,}",
        one["days"],
        _latency(shown.get("latency_ms_per_1000", {}).get(one["version"])),
    ]


def _linked(version: str, shown: Mapping[str, Any]) -> str:
    """A version's name with the way to its life."""
    page = shown.get("pages", {}).get(version)
    return format_html('<a href="{}">{}</a>', page, version) if page else version or UNKNOWN


def _latency(measured: Mapping[str, float] | None) -> str:
    if not measured:
        return UNKNOWN
    own, theirs = measured.get("challenger"), measured.get("champion")
    return f"{figure(own)} ms, {figure(theirs)} ms"


@dataclass(frozen=True)
class Guarded:
    """What the guards of one segment's shadow test found: a sentence, and each guard as it is stored."""

    version: str
    where: str
    sentence: str
    failed: list[Mapping[str, Any]]
    passed: list[Mapping[str, Any]]


def guards(tests: Iterable[ShadowTest]) -> list[Guarded]:
    """Of each test that has been judged, whatever the experiment's target says."""
    found = []
    for test in tests:
        sentence, checks = review_facts.guards(test.result)
        if checks:
            failed, passed = ([one for one in checks if one["passed"] is passes] for passes in (False, True))
            found.append(Guarded(test.version.version, in_words(test.version.segment), sentence, failed, passed))
    return found


def recommendation(shown: Mapping[str, Any], guarded: Iterable[Guarded]) -> tuple[str, str]:
    """What it comes to, as people say it, and the reason; what fails a guard is for a person to weigh."""
    word, _, reason = shown["recommendation"].partition(" — ")
    advised = RECOMMENDED.get(word, word.capitalize())
    if word in ADOPTING and reserves(shown, guarded := list(guarded)):
        sound = [in_words(one["segment"]) for one in without_reserve(shown, guarded)]
        advised = f"Adopt it in {', '.join(sound)}, and weigh the rest" if sound else "A person weighs it"
    return advised, re.sub(r"(?<=\d)%", "\N{NO-BREAK SPACE}%", reason)


def reserves(shown: Mapping[str, Any], guarded: Iterable[Guarded]) -> list[str]:
    """A sentence for each segment that reaches its target while guards fail."""
    better = {one["version"]: one["improvement_pct"] for one in shown["segments"] if one["reaches_target"]}
    return [
        f"{one.where[:1].upper()}{one.where[1:]}: better by {better[one.version]:.1f}\N{NO-BREAK SPACE}%, "
        f"but {'; '.join(guard['sentence'] for guard in one.failed)}: a person weighs that."
        for one in guarded
        if one.failed and one.version in better
    ]


def without_reserve(shown: Mapping[str, Any], guarded: Iterable[Guarded]) -> list[Mapping[str, Any]]:
    """The segments that reach their target and fail no guard."""
    failing = {one.version for one in guarded if one.failed}
    return [one for one in shown["segments"] if one["reaches_target"] and one["version"] not in failing]


def timeline(events: Iterable[ExperimentEvent]) -> list[dict[str, Any]]:
    """Each step: what it became, who did it, why, and when."""
    return [
        {
            "became": _became(event),
            "colour": "danger" if _is_failure(event) else COLOURS.get(Status(event.to_status), "default"),
            "who": event.by or "the system",
            "why": _why(event.reason),
            "as_of": event.as_of,
            "at": event.created_at,
        }
        for event in events
    ]


def ended(experiment: ModelExperiment, steps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The step that ended it other than by a decision on its results, of its `timeline`."""
    is_over = experiment.status in (Status.REJECTED, Status.CANCELLED, Status.ROLLED_BACK)
    return steps[-1] if is_over and steps else None


def _became(event: ExperimentEvent) -> str:
    if event.reason == "started again":
        return "Started again"
    return "Training failed" if _is_failure(event) else Status(event.to_status).label


def _is_failure(event: ExperimentEvent) -> bool:
    return event.from_status == event.to_status and event.reason not in PLAIN


def _why(reason: str) -> str:
    """The reason without what the step itself says."""
    told = "" if reason in PLAIN else reason.removeprefix("training failed: ")
    return told[:1].upper() + told[1:]


# --- What will happen


def consequences(
    experiment: ModelExperiment, versions: Sequence[ModelVersion], serving: Serving, policy: ModelPolicy
) -> dict[str, list[str]]:
    """What each step does, before it is done; those of a completion by its decision."""
    archived = f"What was trained for it is archived: {_names(versions)}." if versions else ""
    eyes = [] if policy.allow_self_approval else ["You cannot complete it then: that takes another person."]
    return {
        "approve": ["It can be started, on the conditions that you set.", *eyes],
        "reject": ["It ends here, with your reason. It can be proposed anew."],
        "start": [
            "A worker trains its versions by the plan; it takes some minutes.",
            "Then they forecast in shadow, every night beside the champion. Nothing that serves changes.",
        ],
        "cancel": ["It ends here, with your reason.", *([archived] if archived else [])],
        "rollback": [_restored(one) for one in experiment.adopted],
        **_completions(versions, serving),
    }


def _restored(one: Mapping[str, str]) -> str:
    where = in_words(one["segment"])
    if one["former"]:
        return f"{one['former']} serves {where} again, in place of {one['version']} or who followed it."
    return f"{one['version']}, or who followed it, stops serving {where}: the model of all products serves them again."


def _completions(versions: Sequence[ModelVersion], serving: Serving) -> dict[str, list[str]]:
    told = "An alert tells everybody."
    adopt = []
    for version in versions:
        former = serving[version.version]
        where = in_words(version.segment)
        adopt.append(f"{version} forecasts {where} from now on" + (f", in place of {former}." if former else "."))
        if count := len(version.products):
            adopt.append(f"It has learnt from {count:,} products alone, and would forecast the others there untried.")
    rest = "The ticked segments get their version as champion; the other versions are archived."
    return {
        "adopt": [*adopt, told],
        "partial_adopt": [rest, "Everything else is forecast as before.", told],
        "give_up": [f"{_names(versions)}: archived for good.", "Everything is forecast as before.", told],
    }


def _names(versions: Sequence[ModelVersion]) -> str:
    return ", ".join(version.version for version in versions)
