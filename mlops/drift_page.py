"""What the page of a drift incident shows beside its fields: the dossier, steps and nights, as tables for people."""

from collections.abc import Mapping
from typing import Any

from mlops.figures import UNKNOWN, Row, Table, change, figure, percent
from mlops.models import DriftIncident
from shelfops.columns import at

Facts = Mapping[str, Any]
NIGHTS = 60
MEASURES = {
    "mae": ("MAE one day ahead, units", False),
    "naive_mae": ("seasonal naive's MAE, units", False),
    "level": ("units per product and day", False),
    "bias": ("bias", True),
}
WHEN = {"recent": "in the last days", "baseline": "in the month before", "coming": "in the week after"}


def steps(incident: DriftIncident) -> Table:
    """What was done about it, by whom and why."""
    events = incident.events.select_related("by").order_by("created_at", "pk")
    rows: list[Row] = [
        [
            event.as_of,
            event.get_kind_display(),
            event.by or "the system, by rule",
            event.reason or UNKNOWN,
            at(event.created_at, incident.customer),
        ]
        for event in events
    ]
    return Table("Steps", ["day", "step", "by", "why", "written down"], rows)


def nights(incident: DriftIncident) -> Table:
    """The checks that found it, the newest first."""
    rows: list[Row] = [
        [
            check.as_of,
            check.get_verdict_display(),
            figure(check.recent_mae),
            figure(check.baseline_mae),
            change(check.drift_pct),
            f"{check.recent_rows:,}",
            check.reason,
        ]
        for check in incident.checks.order_by("-as_of")[:NIGHTS]
    ]
    headers = ["night", "verdict", "recent MAE, units", "before", "change", "forecasts scored", "reason"]
    return Table("Nights" if len(rows) < NIGHTS else f"The last {NIGHTS} nights", headers, rows)


def tables(dossier: Facts) -> list[Table]:
    """Those that have something to show, in the order in which one asks."""
    found = [
        _measures(dossier),
        _suspects(dossier["suspects"]),
        _surroundings(dossier),
        _carriers("Departments that carry it", "department", dossier["departments"]),
        _carriers("Stores that carry it", "store", dossier["stores"]),
        _holidays(dossier["holidays"]),
    ]
    return [table for table in found if table.rows]


def _measures(dossier: Facts) -> Table:
    (recent, last), (baseline, before) = dossier["windows"]["recent"], dossier["windows"]["baseline"]
    rows: list[Row] = []
    for key, (name, is_share) in MEASURES.items():
        pair, shown = dossier[key], percent if is_share else figure
        by = UNKNOWN if is_share else change(pair["change_pct"])
        rows.append([name, shown(pair["recent"]), shown(pair["baseline"]), by])
    rows.append(["MAE without what is suspicious", "", "", change(dossier["without_suspects_pct"])])
    return Table("Numbers", ["", f"{recent} to {last}", f"{baseline} to {before}", "change"], rows)


def _suspects(suspects: list[Facts]) -> Table:
    rows = [[one["day"], one["store"], one["department"] or "all", one["what"]] for one in suspects]
    return Table("Suspicious store-days", ["day", "store", "department", "what"], rows)


def _surroundings(dossier: Facts) -> Table:
    missing, new, prices = dossier["missing"], dossier["new_items"], dossier["prices"]
    silent, promotions = dossier["silent"], dossier["promotions"]
    share = missing["store_day_share"]
    rows: list[Row] = [
        ["days missing", ", ".join(missing["days"]) or "none"],
        ["stores with gaps", ", ".join(missing["stores"]) or "none"],
        ["store-days missing", _beside(share["recent"], share["baseline"])],
        ["sold daily before, and nothing since", _of(silent["silent"], silent["series"], "products in stores")],
        ["new items among all", _beside(new["recent"], new["baseline"])],
        ["new items' share of the recent error", percent(new["error_share"])],
        ["prices that changed by more than 5 %", _of(prices["changed"], prices["series"], "products in stores")],
        ["on promotion", _beside(promotions["recent"], promotions["baseline"])],
    ]
    return Table("Data and assortment", ["", ""], rows)


def _carriers(title: str, name: str, carriers: list[Facts]) -> Table:
    rows = [
        [
            one["name"] or "none",
            percent(one["share"]),
            figure(one["mae"]["recent"]),
            figure(one["mae"]["baseline"]),
            change(one["mae"]["change_pct"]),
        ]
        for one in carriers
    ]
    return Table(title, [name, "share of the increase", "recent MAE, units", "before", "change"], rows)


def _holidays(holidays: list[Facts]) -> Table:
    rows = [[one["day"], one["name"], WHEN[one["when"]]] for one in holidays]
    return Table("Public holidays, which leave the windows", ["day", "name", "when"], rows)


def _beside(recent: float | None, baseline: float | None) -> str:
    return f"{percent(recent)} in the last days, {percent(baseline)} in the month before"


def _of(part: int, whole: int, noun: str) -> str:
    return f"{part:,} of {whole:,} {noun}"
