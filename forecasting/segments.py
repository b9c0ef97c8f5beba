"""Segments of a panel: by department, by cluster of stores, by lifecycle; and which of them can have their own model.

A product's department and a store's cluster are properties of a series; new or mature is a property of each of its
days, so that one series teaches the model of new products first and the one of mature products later.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.panel import Panel, day_number
from mlops.models import GLOBAL, ModelPolicy
from mlops.routing import Kind, Lifecycle, in_words, lifecycle, parts, segment_key

TIERED: dict[str, Kind] = {f"{kind.value}_tiered": kind for kind in Kind}
WITHOUT = {Kind.DEPARTMENT: "no department", Kind.STORE_CLUSTER: "stores without a cluster"}
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Division:
    """Segment -> which days of the panel are its own; what is left to the global model is told in `notes`."""

    days: dict[str, Mask]
    notes: tuple[str, ...]


def tier_of(segment: str) -> str | None:
    """Such as department_tiered; None for global."""
    kind, _ = parts(segment)
    return f"{kind.value}_tiered" if kind else None


def name_of(segment: str) -> str:
    """Such as Electronics; global as it is."""
    return parts(segment)[1] or segment


def is_of_days(segment: str) -> bool:
    """Whether a series belongs to it on some of its days only, so that days left out are not all missing ones."""
    return parts(segment)[0] is Kind.LIFECYCLE


def cut(panel: Panel, segment: str, policy: ModelPolicy) -> Panel:
    """What the segment's model learns from and is judged on.

    Of a lifecycle every day stays, because later days look back at it, but what lies outside is not observed.
    """
    kind, value = parts(segment)
    if kind is None:
        return panel
    if kind is Kind.LIFECYCLE:
        is_new = _ages(panel) < policy.new_item_days
        own = is_new if value == Lifecycle.NEW else ~is_new
        return _with_any(replace(panel, observed=panel.observed & own))
    return panel.select((panel.items[kind.value].astype(str) == value).to_numpy())


def keys(panel: Panel, kind: Kind) -> list[str]:
    """All segments of the kind that the panel's series have."""
    if kind is Kind.LIFECYCLE:
        return [segment_key(kind, value.value) for value in Lifecycle]
    values = panel.items[kind.value].astype(str)
    return [segment_key(kind, value) for value in sorted(set(values) - {""})]


def without(panel: Panel, kind: Kind) -> str:
    """A note on the series that no segment of the kind takes; "" where there are none."""
    if kind is Kind.LIFECYCLE:
        return ""
    lost = int((panel.items[kind.value].astype(str) == "").sum())
    return f"{lost} series have {WITHOUT[kind]} and stay with the model for all products" if lost else ""


def too_short(segment: str, rows: int, policy: ModelPolicy) -> str:
    """A note on a segment with too few rows for a model of its own; "" where there are enough."""
    if segment == GLOBAL or rows >= policy.segment_min_rows:
        return ""
    return (
        f"{in_words(segment)} has {rows} rows to train on, and {policy.segment_min_rows} are needed: "
        "it stays with the model for all products"
    )


def divide(panel: Panel, kind: Kind, policy: ModelPolicy) -> Division:
    """The panel's days by segment; global takes what has no value and the segments that are too short."""
    days: dict[str, Mask] = {}
    left, notes = np.ones(len(panel), dtype=bool), [without(panel, kind)]
    labels = _labels(panel, kind, policy)
    for segment in keys(panel, kind):
        own = np.asarray(labels == name_of(segment))
        notes.append(too_short(segment, int((own & panel.observed).sum()), policy))
        if not notes[-1]:
            days[segment] = own
            left &= ~own
    if left.any():
        days[GLOBAL] = left
    return Division(days, tuple(note for note in notes if note))


def top_products(panel: Panel, since: dt.date, n: int) -> list[str]:
    """The `n` products that have sold most units on the observed days from `since` on, the best first."""
    counts = panel.observed & (panel.days >= day_number(since))
    units = np.bincount(panel.series, weights=np.where(counts, panel.y, 0), minlength=len(panel.items))
    totals = pd.Series(units, index=panel.items["product_id"].astype(str)).groupby(level=0).sum()
    return totals.sort_values(ascending=False, kind="stable").head(n).index.tolist()


def only_products(panel: Panel, products: list[str]) -> Panel:
    """The series of these products."""
    return panel.select(panel.items["product_id"].astype(str).isin(products).to_numpy())


def _labels(panel: Panel, kind: Kind, policy: ModelPolicy) -> pd.Categorical:
    """The value that each day of the panel falls under."""
    if kind is Kind.LIFECYCLE:
        return pd.Categorical(lifecycle(pd.Series(_ages(panel)), policy.new_item_days))
    return pd.Categorical(panel.items[kind.value].astype(str)).take(panel.series)


def _ages(panel: Panel) -> npt.NDArray[np.int64]:
    """Days since the first sale, for each day of the panel."""
    return panel.days - np.repeat(panel.items["first_sold"].to_numpy(np.int64), panel.sizes)


def _with_any(panel: Panel) -> Panel:
    """Without the series that have no observed day."""
    counts = np.bincount(panel.series[panel.observed], minlength=len(panel.items))
    return panel.select(counts > 0)
