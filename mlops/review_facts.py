"""What a person is shown before deciding about a challenger: sentences and tables from what was stored with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from alerts.models import MLAlert
from mlops import room, routing
from mlops.addresses import life_url
from mlops.comparison import Department
from mlops.explain import LOG_LINK
from mlops.feature_names import feature_name
from mlops.figures import UNKNOWN, Row, Table, better, figure, percent, span
from mlops.models import DriftIncident, ModelVersion, ShadowTest
from mlops.review_backtest import scope_rows
from shelfops.models import Customer

Numbers = Mapping[str, Any]
STRONGEST = 12
POINTS = 100


Previews = Callable[[ModelVersion, ModelVersion], Any]
_previews: list[Previews] = []


def compare_previews_with(compare: Previews) -> None:
    """Sets what knows stores and products; called in `AppConfig.ready()`."""
    _previews[:] = [compare]


def previews(version: ModelVersion, champion: ModelVersion | None) -> Any:
    """What would change if the version served; None where that cannot be told."""
    return _previews[0](version, champion) if _previews and champion and champion.pk != version.pk else None


def compared_with(version: ModelVersion) -> ModelVersion | None:
    """The champion that the stored comparison is with."""
    name = version.decision.get("champion")
    if not name:
        return None
    versions = ModelVersion.objects.of(version.customer, version.model_name).select_related("run__job_run", "parent")
    return versions.filter(version=name).first()


def question(version: ModelVersion, champion: ModelVersion | None) -> str:
    """What is asked."""
    where = routing.in_words(version.segment)
    return f"Shall {version} forecast {where}" + (f" in place of {champion}?" if champion else ", as the first?")


def answer(version: ModelVersion) -> str:
    """What the held-out days say, in one sentence."""
    compared = version.decision.get("comparison")
    if not compared:
        return f"No comparison is stored with {version}."
    own, theirs = compared["candidate"]["mae"], (compared["champion"] or {}).get("mae")
    days = f"On the {compared['days']} held-out days from {compared['first_day']} to {compared['last_day']}"
    if own is None:
        return f"{days} it is unknown how far {version} was off."
    found = f"{days} {version} was off by {figure(own)} units per product and day"
    if theirs is None:
        return f"{found}, seasonal naive by {figure(compared['naive']['mae'])}."
    return f"{found}, {version.decision['champion']} by {figure(theirs)}: {_improvement(compared)}."


def _improvement(compared: Numbers) -> str:
    value = compared["improvement_pct"]
    if value is None:
        return UNKNOWN
    interval = ""
    if compared["lower"] is not None:
        interval = f" ({compared['level'] * 100:g} % interval: {span(compared['lower'], compared['upper'])})"
    return better(value, "%") + interval


def guards(decision: Mapping[str, Any]) -> tuple[str, list[Numbers]]:
    """How many failed, in a sentence, and all of them, the failed ones first."""
    found = sorted(decision.get("guards", []), key=lambda guard: bool(guard["passed"]))
    failed = [guard["name"] for guard in found if not guard["passed"]]
    if not failed:
        return (f"All {len(found)} guards passed." if found else "", found)
    return f"{len(failed)} of {len(found)} guards failed: {', '.join(failed)}.", found


# --- Side by side


def measures(version: ModelVersion) -> Table:
    """The held-out days' metrics of the version, the champion and seasonal naive, on the same rows."""
    compared, champion = version.decision.get("comparison"), version.decision.get("champion")
    if not compared:
        return Table("", [], [])
    those = [compared["candidate"], *([compared["champion"]] if compared["champion"] else []), compared["naive"]]
    names = [version.version, *([champion] if compared["champion"] else []), "Seasonal naive"]
    against = [f"{version} against {champion}"] if compared["champion"] else []
    rows = [[name, *texts, *([apart] if against else [])] for name, texts, apart in _measures(compared, those, version)]
    return Table("On the same held-out days", ["", *names, *against], rows)


def _measures(
    compared: Numbers, those: Sequence[Numbers], version: ModelVersion
) -> Iterator[tuple[str, list[str], str]]:
    """Name, everybody's value, and the version's difference to the champion."""
    wape = compared["n"] / compared["units"] if compared["units"] else None
    mae = [one["mae"] for one in those]
    yield "MAE, units per product and day", [figure(value) for value in mae], _improvement(compared)
    shares = [None if value is None or wape is None else value * wape for value in mae]
    yield "WAPE, error by units sold", [percent(share) for share in shares], _relative(shares)
    rmse = [one["rmse"] for one in those]
    yield "RMSE, which minds large errors", [figure(value) for value in rmse], _relative(rmse)
    mape = [one["mape"] for one in those]
    yield "MAPE, where something sold", [percent(share) for share in mape], _relative(mape)
    bias = [one["bias"] for one in those]
    yield "Bias, too much (+) or too little (-)", [_signed(share) for share in bias], _nearer(bias, 0.0, "0 %")
    level = version.decision["thresholds"]["interval_level"]
    for band in sorted({band for one in those for band in one["coverage"] or {}}):
        held = [(one["coverage"] or {}).get(band) for one in those]
        target = f"{level * 100:g} %"
        yield f"Interval holds, {band} sellers", [percent(share) for share in held], _nearer(held, level, target)


def _signed(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share * 100:+.1f} %"


def _relative(values: Sequence[float | None]) -> str:
    own, theirs = values[0], values[1]
    if own is None or not theirs:
        return UNKNOWN
    return better((theirs - own) / theirs * 100, "%")


def _nearer(values: Sequence[float | None], target: float, name: str) -> str:
    own, theirs = values[0], values[1]
    if own is None or theirs is None:
        return UNKNOWN
    nearer = (abs(theirs - target) - abs(own - target)) * POINTS
    return better(nearer, "points", (f"nearer to {name}", f"further from {name}"))


def departments(version: ModelVersion) -> Table:
    """Each department's MAE of both, the one that loses the most first."""
    compared, champion = version.decision.get("comparison", {}), version.decision.get("champion")
    rows = scope_rows(Department(**one) for one in compared.get("departments", []))
    names = [f"{version}’s MAE, units", f"{champion}’s MAE, units"]
    interval = f"{compared.get('level', 0) * 100:g} % interval"
    return Table("By department, the worst first", ["Department", "Units sold", *names, "Difference", interval], rows)


def importances(version: ModelVersion, compared: ModelVersion | None) -> Table:
    """What moves the forecasts of both, strongest first: shares of all effect (SHAP), and how much one feature does."""
    both = [_Drivers(those) for those in (version, compared) if those]
    strongest = sorted(
        {name for those in both for name in those.share},
        key=lambda name: (-max(those.share.get(name, 0.0) for those in both), name),
    )
    rows: list[Row] = []
    for name in strongest[:STRONGEST]:
        row = [feature_name(name), *(percent(those.share.get(name)) for those in both)]
        if compared:
            row.append(f"{(both[0].share.get(name, 0.0) - both[1].share.get(name, 0.0)) * POINTS:+.1f} points")
        rows.append([*row, *(those.effect(name) for those in both)])
    names = [those.version for those in (version, compared) if those]
    headers = ["Feature, by its share of all effect", *names, *(["Difference"] if compared else [])]
    return Table("What moves the forecasts", [*headers, *(f"Typical effect in {name}" for name in names)], rows)


class _Drivers:
    """One version's features with their shares and effects; a model with a log link multiplies, another adds."""

    def __init__(self, version: ModelVersion) -> None:
        self.share = {one["feature"]: one["share"] for one in version.importances}
        self._effects = {one["feature"]: one.get("effect") for one in version.importances}
        objective = version.recipe.get("params", {}).get("objective", LOG_LINK[0])
        self._multiplies = objective in LOG_LINK

    def effect(self, name: str) -> str:
        """A factor, of which 1.10 is 10 % up or down; or units."""
        value = self._effects.get(name)
        if value is None:
            return UNKNOWN
        return f"× {value:.2f}" if self._multiplies else f"{value:.2f} units"


def lineage(version: ModelVersion, compared: ModelVersion | None) -> Table:
    """Where both come from."""
    both = [one for one in (version, compared) if one]
    rows: list[Row] = [
        *([["its life", *(_link(one, version.customer) for one in both)]] if compared else []),
        ["status", *(one.get_status_display().lower() for one in both)],
        ["trained on", *(one.as_of for one in both)],
        ["by", *(_run(one) for one in both)],
        ["trained by the recipe of, or compared with", *(_link(one.parent, version.customer) for one in both)],
        ["feature tier", *(one.tier.replace("_", " ") for one in both)],
        ["parameters", *(_params(one) for one in both)],
        ["learned from the days", *(_days(one.train_start, one.train_end) for one in both)],
        ["judged as fitted on", *(_days(one.evaluation_start, one.evaluation_end) for one in both)],
        ["products in stores", *(f"{one.series:,}" for one in both)],
        ["rows", *(f"{one.rows:,}" for one in both)],
        ["champion since", *(one.champion_since or UNKNOWN for one in both)],
    ]
    return Table("Where they come from", ["", *(one.version for one in both)], rows)


def _params(version: ModelVersion) -> str:
    """What its recipe sets other than the tier."""
    own = version.recipe.get("params", {})
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in own.items()) or "those of the tier"


def _link(version: ModelVersion | None, customer: Customer) -> str | SafeString:
    return format_html('<a href="{}">{}</a>', life_url(version, customer), version) if version else UNKNOWN


def _run(version: ModelVersion) -> str | SafeString:
    if version.run is None:
        return UNKNOWN
    text = f"retrain, {version.run.get_trigger_type_display().lower()}"
    if version.run.job_run is None:
        return text
    return format_html('<a href="{}">{}</a>', version.run.job_run.get_absolute_url(), text)


def _days(first: Any, last: Any) -> str:
    days = (last - first).days + 1
    return f"{first} to {last} ({days} day{'' if days == 1 else 's'})"


# --- Shadow


def shadow(version: ModelVersion) -> list[str]:
    """How far its shadow test is, or what came of it, in sentences."""
    test: ShadowTest | None = getattr(version, "shadow_test", None)
    if test is None:
        is_waiting = version.status in room.BESIDE_THE_CHAMPION
        return [f"{version} {'has not been in shadow yet' if is_waiting else 'was never in shadow'}."]
    seen = f"{test.days} of {test.target_days} days and {test.samples:,} forecasts"
    if test.status == ShadowTest.Status.RUNNING:
        return [f"It runs since {test.started_on}: {seen} are scored so far. Its verdict comes when all are in."]
    if test.status == ShadowTest.Status.CANCELLED:
        return [f"It ran from {test.started_on} to {test.completed_on} and ended without a verdict after {seen}."]
    found = f"{test.get_verdict_display()}. It ran from {test.started_on} to {test.completed_on}: {seen} were scored."
    return [found, f"{_sentence(test.result.get('reason', ''))}"]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


# --- What will happen


def consequences(
    version: ModelVersion,
    champion: ModelVersion | None,
    alerts: Sequence[MLAlert],
    incident: DriftIncident | None,
) -> dict[str, list[str]]:
    """What approving and what rejecting does, before it is done."""
    where = routing.in_words(version.segment)
    both = [f"The alert “{alert.title}” is marked as actioned." for alert in alerts]
    test: ShadowTest | None = getattr(version, "shadow_test", None)
    if test is not None and test.status == ShadowTest.Status.RUNNING:
        both.append("Its shadow test ends without a verdict.")
    approve = [f"{version} becomes champion and makes the forecasts for {where} from now on."]
    reject = [f"{version} is archived for good: it cannot be approved later."]
    if champion:
        approve.append(f"{champion} is archived. A manager can roll back to it.")
        reject.append(f"{champion} stays champion and goes on forecasting.")
    if incident:
        closed = f"The drift incident of {incident.opened_on} is closed:"
        approve.append(f"{closed} the new version took over.")
        reject.append(f"{closed} the champion stays.")
    return {"approve": approve + both, "reject": reject + both}
