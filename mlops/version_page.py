"""What the page of a version shows beside its fields: decision, guards, shadow test, backtest, what moves the model."""

from collections.abc import Iterable
from typing import Any

from django.db.models import F
from django.utils.html import format_html
from django.utils.text import capfirst

from mlops.feature_names import feature_name
from mlops.figures import UNKNOWN, Table, better, figure, percent, span
from mlops.models import BacktestResult, ModelVersion, ShadowTest
from mlops.review_backtest import days_ahead

STRONGEST = 15


def tables(version: ModelVersion) -> list[Table]:
    """Those that have something to show, in the order in which one asks."""
    decision = version.decision
    champion = decision.get("champion", "")
    found = [
        *_compared(decision, {"candidate": "This version's recipe", "champion": f"{champion}, by its recipe"}),
        *_shadow(version),
        _backtest(version),
        _importances(version.importances),
    ]
    return [table for table in found if table.rows]


def _compared(decision: dict[str, Any], names: dict[str, str], where: str = "") -> list[Table]:
    """What a decision rests on, where there is one: `names` are those that were compared, beside seasonal naive."""
    comparison = decision.get("comparison", {})
    return [
        _guards(decision.get("guards", []), f"Guards{where}"),
        _measures(comparison, {**names, "naive": "Seasonal naive"}, where),
        _departments(comparison.get("departments", []), f"Departments{where}"),
    ]


def _shadow(version: ModelVersion) -> list[Table]:
    """How far its shadow test is, and what came of it."""
    test: ShadowTest | None = getattr(version, "shadow_test", None)
    if test is None:
        return []
    names = {"candidate": version.version, "champion": "Who served beside it"}
    return [_progress(test), *_compared(test.result, names, " in shadow"), _served(test.result.get("served", []))]


def _progress(test: ShadowTest) -> Table:
    row = [
        test.started_on,
        test.get_status_display().lower(),
        f"{test.days} of {test.target_days}",
        f"{test.samples:,}",
        figure(test.champion_mae),
        figure(test.challenger_mae),
        UNKNOWN if test.improvement_pct is None else better(test.improvement_pct, "%"),
        UNKNOWN if test.lower is None or test.upper is None else span(test.lower, test.upper),
        test.get_verdict_display() or UNKNOWN,
    ]
    measured = ["champion’s MAE, units", "its MAE, units", "difference", "interval"]
    headers = ["since", "state", "days scored", "rows", *measured, "verdict"]
    return Table("Shadow test", headers, [row])


def _served(served: Iterable[dict[str, Any]]) -> Table:
    rows = [[one["version"], one["first_day"], one["last_day"], one["days"], f"{one['samples']:,}"] for one in served]
    return Table("Who served beside it in shadow", ["version", "first day", "last day", "days", "rows"], rows)


def _guards(guards: Iterable[dict[str, Any]], title: str) -> Table:
    rows = [[_verdict(guard["passed"]), guard["name"], guard["sentence"]] for guard in guards]
    return Table(title, ["result", "guard", "what was found"], rows)


def _verdict(passed: bool) -> str:
    text, colour = ("passed", "success") if passed else ("failed", "danger")
    return format_html('<span class="own"><span class="label {}">{}</span></span>', colour, text)


def _measures(comparison: dict[str, Any], names: dict[str, str], where: str) -> Table:
    rows = [
        [
            name,
            figure(measures["mae"]),
            figure(measures["rmse"]),
            percent(measures["mape"]),
            percent(measures["bias"]),
            ", ".join(f"{band} {percent(share)}" for band, share in (measures["coverage"] or {}).items()) or UNKNOWN,
        ]
        for key, name in names.items()
        if (measures := comparison.get(key))
    ]
    days = f"{comparison.get('days')} days, {comparison.get('n') or 0:,} rows, {figure(comparison.get('units'))} units"
    return Table(
        f"On the same rows{where} ({days})", ["forecast", "MAE, units", "RMSE, units", "MAPE", "bias", "coverage"], rows
    )


def _departments(departments: Iterable[dict[str, Any]], title: str) -> Table:
    rows = [
        [
            one["name"] or "none",
            figure(one["units"]),
            figure(one["candidate_mae"]),
            figure(one["champion_mae"]),
            UNKNOWN if one["worse_pct"] is None else better(-one["worse_pct"], "%"),
            UNKNOWN if one["lower"] is None else span(-one["upper"], -one["lower"]),
        ]
        for one in sorted(departments, key=lambda one: -(one["worse_pct"] or 0))
    ]
    headers = ["department", "units sold", "MAE, units", "champion’s MAE, units", "against the champion", "interval"]
    return Table(title, headers, rows)


def _backtest(version: ModelVersion) -> Table:
    """The hold-out as a whole, per lead band, beside the baselines."""
    whole = version.backtests.filter(
        kind=BacktestResult.Kind.HOLDOUT, scope_type=BacktestResult.Scope.ALL, first_day__lt=F("day")
    )
    rows = [
        [
            days_ahead(version, one.lead_band),
            one.baseline.replace("_", " ") or version.version,
            f"{one.n:,}",
            figure(one.mae),
            percent(one.wape),
            figure(one.rmse),
            percent(one.bias),
            percent(one.coverage),
        ]
        for one in whole.order_by("lead_band", "baseline")
    ]
    headers = ["days ahead", "forecast", "rows", "MAE, units", "WAPE", "RMSE, units", "bias", "coverage"]
    return Table("Hold-out", headers, rows)


def _importances(importances: list[dict[str, Any]]) -> Table:
    rows = [[capfirst(feature_name(one["feature"])), percent(one["share"])] for one in importances[:STRONGEST]]
    return Table("What moves it", ["feature", "share of all effect"], rows)
