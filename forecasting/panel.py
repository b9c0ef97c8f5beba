"""The one frame shape of the engine: a dense panel of `unique_id, ds, y`, built without a database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from shelfops.refusals import Refusal

ITEM_COLUMNS = ["unique_id", "store_id", "product_id", "department", "category", "store_cluster", "first_sold"]
PLAN_COLUMNS = ["series", "ds", "known_at", "price", "promo"]
WEEK = 7
SERIES_PER_PART = 1536  # few enough that what is computed of a part stays in the processor's cache

COMPLETE, MISSING, CLOSED = 1, 0, 2  # states of a store-day in `feed`


class BadFrame(Refusal):
    """The frame handed to the engine lacks a column or holds values it cannot have."""


def day_number(value: dt.date | str | pd.Timestamp) -> int:
    """Days since 1970-01-01."""
    return int(np.datetime64(pd.Timestamp(value).date(), "D").astype(int))


def as_date(day: int) -> dt.date:
    """The date of a day number."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=int(day))


def no_plans() -> pd.DataFrame:
    """A plan table without rows, with the columns and types that plans have."""
    types = {"series": "int64", "ds": "int64", "known_at": "int64", "price": "float32", "promo": "float32"}
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})


@dataclass(frozen=True)
class Panel:
    """Every day of every series from its first sale (or `since`) to `last_day`, without gaps.

    `items` has one row a series (see ITEM_COLUMNS; `first_sold` as a day number); `start` is each series' first
    day number, and its days lie one after the other in the arrays, series by series:
    `y` units (negative days as 0; a store-day that is not covered holds the same weekday of the week before, so that
    lags stay sensible), `observed` whether y is an actual, `price` and `promo` as recorded (NaN: not recorded).
    `plans` are planned prices and promotions: series (row of `items`), ds and known_at as day numbers, price, promo.
    """

    items: pd.DataFrame
    start: npt.NDArray[np.int64]
    last_day: int
    y: npt.NDArray[np.float32]
    observed: npt.NDArray[np.bool_]
    price: npt.NDArray[np.float32]
    promo: npt.NDArray[np.float32]
    plans: pd.DataFrame = field(default_factory=no_plans)
    country: str = ""

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Days per series."""
        return self.last_day - self.start + 1

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each series begins in the arrays."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def series(self) -> npt.NDArray[np.int32]:
        """Row of `items` for each day in the arrays."""
        return np.repeat(np.arange(len(self.items), dtype=np.int32), self.sizes)

    @cached_property
    def days(self) -> npt.NDArray[np.int32]:
        """Day number of each day in the arrays."""
        behind = np.repeat((self.offsets - self.start).astype(np.int32), self.sizes)
        return np.arange(len(self.y), dtype=np.int32) - behind

    def __len__(self) -> int:
        return len(self.y)

    def unique_ids(self, series: npt.NDArray[np.integer]) -> pd.Categorical:
        """The ids of these rows of `items`."""
        dtype = pd.CategoricalDtype(pd.Index(self.items["unique_id"]))
        return pd.Categorical.from_codes(series.astype(np.int32), dtype=dtype)  # type: ignore[arg-type]  # an array will do

    def select(self, keep: npt.NDArray[np.bool_]) -> Panel:
        """Only the series where `keep` is true."""
        rows = np.repeat(keep, self.sizes)
        renumber = np.cumsum(keep) - 1
        plans = self.plans[keep[self.plans["series"].to_numpy()]] if len(self.plans) else self.plans
        return replace(
            self,
            items=self.items[keep].reset_index(drop=True),
            start=self.start[keep],
            y=self.y[rows],
            observed=self.observed[rows],
            price=self.price[rows],
            promo=self.promo[rows],
            plans=plans.assign(series=renumber[plans["series"].to_numpy()]),
        )

    def between(self, first_day: int | None = None, last_day: int | None = None) -> Panel:
        """The days from `first_day` to `last_day`; series that begin later are left out."""
        last = self.last_day if last_day is None else min(last_day, self.last_day)
        panel = self.select(self.start <= last) if (self.start > last).any() else self
        first = panel.start if first_day is None else np.maximum(panel.start, min(first_day, last))
        days = panel.days
        rows = (days <= last) & (days >= np.repeat(first, panel.sizes))
        return replace(
            panel,
            start=first,
            last_day=last,
            y=panel.y[rows],
            observed=panel.observed[rows],
            price=panel.price[rows],
            promo=panel.promo[rows],
        )

    def parts(self) -> Iterator[tuple[slice, Panel]]:
        """Panels of SERIES_PER_PART series each, in order, with the place of their days in the arrays they share."""
        if 0 < len(self.items) <= SERIES_PER_PART:
            yield slice(0, len(self)), self
            return
        plans = self.plans.sort_values("series", kind="stable")
        ends = self.offsets + self.sizes
        for first in range(0, len(self.items), SERIES_PER_PART):
            chosen = slice(first, first + SERIES_PER_PART)
            days = slice(int(self.offsets[first]), int(ends[chosen][-1]))
            planned = plans[slice(*plans["series"].searchsorted([chosen.start, chosen.stop]))]
            part = replace(
                self,
                items=self.items[chosen].reset_index(drop=True),
                start=self.start[chosen],
                y=self.y[days],
                observed=self.observed[days],
                price=self.price[days],
                promo=self.promo[days],
                plans=planned.assign(series=planned["series"] - first),
            )
            yield days, part

    def last_positive(self) -> npt.NDArray[np.int64]:
        """Day number of each series' last day with sales in the panel; -1 where there is none."""
        if not len(self):
            return np.full(len(self.items), -1)
        return np.maximum.reduceat(np.where((self.y > 0) & self.observed, self.days, -1), self.offsets)

    def active(self, within_days: int) -> npt.NDArray[np.bool_]:
        """Which series sold within this many days up to the last day."""
        return self.last_positive() > self.last_day - within_days

    def trailing_mean(self, days: int) -> npt.NDArray[np.float32]:
        """Mean daily units of each series over its last days up to the last day."""
        recent = self.between(first_day=self.last_day - days + 1)
        if not len(recent):
            return np.zeros(len(self.items), dtype=np.float32)
        return (np.add.reduceat(recent.y, recent.offsets) / recent.sizes).astype(np.float32)


def build(
    items: pd.DataFrame,
    sales: pd.DataFrame,
    *,
    last_day: int,
    since: int | None = None,
    feed: npt.NDArray[np.int8] | None = None,
    feed_first_day: int = 0,
    plans: pd.DataFrame | None = None,
    country: str = "",
) -> Panel:
    """A dense panel from sparse rows.

    `items` as in Panel plus, with `feed`, a column `store` (row of `feed`). `sales` has series (row of `items`), ds
    (day number), y, price, promo, at most one row per series and day. `feed[store, day - feed_first_day]` is COMPLETE,
    MISSING or CLOSED; without it every day counts as covered. Rows outside the series' days are left out.
    """
    first = items["first_sold"].to_numpy(np.int64)
    start = first if since is None else np.maximum(first, since)
    keep = start <= last_day
    if not keep.all():
        renumber = np.where(keep, np.cumsum(keep) - 1, -1)
        sales = _renumbered(sales, renumber)
        plans = None if plans is None else _renumbered(plans, renumber)
        items, start = items[keep].reset_index(drop=True), start[keep]
    sizes = last_day - start + 1
    offsets = np.cumsum(sizes) - sizes
    total = int(sizes.sum())

    series, day = sales["series"].to_numpy(np.int64), sales["ds"].to_numpy(np.int64)
    inside = (day >= start[series]) & (day <= last_day)
    at = (offsets[series] + day - start[series])[inside]
    y = np.zeros(total, dtype=np.float32)
    y[at] = np.maximum(sales["y"].to_numpy(np.float32)[inside], 0)
    price = np.full(total, np.nan, dtype=np.float32)
    price[at] = sales["price"].to_numpy(np.float32)[inside]
    promo = np.full(total, np.nan, dtype=np.float32)
    promo[at] = sales["promo"].to_numpy(np.float32)[inside]

    panel = Panel(
        items=items[ITEM_COLUMNS],
        start=start,
        last_day=last_day,
        y=y,
        observed=np.ones(total, dtype=bool),
        price=price,
        promo=promo,
        plans=no_plans() if plans is None else plans[PLAN_COLUMNS],
        country=country,
    )
    if feed is None:
        return panel
    covered = feed[items["store"].to_numpy(np.int64)[panel.series], panel.days - feed_first_day] == COMPLETE
    return replace(panel, observed=covered, y=_same_weekday_where_missing(y, covered, panel))


def _renumbered(rows: pd.DataFrame, renumber: npt.NDArray[np.int64]) -> pd.DataFrame:
    rows = rows.assign(series=renumber[rows["series"].to_numpy()])
    return rows[rows["series"] >= 0]


def _same_weekday_where_missing(
    y: npt.NDArray[np.float32], covered: npt.NDArray[np.bool_], panel: Panel
) -> npt.NDArray[np.float32]:
    """Fills what is not covered with the week before, so that no later day looks into a hole."""
    holes = np.flatnonzero(~covered)
    y = y.copy()
    y[holes] = 0
    week_ago_is_inside = holes - WEEK >= panel.offsets[panel.series[holes]]
    holes = holes[week_ago_is_inside]
    ages = panel.days[holes]
    # A hole of several weeks is filled from its oldest week on: each week reads what the week before was given.
    for week in np.unique((ages - ages.min()) // WEEK) if len(holes) else ():
        now = holes[(ages - ages.min()) // WEEK == week]
        y[now] = y[now - WEEK]
    return y


def from_transactions(transactions: pd.DataFrame, *, country: str = "", last_day: dt.date | None = None) -> Panel:
    """A panel from a long frame: `unique_id, ds, y`, or `store_id, product_id, date, quantity`, plus named columns.

    Days between a series' first sale and the last day that have no row are days without a sale. Lines of one key are
    summed. Optional columns: unit_price or price, promo, department, category, store_cluster.
    """
    aliases = {"date": "ds", "quantity": "y", "unit_price": "price"}
    rows = transactions.rename(columns={name: plain for name, plain in aliases.items() if plain not in transactions})
    if "unique_id" not in rows and {"store_id", "product_id"} <= set(rows):
        rows["unique_id"] = rows["store_id"].astype(str) + "|" + rows["product_id"].astype(str)
    if absent := [name for name in ("unique_id", "ds", "y") if name not in rows]:
        raise BadFrame(
            f"The frame lacks {', '.join(absent)}; it has {', '.join(map(str, transactions.columns))}. "
            "Give unique_id, ds and y, or store_id, product_id, date and quantity."
        )
    if not len(rows):
        raise BadFrame("The frame has no rows.")
    for name, unusable in (("y", ~np.isfinite(rows["y"].to_numpy(np.float64))), ("ds", rows["ds"].isna())):
        if count := int(unusable.sum()):
            raise BadFrame(f"{count} rows have no {name}. Leave such rows out before calling.")
    defaults = {"price": np.nan, "promo": np.nan} | dict.fromkeys(("department", "category", "store_cluster"), "")
    rows = rows.assign(**{name: default for name, default in defaults.items() if name not in rows})
    for name, part in (("store_id", 0), ("product_id", -1)):
        if name not in rows:
            rows[name] = rows["unique_id"].astype(str).str.split("|").str[part]
    moments = pd.to_datetime(rows["ds"])
    if moments.dt.tz is not None:
        moments = moments.dt.tz_localize(None)  # the date on the shop's wall
    days = moments.to_numpy().astype("datetime64[D]").astype(np.int64)
    series, ids = pd.factorize(rows["unique_id"], sort=True)
    lines = pd.DataFrame({"series": series, "ds": days, "y": rows["y"].to_numpy(np.float64)})
    lines["price"] = rows["price"].to_numpy(np.float64)
    lines["promo"] = rows["promo"].astype(float).to_numpy()
    daily = lines.groupby(["series", "ds"], as_index=False).agg({"y": "sum", "price": "last", "promo": "max"})
    sold = daily[daily["y"] > 0].groupby("series")["ds"].min()
    statics = ["store_id", "product_id", "department", "category", "store_cluster"]
    items = rows[statics].groupby(series).last().astype(str).assign(unique_id=np.asarray(ids, dtype=object))
    last = int(days.max()) if last_day is None else day_number(last_day)
    items["first_sold"] = sold.reindex(items.index, fill_value=last + 1).astype(np.int64)
    return build(items.reset_index(drop=True), daily, last_day=last, country=country)
