"""When a department deserves a model of its own: four signals with their numbers, and a judgement with its reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from django.db.models import Avg, F
from django.db.models.functions import Abs

from forecasting import sales
from forecasting.evaluate import SEASONAL_NAIVE
from forecasting.panel import Panel, as_date
from mlops.backtests import ONE_DAY_AHEAD
from mlops.figures import percent
from mlops.models import BacktestResult, ModelPolicy, ModelVersion, ShadowPrediction
from mlops.power import USUAL_POWER, days_needed, pooled_sd
from mlops.routing import Kind, segment_key
from shelfops.models import Customer

WHOLE = ""
WEEK = 7
Facts = dict[str, Any]
Scope = BacktestResult.Scope
LABELS = {
    "worth_a_trial": "Worth a trial",
    "no_case": "No case now",
    "too_little_data": "Too little data",
    "has_its_own": "Has a model of its own",
    "unknown": "Cannot tell yet",
}


@dataclass(frozen=True)
class Known:
    """What all departments are judged by."""

    policy: ModelPolicy
    champion: ModelVersion | None
    errors: Mapping[str, Facts]
    pairs: Mapping[str, tuple[float | None, int]]
    naive_pairs: Mapping[str, tuple[float | None, int]]
    demand: Mapping[str, Facts]
    own: frozenset[str]


def advise(customer: Customer) -> Facts:
    """The advice for each department as JSON takes it, those worth a trial first; unknown is null."""
    policy, champion = ModelPolicy.of(customer), ModelVersion.objects.champion_for(customer)
    as_of = customer.today()
    try:
        last_day = sales.last_complete_day(customer, as_of, policy)
    except sales.NoSales as nothing:
        return {"as_of": as_of, "champion": None, "whole": None, "departments": [], "note": str(nothing)}
    since = last_day - dt.timedelta(days=policy.train_days - 1)
    panel = sales.panel(customer, last_day=last_day, since=since, plans_since=last_day)
    daily = _daily(champion, last_day - dt.timedelta(days=policy.train_days))
    champions = ModelVersion.objects.of(customer).champions()
    known = Known(
        policy=policy,
        champion=champion,
        errors={name: _error(rows) for name, rows in daily.items()},
        pairs=_shadow_pairs(customer, last_day - dt.timedelta(days=policy.train_days)),
        naive_pairs={name: _naive_pairs(rows) for name, rows in daily.items()},
        demand=demand(panel),
        own=frozenset(champions.values_list("segment", flat=True)),
    )
    names = sorted(name for name in known.demand if name != WHOLE)
    departments = sorted((_of(name, known, alone=len(names) < 2) for name in names), key=_worth_first)
    return {
        "as_of": as_of,
        "champion": champion.version if champion else None,
        "whole": {"error": known.errors.get(WHOLE), "demand": known.demand.get(WHOLE)},
        "departments": departments,
        "note": _note(champion, names),
    }


def _note(champion: ModelVersion | None, names: Sequence[str]) -> str:
    if not names:
        return "No product has a department. Load sales with one, or give the categories one."
    return "" if champion else "There is no champion yet, so no error can be told. Retrain first."


def _worth_first(one: Facts) -> tuple[int, float, str]:
    gain = one["signals"]["error"]["gain_pct"]
    return list(LABELS).index(one["judgement"]), -(gain or 0.0), one["department"]


def _of(name: str, known: Known, *, alone: bool) -> Facts:
    signals = {
        "error": error_signal(known.errors.get(name), known.errors.get(WHOLE), known.policy.target_improvement_pct),
        "importance": _importance(known.champion),
        "domain": _domain(known.demand[name], known.demand[WHOLE]),
        "data": _data(known.demand[name], known.policy),
    }
    segment = segment_key(Kind.DEPARTMENT, name)
    judgement, reason = judge(signals, has_its_own=segment in known.own, alone=alone)
    return {
        "department": name,
        "segment": segment,
        "judgement": judgement,
        "reason": reason,
        "signals": signals,
        "shadow_days": _shadow_days(name, known),
    }


def judge(signals: Mapping[str, Facts], *, has_its_own: bool, alone: bool) -> tuple[str, str]:
    """One of LABELS and why. The error decides where the data allow a model; the other signals stand beside it."""
    error, data = signals["error"], signals["data"]
    if has_its_own:
        return "has_its_own", "it is served by a model of its own already"
    if alone:
        return "no_case", "it is the only department: its model would be that of all products"
    if data["speaks_for"] is False:
        return "too_little_data", data["reason"]
    if error["speaks_for"] is None:
        return "unknown", error["reason"]
    if not error["speaks_for"]:
        return "no_case", error["reason"]
    beside = "what moves the champion’s forecasts points there too"
    seen = {True: beside, False: "though the champion makes little of department and category", None: ""}
    more = seen[signals["importance"]["speaks_for"]]
    return "worth_a_trial", "; ".join(text for text in (error["reason"], more) if text)


# --- Signal 1: it is forecast worse than the rest


def _daily(champion: ModelVersion | None, since: dt.date) -> dict[str, pd.DataFrame]:
    """The champion's days one day ahead, held out or served, beside seasonal naive: by department, and the whole."""
    if champion is None:
        return {}
    results = BacktestResult.objects.filter(
        version=champion,
        lead_band=ONE_DAY_AHEAD,
        baseline__in=["", SEASONAL_NAIVE],
        scope_type__in=[Scope.ALL, Scope.DEPARTMENT],
        first_day=F("day"),
        day__gt=since,
        mae__isnull=False,
    )
    columns = ["day", "baseline", "scope_type", "scope_value", "n", "units", "mae"]
    table = pd.DataFrame.from_records(results.values_list(*columns), columns=columns)
    table = table[(table["scope_type"] == Scope.ALL) | (table["scope_value"] != "")]
    keys = ["day", "scope_value"]
    naive = table[table["baseline"] == SEASONAL_NAIVE][[*keys, "mae"]].rename(columns={"mae": "naive_mae"})
    both = table[table["baseline"] == ""].merge(naive, on=keys, how="left").sort_values(keys)
    return {str(name): rows for name, rows in both.groupby("scope_value")}


def _error(rows: pd.DataFrame) -> Facts:
    """MAE in units per product and day, WAPE, and the MAE as a share of seasonal naive's on the same rows."""
    absolute, n, units = (rows["mae"] * rows["n"]).sum(), rows["n"].sum(), rows["units"].sum()
    beside = rows[rows["naive_mae"].notna()]
    naive = (beside["naive_mae"] * beside["n"]).sum()
    return {
        "mae": float(absolute / n) if n else None,
        "wape": float(absolute / units) if units > 0 else None,
        "against_naive": float((beside["mae"] * beside["n"]).sum() / naive) if naive > 0 else None,
        "days": len(rows),
        "rows": int(n),
    }


def error_signal(own: Facts | None, whole: Facts | None, target_pct: float) -> Facts:
    """Speaks for a model where being as good against seasonal naive as the whole would reach the target.

    MAE compares levels of sales, WAPE how rare a sale is; the share of seasonal naive's error compares forecasts.
    """
    facts: Facts = {**(own or dict.fromkeys(("mae", "wape", "against_naive", "days", "rows"))), "gain_pct": None}
    share, usual = (one["against_naive"] if one else None for one in (own, whole))
    if not share or usual is None:
        return {**facts, "speaks_for": None, "reason": "how it is forecast against the whole is not known yet"}
    gain = (1 - usual / share) * 100
    said = f"its error is {percent(share)} of seasonal naive’s, that of all products {percent(usual)}"
    more = f": were it as good as the whole, its MAE would be {gain:.1f} % lower" if gain > 0 else ""
    return {**facts, "gain_pct": gain, "speaks_for": gain >= target_pct, "reason": said + more}


# --- Signal 2: the model tells departments apart already


def _importance(champion: ModelVersion | None) -> Facts:
    """Where department and category stand in the champion's importances: above an even share is among the top."""
    found = champion.importances if champion else []
    if not found:
        return {"speaks_for": None, "features": [], "reason": "no importances are stored with the champion"}
    even = 1 / len(found)
    ranked = [
        {"feature": one["feature"], "rank": place, "of": len(found), "share": one["share"]}
        for place, one in enumerate(found, start=1)
        if one["feature"] in ("department", "category")
    ]
    if not ranked:
        return {"speaks_for": None, "features": [], "reason": "the champion’s tier knows neither"}
    told = ", ".join(
        f"{one['feature']} is number {one['rank']} of {one['of']} ({percent(one['share'])})" for one in ranked
    )
    return {"speaks_for": any(one["share"] > even for one in ranked), "features": ranked, "reason": told}


# --- Signals 3 and 4: how it sells, and how much is known of it


def demand(panel: Panel) -> dict[str, Facts]:
    """How each department and the whole ("") have sold, from the panel's observed days."""
    names = panel.items["department"].astype(str)
    found = {WHOLE: _demand(panel, np.ones(len(names), dtype=bool))}
    for name in sorted(set(names) - {""}):
        found[name] = _demand(panel, (names == name).to_numpy())
    return found


def _demand(panel: Panel, of: npt.NDArray[np.bool_]) -> Facts:
    rows = of[panel.series] & panel.observed
    days, first = panel.days[rows], int(panel.start.min()) if len(panel.items) else 0
    counts = np.bincount(days - first)
    level = np.bincount(days - first, weights=panel.y[rows])[counts > 0] / counts[counts > 0]
    weekday = np.array([as_date(int(day) + first).weekday() for day in np.flatnonzero(counts)])
    promo = panel.promo[rows]
    flagged = promo[~np.isnan(promo)]
    first_sold = panel.items["first_sold"].to_numpy()[of]
    return {
        "rows": int(rows.sum()),
        "series": int(of.sum()),
        "history_days": int(panel.last_day - first_sold.min() + 1) if len(first_sold) else None,
        "promo_share": float(flagged.mean()) if len(flagged) else None,
        "volatility": float(level.std() / level.mean()) if len(level) > 1 and level.mean() > 0 else None,
        "weekly_strength": weekly_strength(level, weekday),
    }


def weekly_strength(level: npt.NDArray[np.floating], weekday: npt.NDArray[np.integer]) -> float | None:
    """The share of the days' variance that the weekday explains; None for fewer than two weeks or no variance."""
    total = float(((level - level.mean()) ** 2).sum()) if len(level) else 0.0
    if len(level) < 2 * WEEK or not total:
        return None
    within = sum(float(((level[weekday == one] - level[weekday == one].mean()) ** 2).sum()) for one in set(weekday))
    return 1 - within / total


def _domain(own: Facts, whole: Facts) -> Facts:
    names = ("promo_share", "volatility", "weekly_strength")
    facts: Facts = {name: own[name] for name in names} | {f"whole_{name}": whole[name] for name in names}
    return {**facts, "speaks_for": None, "reason": "what these mean for the department is a person’s judgement"}


def _data(own: Facts, policy: ModelPolicy) -> Facts:
    needed = policy.train_days + policy.holdout_days
    facts = {name: own[name] for name in ("rows", "series", "history_days")}
    enough = own["rows"] >= policy.segment_min_rows and (own["history_days"] or 0) >= needed
    reason = f"{own['rows']:,} rows to train on and {own['history_days']} days of history"
    if not enough:
        reason += f", and {policy.segment_min_rows:,} rows and {needed} days are needed"
    return {**facts, "needed_rows": policy.segment_min_rows, "needed_days": needed, "speaks_for": enough,
            "reason": reason}  # fmt: skip


# --- How long its shadow would have to last


def _shadow_pairs(customer: Customer, since: dt.date) -> dict[str, tuple[float | None, int]]:
    """By department the deviation of past shadow days, as a share of the champion's MAE, and how many days they were.

    Each day is the champion's MAE less the version's on the same rows. A share, because a test may have been of the
    products that sell most, whose errors are larger.
    """
    rows = ShadowPrediction.objects.filter(customer=customer, forecast_date__gt=since, actual_demand__isnull=False)
    mae = Abs(F("champion_prediction") - F("actual_demand"))
    better = mae - Abs(F("challenger_prediction") - F("actual_demand"))
    days = rows.exclude(department="").values_list("department", "version_id", "forecast_date").order_by()
    columns = ["department", "version", "day", "difference", "mae"]
    table = pd.DataFrame.from_records(days.annotate(difference=Avg(better), mae=Avg(mae)), columns=columns)
    return {
        str(name): _share(*pooled_sd([list(one) for _, one in found.groupby("version")["difference"]]), found["mae"])
        for name, found in table.groupby("department")
    }


def _naive_pairs(rows: pd.DataFrame) -> tuple[float | None, int]:
    """The same of seasonal naive against the champion."""
    both = rows[rows["naive_mae"].notna()]
    return _share(*pooled_sd([list(both["naive_mae"] - both["mae"])]), both["mae"])


def _share(sd: float | None, pairs: int, maes: pd.Series) -> tuple[float | None, int]:
    mean = float(maes.mean()) if len(maes) else 0.0
    return (sd / mean if sd is not None and mean > 0 else None), pairs


def _shadow_days(name: str, known: Known) -> Facts:
    """Days until the target would show, from paired daily differences; at least those that the policy asks for.

    Past shadow tests of the department are the pairs where they have enough days; else the champion against seasonal
    naive, which differ more from each other than two models do, so that it is rather too long.
    """
    policy, error = known.policy, known.errors.get(name)
    (share, pairs), basis = known.pairs.get(name, (None, 0)), "past shadow tests"
    if pairs < policy.shadow_min_days:
        (share, pairs), basis = known.naive_pairs.get(name, (None, 0)), "the champion against seasonal naive"
    if pairs < policy.shadow_min_days:
        share, basis = None, ""
    target = policy.target_improvement_pct / 100
    mae = error["mae"] if error else None
    needed = days_needed(share, target, level=policy.bootstrap_level)
    return {
        "needed": None if needed is None else max(needed, policy.shadow_days),
        "by_power": needed,
        "least": policy.shadow_days,
        "target_pct": policy.target_improvement_pct,
        "effect": None if mae is None else mae * target,
        "deviation": None if mae is None or share is None else mae * share,
        "pairs": pairs,
        "basis": basis,
        "level": policy.bootstrap_level,
        "power": USUAL_POWER,
    }


# --- The proposal that it drafts


def draft(one: Facts) -> dict[str, str]:
    """What the form of a proposal is filled in with."""
    name, target, days = one["department"], one["shadow_days"]["target_pct"], one["shadow_days"]["needed"]
    lasting = f" By the variance of past errors that takes {days} shadow days to show." if days else ""
    reason = one["reason"]
    return {
        "name": f"A model of its own for {name}",
        "hypothesis": (
            f"A model trained on {name} alone lowers its MAE by at least {target:g} %: "
            f"{reason}.{lasting}"
        ),
        "experiment_type": "segmentation",
        "segmentation": Kind.DEPARTMENT.value,
        "segments": one["segment"],
        "target_improvement_pct": f"{target:g}",
    }  # fmt: skip
