"""What speaks for a fault in the data, for the calendar or the level of sales, or for a model that has become worse."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from django.db.models import Avg, Count, Exists, F, OuterRef, Q, Sum
from django.db.models.functions import Abs, Floor

from forecasting import public_holidays, served
from forecasting.models import FeedDay, PlannedPrice, Sale, Series, Store
from forecasting.served import State, Windows
from mlops import routing
from mlops.models import GLOBAL, DriftIncident, ModelPolicy
from shelfops.models import Customer

Verdict = DriftIncident.Verdict
Facts = dict[str, Any]
Bools = npt.NDArray[np.bool_]

# A store-day with fewer rows may resemble another, or hold even quantities only, by chance.
TELLING_ROWS = 20
USUALLY_EVEN, ALL_EVEN = 0.8, 0.99
# Units a day from which a store's department does not sell nothing by chance.
TELLING_UNITS = 10
PRICE_CHANGE = 0.05
COMING_DAYS = 7
MOST_NAMED = 5


@dataclass(frozen=True)
class Dossier:
    """The suggested verdict, why in words, and the facts as JSON takes them."""

    verdict: DriftIncident.Verdict
    why: str
    facts: Facts

    def as_json(self) -> Facts:
        return {**self.facts, "verdict": self.verdict.value, "why": self.why}


def of_incident(incident: DriftIncident) -> Dossier:
    """Compiled over both windows of the incident's latest check."""
    check = incident.checks.filter(last_day__isnull=False).latest("as_of")
    windows = Windows.until(check.last_day or check.as_of, ModelPolicy.of(incident.customer))
    return compiled(incident.customer, windows, as_of=check.as_of, segment=incident.segment)


def compiled(customer: Customer, windows: Windows, *, as_of: dt.date, segment: str = GLOBAL) -> Dossier:
    """The dossier of a segment as it is routed on `as_of`; sales, prices and promotions are the whole customer's."""
    policy = ModelPolicy.of(customer)
    segments = [rule.segment for rule in routing.rules_on(customer, as_of)]
    days = served.calendar(customer, windows, policy)
    cells = served.cells(customer, windows, segments, as_of=as_of)[segment]
    counted = cells[cells["date"].isin(days.index[days["state"] == State.COUNTS])]
    feed = served.feed(customer, windows, policy)
    suspects = [*_odd_store_days(customer, windows), *_zero_days(counted, windows)]
    gaps = _stores_with_gaps(feed, windows, policy)
    errors = _errors(counted, windows)
    without = _errors(_without(counted, suspects, gaps), windows)["mae"]["change_pct"]
    verdict, why = judge(errors, without, len(suspects), len(gaps), policy)
    names = dict(Store.objects.filter(customer=customer).values_list("id", "code"))
    facts = {
        "windows": {
            "recent": [windows.recent_from.isoformat(), windows.last_day.isoformat()],
            "baseline": [windows.first_day.isoformat(), windows.baseline_to.isoformat()],
        },
        **errors,
        "without_suspects_pct": without,
        "missing": _missing(days, feed, windows) | {"stores": [names[store] for store in gaps]},
        "suspects": [one | {"store": names[one["store"]], "day": one["day"].isoformat()} for one in suspects],
        "silent": _silent_series(customer, windows),
        "new_items": _new_items(customer, windows, policy),
        "prices": _prices(customer, windows),
        "promotions": _promotions(customer, windows),
        "holidays": _holidays(customer, windows),
        "departments": _carriers(counted, "department", windows),
        "stores": [one | {"name": names[one["name"]]} for one in _carriers(counted, "store_id", windows)],
    }
    return Dossier(verdict, why, facts)


# --- Judging


def judge(
    errors: Facts, without_pct: float | None, suspects: int, gaps: int, policy: ModelPolicy
) -> tuple[DriftIncident.Verdict, str]:
    """The verdict that the numbers suggest.

    A fault, where the increase without the suspicious store-days and the stores with gaps would be no drift; calendar
    or level, where seasonal naive, which learns nothing, has lost at least half as much; else the model.
    """
    worse, naive_worse = errors["mae"]["change_pct"], errors["naive_mae"]["change_pct"]
    if (suspects or gaps) and without_pct is not None and round(without_pct, 6) <= policy.drift_pct:
        return Verdict.DATA_FAULT, (
            f"Without {_count(suspects, 'suspicious store-day')} and {_count(gaps, 'store')} with gaps the change of "
            f"MAE would be {without_pct:+.1f} %, which is no drift."
        )
    if worse is None or naive_worse is None:
        return Verdict.REAL, "Seasonal naive is not known for both windows, so nothing else explains the increase."
    sold = f" Sales per product and day {_changed(errors['level']['change_pct'])}."
    if naive_worse >= worse / 2:
        return Verdict.CALENDAR_OR_LEVEL, (
            f"The MAE of seasonal naive, which learns nothing, {_changed(naive_worse)} as well: the days are harder "
            f"to forecast for anybody.{sold}"
        )
    return Verdict.REAL, (
        f"The MAE of seasonal naive {_changed(naive_worse)}: the days are hardly harder to forecast than before.{sold}"
    )


def _changed(percent: float | None) -> str:
    """Such as: rose by 12 %."""
    if percent is None:
        return "cannot be compared"
    if abs(percent) < 1:
        return "stayed as it was"
    return f"{'rose' if percent > 0 else 'fell'} by {abs(percent):.0f} %"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _change_pct(recent: float | None, baseline: float | None) -> float | None:
    if recent is None or not baseline:
        return None
    return (recent - baseline) / baseline * 100


def _pair(recent: float | None, baseline: float | None) -> Facts:
    return {"recent": recent, "baseline": baseline, "change_pct": _change_pct(recent, baseline)}


def _ratio(top: float, bottom: float) -> float | None:
    return float(top) / float(bottom) if bottom else None


# --- Errors and level


def _errors(cells: pd.DataFrame, windows: Windows) -> Facts:
    """MAE, seasonal naive's MAE, bias and units a day, recent beside baseline."""
    is_recent = cells["date"] >= windows.recent_from
    recent, baseline = (cells[rows][list(served.SUMS)].sum() for rows in (is_recent, ~is_recent))
    ratios = {
        "mae": ("absolute", "rows"),
        "naive_mae": ("naive", "naive_rows"),
        "level": ("units", "rows"),
        "bias": ("error", "units"),
    }
    return {
        name: _pair(*(_ratio(one[top], one[bottom]) for one in (recent, baseline)))
        for name, (top, bottom) in ratios.items()
    }


def _carriers(cells: pd.DataFrame, by: str, windows: Windows) -> list[Facts]:
    """Who carries the increase: each group's part of the difference of the MAEs, the largest first."""
    is_recent = cells["date"] >= windows.recent_from
    recent, baseline = (cells[rows].groupby(by)[["absolute", "rows"]].sum() for rows in (is_recent, ~is_recent))
    both = recent.join(baseline, how="outer", lsuffix="_recent", rsuffix="_baseline").fillna(0.0)
    parts = both["absolute_recent"] / max(both["rows_recent"].sum(), 1)
    parts -= both["absolute_baseline"] / max(both["rows_baseline"].sum(), 1)
    both["share"] = parts / parts.sum() if parts.sum() else np.nan
    top = both.assign(part=parts).sort_values("part", ascending=False).head(MOST_NAMED)
    return [
        {
            "name": name,
            "share": None if np.isnan(row["share"]) else float(row["share"]),
            "mae": _pair(
                _ratio(row["absolute_recent"], row["rows_recent"]),
                _ratio(row["absolute_baseline"], row["rows_baseline"]),
            ),
        }
        for name, row in top.iterrows()
    ]


# --- Suspicious data


def _without(cells: pd.DataFrame, suspects: Sequence[Facts], gaps: Sequence[int]) -> pd.DataFrame:
    """The cells that are beyond suspicion; a suspect without a department stands for the whole store-day."""
    whole = {(one["day"], one["store"]) for one in suspects if one["department"] is None}
    partly = {(one["day"], one["store"], one["department"]) for one in suspects}
    keep = [
        store not in gaps and (day, store) not in whole and (day, store, department) not in partly
        for day, store, department in zip(cells["date"], cells["store_id"], cells["department"], strict=True)
    ]
    return cells[np.array(keep, dtype=bool)]


def _odd_store_days(customer: Customer, windows: Windows) -> list[Facts]:
    """Store-days that repeat an earlier one to the unit, or whose every quantity is even: lines delivered twice."""
    sold = Sale.objects.filter(
        store__customer=customer, date__range=(windows.first_day, windows.last_day), quantity__gt=0
    )
    even = Q(quantity=2 * Floor(F("quantity") / 2))
    found = (
        sold.order_by()
        .values("date", "store_id")
        .annotate(
            lines=Count("id"),
            units=Sum("quantity"),
            weighted=Sum(F("quantity") * F("product_id")),
            even=Count("id", filter=even),
        )
    )
    names = ["date", "store_id", "lines", "units", "weighted", "even"]
    table = pd.DataFrame.from_records(list(found), columns=names).sort_values("date")
    table = table[table["lines"] >= TELLING_ROWS]
    prints = table[["store_id", "lines"]].join(table[["units", "weighted"]].astype(float).round(3))
    repeated = table[prints.duplicated()]
    share = table["even"] / table["lines"]
    usual = share.groupby(table["store_id"]).transform("median")
    doubled = table[(share >= ALL_EVEN) & (usual <= USUALLY_EVEN)]
    return [
        *_suspects(repeated, "repeats an earlier day to the unit", windows),
        *_suspects(doubled, "every quantity is even, as if each line had come twice", windows),
    ]


def _suspects(table: pd.DataFrame, what: str, windows: Windows) -> list[Facts]:
    recent = table[table["date"] >= windows.recent_from]
    return [
        {"day": day, "store": int(store), "department": None, "what": what}
        for day, store in zip(recent["date"], recent["store_id"], strict=True)
    ]


def _zero_days(cells: pd.DataFrame, windows: Windows) -> list[Facts]:
    """Recent days without a single sale of a store's department that sold on each day of the baseline."""
    units = cells.groupby(["store_id", "department", "date"], as_index=False)["units"].sum()
    is_recent = units["date"] >= windows.recent_from
    usual = units[~is_recent].groupby(["store_id", "department"])["units"].agg(["mean", "min"])
    usual = usual[(usual["mean"] >= TELLING_UNITS) & (usual["min"] > 0)]
    zero = units[is_recent & (units["units"] == 0)].join(usual, on=["store_id", "department"], how="inner")
    return [
        {
            "day": row["date"],
            "store": int(row["store_id"]),
            "department": row["department"],
            "what": f"nothing sold, usually {row['mean']:.0f} units",
        }
        for _, row in zero.iterrows()
    ]


def _stores_with_gaps(feed: pd.DataFrame, windows: Windows, policy: ModelPolicy) -> list[int]:
    """Stores of which either window lacks too many days: that they come or go changes the mean by itself."""
    is_recent = _recent_columns(feed, windows)
    missing = feed == FeedDay.Status.MISSING
    lacking = pd.concat([missing.loc[:, part].mean(axis=1) for part in (is_recent, ~is_recent)], axis=1).max(axis=1)
    return [int(store) for store in feed.index[lacking > 1 - policy.drift_min_days_share]]


def _recent_columns(feed: pd.DataFrame, windows: Windows) -> Bools:
    return np.asarray(pd.to_datetime(feed.columns) >= pd.Timestamp(windows.recent_from))


def _missing(days: pd.DataFrame, feed: pd.DataFrame, windows: Windows) -> Facts:
    """Days that are missing for the customer, and store-days as a share of each window's."""
    missing = feed == FeedDay.Status.MISSING
    is_recent = _recent_columns(feed, windows)
    shares = {
        name: float(missing.loc[:, part].to_numpy().mean()) if len(feed) else None
        for name, part in (("recent", is_recent), ("baseline", ~is_recent))
    }
    gone = days.index[days["state"] == State.MISSING]
    return {"days": [day.isoformat() for day in gone], "store_day_share": shares}


# --- Assortment, prices, promotions, calendar


def _silent_series(customer: Customer, windows: Windows) -> Facts:
    """Series that sold at least one unit a day in the baseline: how many, and how many of them sold nothing since."""
    is_recent = Q(date__gte=windows.recent_from)
    by_series = (
        served.rows(customer, windows)
        .values("store_id", "product_id")
        .annotate(usual=Avg("actual", filter=~is_recent), now=Sum("actual", filter=is_recent))
        .filter(usual__gte=1, now__isnull=False)
    )
    return by_series.aggregate(series=Count("store_id"), silent=Count("store_id", filter=Q(now=0)))


def _new_items(customer: Customer, windows: Windows, policy: ModelPolicy) -> Facts:
    """Share of rows of items that were new at the window's end, and of the recent error that they make."""
    found = {}
    for name, first, last in (
        ("baseline", windows.first_day, windows.baseline_to),
        ("recent", windows.recent_from, windows.last_day),
    ):
        since = last - dt.timedelta(days=policy.new_item_days)
        new = Exists(Series.objects.filter(store=OuterRef("store"), product=OuterRef("product"), first_sold__gt=since))
        rows = served.rows(customer, windows).filter(date__range=(first, last))
        sums = {"rows": Count("id"), "absolute": Sum(Abs(F("prediction") - F("actual")))}
        of_new, of_all = rows.filter(new).aggregate(**sums), rows.aggregate(**sums)
        found[name] = _ratio(of_new["rows"], of_all["rows"])
        found["error_share"] = _ratio(of_new["absolute"] or 0, of_all["absolute"] or 0)  # the recent one stays
    return found


def _prices(customer: Customer, windows: Windows) -> Facts:
    """Series with a price in both windows: how many, and how many whose mean price changed by more than 5 %."""
    is_recent = Q(date__gte=windows.recent_from)
    by_series = (
        _sold(customer, windows)
        .values("store_id", "product_id")
        .annotate(now=Avg("unit_price", filter=is_recent), before=Avg("unit_price", filter=~is_recent))
        .filter(now__isnull=False, before__gt=0)
    )
    moved = Q(now__gt=F("before") * (1 + PRICE_CHANGE)) | Q(now__lt=F("before") * (1 - PRICE_CHANGE))
    return by_series.aggregate(series=Count("store_id"), changed=Count("store_id", filter=moved))


def _promotions(customer: Customer, windows: Windows) -> Facts:
    """Share of rows on promotion, of the plans where there are some, else of the sales."""
    days = (windows.first_day, windows.last_day)
    planned = PlannedPrice.objects.filter(store__customer=customer, date__range=days, promo__isnull=False)
    marked = planned if planned.exists() else _sold(customer, windows).filter(promo__isnull=False)
    is_recent, on = Q(date__gte=windows.recent_from), Q(promo=True)
    counts = marked.aggregate(
        now=Count("id", filter=is_recent),
        now_on=Count("id", filter=is_recent & on),
        before=Count("id", filter=~is_recent),
        before_on=Count("id", filter=~is_recent & on),
    )
    return {
        "recent": _ratio(counts["now_on"], counts["now"]),
        "baseline": _ratio(counts["before_on"], counts["before"]),
    }


def _sold(customer: Customer, windows: Windows) -> Any:
    return Sale.objects.filter(store__customer=customer, date__range=(windows.first_day, windows.last_day)).order_by()


def _holidays(customer: Customer, windows: Windows) -> list[Facts]:
    """Those in the windows, which were left out, and those of the week after, which people may be shopping for."""
    listed = public_holidays.listed(
        customer.country, windows.first_day, windows.last_day + dt.timedelta(days=COMING_DAYS)
    )
    return [{"day": day.isoformat(), "name": name, "when": _when(day, windows)} for day, name in listed.items()]


def _when(day: dt.date, windows: Windows) -> str:
    if day > windows.last_day:
        return "coming"
    return "recent" if day >= windows.recent_from else "baseline"
