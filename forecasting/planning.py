"""Brings a file of planned prices and promotions into the database."""

import time
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa

from forecasting import catalogue, targets
from forecasting.intake.columns import UNKNOWN, to_date
from forecasting.intake.plans import PlanFile, read_plan
from forecasting.loading import Advance, Report, counts, put_rejects, refusing_unusable_files
from shelfops import bulk
from shelfops.models import Customer
from shelfops.refusals import Refusal


def load_plan(
    customer: Customer,
    path: Path,
    *,
    strict: bool = False,
    rejects_path: Path | None = None,
    advance: Advance = lambda done, total: None,
) -> Report:
    """Loads what is good of the file and reports it; the same day of knowledge again replaces the plan."""
    started = time.perf_counter()
    stores, products = catalogue.store_ids(customer), catalogue.product_ids(customer)
    if not products:
        raise Refusal("There are no products yet. Load sales first: python manage.py load_sales FILE")
    with refusing_unusable_files():
        file = read_plan(
            path,
            zone=ZoneInfo(customer.timezone),
            today=customer.real_today(),
            known_at=customer.today(),
            stores=stores,
            products=products,
        )
    rejected = put_rejects(customer, file.rejects, file.accepted, strict=strict, path=rejects_path)
    _put(customer, file.plans, advance)
    bulk.refresh_statistics()
    return {**counts(path, file.read, file.accepted, rejected, time.perf_counter() - started), **_summary(file)}


def _put(customer: Customer, plans: pd.DataFrame, advance: Advance) -> None:
    for start in range(0, len(plans), bulk.batch_rows()):
        table = _table(plans.iloc[start : start + bulk.batch_rows()])
        bulk.patiently(partial(_write, customer, table))
        advance(start + len(table), len(plans))


def _write(customer: Customer, table: pa.Table) -> None:
    with bulk.turn(customer):
        bulk.upsert(targets.PLANS, table)


def _table(plans: pd.DataFrame) -> pa.Table:
    promo = plans["promo"].to_numpy()
    return pa.table(
        {
            **{name: plans[name].to_numpy() for name in ("store_id", "product_id")},
            **{name: pa.array(plans[name].to_numpy(), pa.int32()).cast(pa.date32()) for name in ("date", "known_at")},
            "unit_price": pa.array(plans["unit_price"].to_numpy(), from_pandas=True),
            "promo": pa.array(promo == 1, mask=promo == UNKNOWN),
        }
    )


def _summary(file: PlanFile) -> Report:
    return {
        "keys": len(file.plans),
        "first_date": to_date(file.plans["date"].min()),
        "last_date": to_date(file.plans["date"].max()),
        "known_at": sorted(to_date(day) for day in file.plans["known_at"].unique()),
        "warnings": [],
        "ignored_columns": file.source.ignored,
    }
