"""What was known of price and promotion when a forecast was made, and nothing that was known later."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.panel import Panel

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.integer]
Bools = npt.NDArray[np.bool_]

# A flag that is this much rarer on days without a sale was derived from the sale: 0.01 % against 64 % in one
# grocery panel, against a third to a half where the flag came from the promotions table.
OUTCOME_RATIO = 0.05
# What was recorded longer ago is forgotten: no feature may depend on how much history happened to be read.
REMEMBERED_DAYS = 56
MIN_EVIDENCE_DAYS = 30  # days without a sale; a panel with fewer gives the flag nothing to give away


class Known(NamedTuple):
    """Price (NaN: never seen) and promotion (0 or 1) per row."""

    price: Floats
    promo: Floats


def last_seen(values: Floats, panel: Panel, within: int = REMEMBERED_DAYS) -> Floats:
    """Each day's latest value recorded on it or on one of the `within - 1` days before; NaN where there is none."""
    recorded = ~np.isnan(values)
    if recorded.all():
        return values
    place = np.arange(len(values), dtype=np.int32)
    at = np.maximum.accumulate(np.where(recorded, place, np.int32(-1)))
    seen = (at >= panel.offsets[panel.series]) & (place - at < within)
    return np.where(seen, values[at], np.nan).astype(np.float32)


def before(values: Floats, panel: Panel) -> Floats:
    """Each day's value of the day before; NaN on a series' first day."""
    shifted = np.empty_like(values)
    shifted[1:] = values[:-1]
    shifted[panel.offsets] = np.nan
    return shifted


def recorded_apart_from_sales(marked: Callable[[Panel], Bools], panel: Panel) -> Bools:
    """For each day of the panel, first to last, whether the days before are no evidence that sales make the mark.

    A mark (a price is recorded, a promotion is on) may be used on its own day only if it also occurs on days without a
    sale. The evidence for a day is all earlier days, so that nothing later changes it.
    """
    first_day = np.int32(panel.start.min())
    counts = np.zeros(4 * (panel.last_day - int(first_day) + 1), dtype=np.int64)
    for _, part in panel.parts():
        state = 4 * (part.days - first_day) + 2 * (part.y > 0) + marked(part)
        counts += np.bincount(state[part.observed], minlength=len(counts))
    until_then = np.vstack([np.zeros(4), counts.reshape(-1, 4).cumsum(axis=0)[:-1]])
    rest, rest_marked, sold, sold_marked = until_then.T
    with np.errstate(divide="ignore", invalid="ignore"):
        rarer = rest_marked / (rest + rest_marked) < OUTCOME_RATIO * sold_marked / (sold + sold_marked)
    return ~(rarer & (rest + rest_marked >= MIN_EVIDENCE_DAYS))


@dataclass(frozen=True)
class Evidence:
    """What a whole panel says of its prices and promotions, for whoever works on a part of it."""

    panel: Panel

    @cached_property
    def price(self) -> Bools:
        """Per day of the panel, whether `recorded_apart_from_sales` lets its prices count on the day itself."""
        return recorded_apart_from_sales(lambda part: ~np.isnan(part.price), self.panel)

    @cached_property
    def promo(self) -> Bools:
        """Per day of the panel, whether `recorded_apart_from_sales` lets promotions count."""
        return recorded_apart_from_sales(lambda part: part.promo > 0, self.panel)

    @cached_property
    def first_day(self) -> np.int32:
        """Where the days begin."""
        return np.int32(self.panel.start.min())


def planned(panel: Panel, series: Ints, days: Ints, as_of: Ints) -> Known:
    """For each (series, day) what the plans said by the morning of `as_of`; NaN where they said nothing.

    Of several plans for a day the one known last counts, for price and promotion apart.
    """
    price = np.full(len(days), np.nan, dtype=np.float32)
    promo = np.full(len(days), np.nan, dtype=np.float32)
    if not len(panel.plans) or not len(days):
        return Known(price, promo)
    base, last_asked = int(days.min()), int(days.max())
    span = last_asked - base + 1
    wanted = series.astype(np.int64) * span + days - base
    plans = panel.plans[panel.plans["ds"].between(base, last_asked)].sort_values("known_at", kind="stable")
    if not len(plans):
        return Known(price, promo)
    key = (plans["series"] * span + plans["ds"] - base).to_numpy()
    order = np.argsort(key, kind="stable")
    key, known_at = key[order], plans["known_at"].to_numpy()[order]
    first, last = np.searchsorted(key, wanted, "left"), np.searchsorted(key, wanted, "right")
    depth = int((last - first).max(initial=0))
    for target, name in ((price, "price"), (promo, "promo")):
        values = plans[name].to_numpy(np.float32)[order]
        for step in range(depth):  # oldest first, so that the latest that was known stays
            at = np.minimum(first + step, len(key) - 1)
            use = (first + step < last) & (known_at[at] <= as_of) & ~np.isnan(values[at])
            target[use] = values[at][use]
    return Known(price, promo)


def at_lead_one(panel: Panel, rows: Ints, evidence: Evidence, *, training: bool) -> Known:
    """What was known of these days (positions in the panel) on their own morning.

    The plan where there was one, else the last value recorded before the day. For training, a value recorded on
    the day itself counts too where `recorded_apart_from_sales` allows it: it teaches what a price or promotion does,
    while forecasts are made and scored with what was known. `evidence` is of the panel or of the one it is part of.
    """
    days = panel.days[rows]
    price = before(last_seen(panel.price, panel), panel)[rows]
    promo = before(last_seen(panel.promo, panel), panel)[rows]
    if training:
        price = _replaced(price, panel.price[rows], evidence.price[days - evidence.first_day])
        promo = _replaced(promo, panel.promo[rows])
    if not np.isnan(promo).all():
        promo[~evidence.promo[days - evidence.first_day]] = np.nan
    return _with_plans(Known(price, promo), panel, panel.series[rows], days, days)


def ahead(panel: Panel, horizon: int) -> Known:
    """What is known after the last day about each series' next `horizon` days, series by series."""
    n = len(panel.items)
    last = panel.offsets + panel.sizes - 1
    promo = np.where(Evidence(panel).promo[-1], last_seen(panel.promo, panel)[last], np.float32(np.nan))
    held = Known(np.repeat(last_seen(panel.price, panel)[last], horizon), np.repeat(promo, horizon))
    days = np.tile(panel.last_day + 1 + np.arange(horizon), n)
    morning = np.full(len(days), panel.last_day + 1)
    return _with_plans(held, panel, np.repeat(np.arange(n), horizon), days, morning)


def _with_plans(held: Known, panel: Panel, series: Ints, days: Ints, as_of: Ints) -> Known:
    """Plans where there are some, else what is held; a promotion that nobody speaks of is none."""
    if len(panel.plans):
        plan = planned(panel, series, days, as_of)
        held = Known(_replaced(held.price, plan.price), _replaced(held.promo, plan.promo))
    return Known(held.price, np.nan_to_num(held.promo, nan=0.0))


def _replaced(values: Floats, better: Floats, where: Bools | bool = True) -> Floats:
    """`better` where it is known and allowed, else `values`."""
    return np.where(where & ~np.isnan(better), better, values)
