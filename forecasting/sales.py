"""The only place where rows become frames: a customer's sales as a panel."""

import datetime as dt
import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
from django.db import connection
from django.db.models import Count, F, Max, Min, Q, QuerySet

from forecasting import catalogue
from forecasting.models import FeedDay, PlannedPrice, Sale, Series, Store
from forecasting.panel import CLOSED, COMPLETE, ITEM_COLUMNS, MISSING, Panel, as_date, build, day_number
from mlops.models import MOST_DAYS_AHEAD, ModelPolicy
from shelfops.models import Customer
from shelfops.refusals import Refusal

FEED_STATES = {FeedDay.Status.COMPLETE: COMPLETE, FeedDay.Status.MISSING: MISSING, FeedDay.Status.CLOSED: CLOSED}
DATES = ("ds", "known_at")


class NoSales(Refusal):
    """The customer has no complete day of sales to work on."""


def last_complete_day(customer: Customer, as_of: dt.date, policy: ModelPolicy) -> dt.date:
    """The last day before `as_of` on which enough of the active stores are covered or closed.

    A store is active when it was covered in the `active_days` before the last day that has any feed. Raises NoSales.
    """
    days = FeedDay.objects.filter(store__customer=customer, date__lt=as_of)
    latest = days.filter(status=FeedDay.Status.COMPLETE).aggregate(day=Max("date"))["day"]
    if latest is None:
        raise NoSales(f"{customer} has no sales before {as_of}. Load some: manage.py load_sales FILE.")
    recent = days.filter(date__gt=latest - dt.timedelta(days=policy.active_days))
    active = recent.filter(status=FeedDay.Status.COMPLETE).values("store").distinct()
    needed = policy.complete_day_share * active.count()
    covered = recent.exclude(status=FeedDay.Status.MISSING).filter(store__in=active)
    for day in covered.values("date").annotate(stores=Count("id")).order_by("-date"):
        if day["stores"] >= needed:
            return day["date"]
    raise NoSales(
        f"No day before {as_of} has sales of {policy.complete_day_share:.0%} of {customer}'s active stores. "
        "Load the missing stores, or mark the days on which they were shut as closed."
    )


def first_day(customer: Customer) -> dt.date:
    """The first day on which anything was sold. Raises NoSales."""
    day = Series.objects.filter(store__customer=customer).aggregate(day=Min("first_sold"))["day"]
    if day is None:
        raise NoSales(f"{customer} has no sales. Load some: manage.py load_sales FILE.")
    return day


def panel(
    customer: Customer,
    *,
    last_day: dt.date,
    since: dt.date | None = None,
    plans_since: dt.date | None = None,
    only: Q | None = None,
) -> Panel:
    """The customer's series from `since` to `last_day`; `only` narrows by `store` and `product`.

    Plans are those of the same days and of the days ahead; whoever only forecasts needs none before `plans_since`.
    """
    items = _items(customer, last_day, only)
    first = int(items["first_sold"].min()) if len(items) else day_number(last_day)
    begin = max(first, day_number(since)) if since else first
    window = (as_date(begin), last_day)
    sold = _frame(_within(Sale.objects.all(), customer, window, only), "quantity")
    until = last_day + dt.timedelta(days=MOST_DAYS_AHEAD)
    plans = _within(PlannedPrice.objects.all(), customer, (plans_since or window[0], until), only)
    return build(
        items,
        _with_series(sold, items),
        last_day=day_number(last_day),
        since=begin,
        feed=_feed(customer, items, begin, day_number(last_day)),
        feed_first_day=begin,
        plans=_with_series(_frame(plans, "known_at"), items),
        country=customer.country,
    )


def _items(customer: Customer, last_day: dt.date, only: Q | None) -> pd.DataFrame:
    """One row per series that has begun: its keys, codes, department and first sale."""
    departments = catalogue.departments(customer)
    found = Series.objects.filter(only or Q(), store__customer=customer, first_sold__lte=last_day).order_by(
        "store_id", "product_id"
    )
    names = ["store_pk", "product_pk", "store_id", "product_id", "category", "store_cluster", "first_sold"]
    values = found.values_list(
        "store_id", "product_id", "store__code", "product__code", "product__category", "store__cluster", "first_sold"
    )
    items = pd.DataFrame.from_records(values.iterator(chunk_size=10_000), columns=names)
    items["unique_id"] = items["store_pk"].astype(str) + "|" + items["product_pk"].astype(str)
    items["department"] = items["product_pk"].map(departments).fillna("")
    items["first_sold"] = pd.to_datetime(items["first_sold"]).to_numpy().astype("datetime64[D]").astype(np.int64)
    items["store"] = pd.factorize(items["store_pk"])[0]
    return items[[*ITEM_COLUMNS, "store", "store_pk", "product_pk"]]


def _within(rows: QuerySet[Any], customer: Customer, window: tuple[dt.date, dt.date], only: Q | None) -> QuerySet[Any]:
    rows = rows.filter(only or Q(), date__range=window).order_by()
    if connection.vendor != "sqlite":
        return rows.filter(store__customer=customer)
    # SQLite would read the plans of all years, store by store; as an expression the store is no index to it.
    return rows.alias(any_store=F("store_id") + 0).filter(any_store__in=Store.objects.filter(customer=customer))


def _frame(rows: QuerySet[Any], first_field: str) -> pd.DataFrame:
    """store_pk, product_pk, ds (day number), the field before the price, price, promo."""
    fields = ["store_id", "product_id", "date", first_field, "unit_price", "promo"]
    columns = ["store_pk", "product_pk", "ds", "y" if first_field == "quantity" else first_field, "price", "promo"]
    table = read(rows.values_list(*fields), columns)
    for name in DATES:
        if name in table:
            table[name] = table[name].to_numpy().astype("datetime64[D]").astype(np.int64)
    return table


def read(rows: QuerySet[Any], columns: list[str]) -> pd.DataFrame:
    """A query's rows as a frame, without an object per row: the database writes them as CSV.

    Columns: store_pk and product_pk are integers, ds and known_at dates, all others float32 with NaN for NULL.
    """
    sql, params = rows.query.sql_with_params()
    text = _copied(sql, params) if connection.vendor == "postgresql" else _printed(sql, params, columns)
    if not text:
        return pd.DataFrame({name: pd.Series(dtype=_pandas_type(name)) for name in columns})
    table = pa.csv.read_csv(
        pa.BufferReader(text),
        read_options=pa.csv.ReadOptions(column_names=columns),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: _arrow_type(name) for name in columns}, true_values=["t", "1"], false_values=["f", "0"]
        ),
    )
    return pd.DataFrame({name: _numbers(table[name]) for name in columns}, copy=False)


def _copied(sql: str, params: tuple[Any, ...]) -> bytes:
    out = io.BytesIO()
    with connection.cursor() as cursor:
        query = cursor.cursor.mogrify(sql, params).decode()
        cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv)", out)
    return out.getvalue()


def _printed(sql: str, params: tuple[Any, ...], columns: list[str]) -> bytes:
    """What COPY would write, day by day, since SQLite has none."""
    names, form = ", ".join(columns), ",".join(["%%s"] * len(columns))
    lines = f"group_concat(printf('{form}', {names}), char(10))"
    with connection.cursor() as cursor:
        statement = f"WITH found({names}) AS ({sql}) SELECT {lines} FROM found GROUP BY ds"  # noqa: S608  # the ORM's own
        cursor.execute(statement, params)
        return "\n".join(day for (day,) in cursor).encode()


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32()).to_numpy().astype("datetime64[D]").astype("datetime64[s]")
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8()).cast(pa.float32())
    return column.to_numpy()


def _arrow_type(name: str) -> pa.DataType:
    if name.endswith("_pk"):
        return pa.int64()
    if name in DATES:
        return pa.date32()
    return pa.bool_() if name == "promo" else pa.float32()


def _pandas_type(name: str) -> str:
    if name.endswith("_pk"):
        return "int64"
    return "datetime64[s]" if name in DATES else "float32"


def _with_series(rows: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """Rows with `series`, their place in `items`; rows of series that have not begun are left out."""
    keys = pd.MultiIndex.from_frame(items[["store_pk", "product_pk"]])
    series = keys.get_indexer(pd.MultiIndex.from_frame(rows[["store_pk", "product_pk"]]))
    return rows.assign(series=series)[series >= 0]


def _feed(customer: Customer, items: pd.DataFrame, first: int, last: int) -> npt.NDArray[np.int8]:
    """The state of each store-day, stores in the order of `items.store`."""
    stores = items.drop_duplicates("store").set_index("store_pk")["store"]
    states = np.full((max(len(stores), 1), last - first + 1), MISSING, dtype=np.int8)
    known = FeedDay.objects.filter(store__customer=customer, date__range=(as_date(first), as_date(last)))
    rows = pd.DataFrame.from_records(known.values_list("store_id", "date", "status"), columns=["pk", "day", "status"])
    rows = rows[rows["pk"].isin(stores.index)]
    at = pd.to_datetime(rows["day"]).to_numpy().astype("datetime64[D]").astype(np.int64) - first
    states[rows["pk"].map(stores).to_numpy(np.int64), at] = rows["status"].map(FEED_STATES).to_numpy(np.int8)
    return states
