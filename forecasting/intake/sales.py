"""The rules for a file of sales: which lines are good, and what they add up to per store, product and day."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from forecasting.intake import columns
from forecasting.intake.columns import BAD_DAY, LONGEST, NO_DAY, UNKNOWN, Codes, Days, Floats, Text, to_day
from forecasting.intake.files import SourceFile, UnusableFile, open_file
from forecasting.intake.rejects import BLANK, Rejects, Verdict

KEYS = ("date", "store_id", "product_id")
EARLIEST = dt.date(1990, 1, 1)


@dataclass(frozen=True)
class Attribute:
    """What the file says of its products: one value each, '' for none, and the products of which it says two things."""

    values: list[str]
    conflicts: list[str]


@dataclass(frozen=True)
class SalesFile:
    """Clean daily sales, ordered by day, store and product; `store` and `product` are codes into the lists of names.

    `spoiled` are the (day, store) of rejected rows as far as these two could be read.
    """

    source: SourceFile
    rejects: Rejects
    accepted: int
    stores: list[str]
    products: list[str]
    daily: pd.DataFrame
    spoiled: pd.DataFrame
    departments: Attribute
    categories: Attribute

    @property
    def read(self) -> int:
        return self.accepted + len(self.rejects)


def read_sales(path: Path, *, zone: ZoneInfo, today: dt.date) -> SalesFile:
    """Reads and checks the file. Dates after `today`, the real date at the customer, are rejected."""
    optional = ("department", "category", "unit_price", "promo")
    source = open_file(path, required=(*KEYS, "quantity"), optional=optional)
    verdict = Verdict(source.rows)
    mark_blank(source, verdict)
    lines = keys(source, verdict, zone, latest=today)
    lines["quantity"] = _quantity(source, verdict)
    lines["unit_price"] = prices(source, verdict, sold=lines["quantity"])
    lines["promo"] = promos(source, verdict)
    labels = {name: _label(source, verdict, name) for name in ("department", "category")}
    good = verdict.good
    all_stores = lines["store"]
    stores, lines["store"] = _used(all_stores, good)
    spoiled = _spoiled(verdict, lines["date"], all_stores, stores)
    products, lines["product"] = _used(lines["product"], good)
    kept = {name: values[good] for name, values in lines.items()}
    attributes = [_attribute(label, good, kept["product"], products) for label in labels.values()]
    rejects, daily = Rejects(source, verdict), sum_by_day(kept)
    return SalesFile(source, rejects, int(good.sum()), stores, products, daily, spoiled, *attributes)


def converted(source: SourceFile, name: str, convert: Callable[[pa.Array], Any]) -> Any:
    """The converted column, or a refusal that names it."""
    try:
        return convert(source.columns[name])
    except columns.WrongType as error:
        raise UnusableFile(source.path, f"cannot be used: the column {name} {error}.") from None


def mark_blank(source: SourceFile, verdict: Verdict) -> None:
    """Rows of a CSV in which no known column says anything are blank lines, not faults."""
    if not hasattr(source, "table"):
        return
    empty = np.ones(source.rows, dtype=bool)
    for column in source.columns.values():
        empty &= columns.text(column).codes < 0
        if not empty.any():
            return
    if empty.all() and not source.misfits():
        raise UnusableFile(source.path, "has a header but no rows.")
    verdict.codes[empty] = BLANK


def keys(source: SourceFile, verdict: Verdict, zone: ZoneInfo, *, latest: dt.date | None) -> dict[str, Any]:
    """Day, store and product of every line, the unusable ones marked."""
    day = converted(source, "date", partial(columns.days, zone=zone))
    verdict.against(day == NO_DAY, "date is missing")
    verdict.against(day == BAD_DAY, "date is not an ISO date such as 2026-01-31")
    verdict.against(day < to_day(EARLIEST), f"date is before {EARLIEST.year}")
    if latest is not None:
        verdict.against(day > to_day(latest), f"date is after today, {latest}")
    return {"date": day, "store": _key(source, verdict, "store_id"), "product": _key(source, verdict, "product_id")}


def prices(source: SourceFile, verdict: Verdict, *, sold: Floats | None) -> Floats:
    """Prices, NaN for none; one of 0 or less is a fault, unless nothing was sold at it."""
    if "unit_price" not in source.columns:
        return np.full(source.rows, np.nan)
    price, bad = converted(source, "unit_price", columns.numbers)
    verdict.against(bad | np.isinf(price), "unit_price is not a number")
    empty = price <= 0
    if sold is None:
        verdict.against(empty, "unit_price is not above 0")
    else:
        verdict.against(empty & (sold != 0), "unit_price is not above 0 though something was sold")
    return np.where(empty, np.nan, price)


def promos(source: SourceFile, verdict: Verdict) -> columns.Flags:
    """Promotion flags, -1 where nothing is said."""
    if "promo" not in source.columns:
        return np.full(source.rows, UNKNOWN, dtype=np.int8)
    promo, bad = converted(source, "promo", columns.flags)
    verdict.against(bad, "promo is neither yes nor no")
    return promo


def sum_by_day(lines: dict[str, Any]) -> pd.DataFrame:
    """One row per day, store and product. The price is the mean over what was sold, else the last one named."""
    order, start = _groups(lines)
    lines = {name: values[order] for name, values in lines.items()}
    if len(start) < len(order):
        lines = _summed(lines, start)
    return pd.DataFrame(lines, copy=False)


def _groups(lines: dict[str, Any]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The order by day, store, product and line, and where in it each key begins."""
    order = np.lexsort((lines["product"], lines["store"], lines["date"]))
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for name in ("date", "store", "product"):
        values = lines[name][order]
        new[1:] |= values[1:] != values[:-1]
    return order, np.flatnonzero(new)


def _summed(lines: dict[str, Any], start: npt.NDArray[np.intp]) -> dict[str, Any]:
    price, quantity = lines["unit_price"], lines["quantity"]
    weight = np.where(np.isnan(price), 0.0, np.maximum(quantity, 0.0))
    sold = np.add.reduceat(weight, start)
    takings = np.add.reduceat(weight * np.nan_to_num(price), start)
    place = np.where(np.isnan(price), -1, np.arange(len(price)))
    last = np.maximum.reduceat(place, start)
    last_price = np.where(last >= start, price[last], np.nan)
    return {
        **{name: lines[name][start] for name in ("date", "store", "product")},
        "quantity": np.add.reduceat(quantity, start),
        "unit_price": np.divide(takings, sold, out=last_price, where=sold > 0),
        "promo": np.maximum.reduceat(lines["promo"], start),
    }


def _key(source: SourceFile, verdict: Verdict, name: str) -> Text:
    key = converted(source, name, columns.text)
    verdict.against(key.codes < 0, f"{name} is missing")
    verdict.against(key.unfit(), f"{name} is longer than {LONGEST} characters or holds a NUL")
    return key


def _quantity(source: SourceFile, verdict: Verdict) -> Floats:
    quantity, bad = converted(source, "quantity", columns.numbers)
    verdict.against(bad, "quantity is not a number")
    verdict.against(np.isnan(quantity), "quantity is missing")
    verdict.against(np.isinf(quantity), "quantity is infinite")
    return quantity


def _label(source: SourceFile, verdict: Verdict, name: str) -> Text | None:
    if name not in source.columns:
        return None
    label: Text = converted(source, name, columns.text)
    verdict.against(label.unfit(), f"{name} is longer than {LONGEST} characters or holds a NUL")
    return label


def _used(key: Text, good: columns.Mask) -> tuple[list[str], Codes]:
    """The names that good lines use, and the codes into these alone."""
    seen = np.zeros(len(key.values) + 1, dtype=bool)
    seen[key.codes[good]] = True
    places = np.cumsum(seen, dtype=np.int32) - 1
    return [name for name, used in zip(key.values, seen[:-1], strict=True) if used], places[key.codes]


def _spoiled(verdict: Verdict, day: Days, store: Text, stores: list[str]) -> pd.DataFrame:
    rejected = np.flatnonzero((verdict.codes > BLANK) & (day > BAD_DAY) & (store.codes >= 0))
    used = pd.Index(stores).get_indexer(pd.Index(store.values))
    rows = pd.DataFrame({"date": day[rejected], "store": used[store.codes[rejected]]})
    return rows[rows["store"] >= 0].drop_duplicates()


def _attribute(label: Text | None, good: columns.Mask, product: Codes, products: list[str]) -> Attribute:
    """The last non-empty value of each product, as the file goes."""
    if label is None:
        return Attribute([""] * len(products), [])
    codes = label.codes[good]
    said = codes >= 0
    last = np.full(len(products), -1, dtype=np.int32)
    last[product[said]] = codes[said]  # of repeated indices the last one stays
    torn = np.unique(product[said & (codes != last[product])])
    values = [*label.values, ""]
    return Attribute([values[code] for code in last.tolist()], [products[place] for place in torn.tolist()])
