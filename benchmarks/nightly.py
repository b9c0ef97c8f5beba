"""A night on PostgreSQL, from rows to published forecasts, beside bare mlforecast and a bare COPY of the same rows."""

import datetime as dt
import io
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from django.db import connection

from benchmarks import database
from benchmarks.engine import forecast_pair, synthetic
from benchmarks.measure import peak_mib, table
from forecasting import nightly, stored, train
from forecasting.loading import load_sales
from forecasting.models import Forecast, ForecastRun
from forecasting.night import Night, model_of
from forecasting.panel import Panel, as_date
from forecasting.publishing import discard
from mlops import promotion, registry
from mlops.intervals import ANY, Widths
from mlops.models import ModelVersion
from shelfops.models import Customer

SIZES = (3_049, 30_490)
DAYS = 100
GOAL = 3.0
ROUNDS = 3


def main() -> int:
    """Prints stages, ratio, growth from a tenth and the peak of memory; answers 1 where the goal is missed."""
    with database.of_its_own():
        nights = [_night(size) for size in SIZES]
    few, many = (night["the whole night"] for night in nights)
    print(table(("stage", *(f"{size:,} series, s" for size in SIZES)), _side_by_side(nights)))
    bare = nights[1]["bare mlforecast"] + nights[1]["bare COPY"]
    print(f"\nthe night / bare mlforecast and COPY: {many / bare:.2f} (goal {GOAL})")
    print(f"growth with the series: exponent {np.log(many / few) / np.log(SIZES[1] / SIZES[0]):.2f} (1 is linear)")
    print(f"peak memory {peak_mib():,.0f} MiB")
    return int(many / bare > GOAL)


def _side_by_side(nights: list[dict[str, float]]) -> list[tuple[str, float, float]]:
    return [(name, few, nights[1][name]) for name, few in nights[0].items()]


def _night(series: int) -> dict[str, float]:
    """Median seconds of the night's parts, and of the bare ones in turn with it."""
    panel = synthetic(series, days=DAYS)
    customer = _customer(panel)
    version = _champion(customer, panel)
    as_of = as_date(panel.last_day + 1)
    rounds = [_round(customer, as_of) for _ in range(ROUNDS + 1)][1:]
    seconds = {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}
    ours, bare = forecast_pair(panel, model_of(version))
    return seconds | {"mlforecast inside it": ours, "bare mlforecast": bare}


def _round(customer: Customer, as_of: dt.date) -> dict[str, float]:
    discard(ForecastRun.objects.filter(customer=customer))
    ForecastRun.objects.filter(customer=customer).delete()
    night = Night.of(customer, as_of)
    reading = _timed(lambda: night.panel)
    rest = _timed(lambda: nightly.forecast(customer, as_of, night=night))
    return {
        "reading sales": reading,
        "forecasting and publishing": rest,
        "the whole night": reading + rest,
        "bare COPY": _bare_copy(),
    }


def _bare_copy() -> float:
    """The night's rows into an empty table with the same indexes."""
    names = ", ".join(str(field.column) for field in Forecast._meta.concrete_fields if field.column != "id")
    text = io.BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT {names} FROM forecasts ORDER BY id) TO STDOUT (FORMAT csv)", text)
        cursor.execute("CREATE TABLE bare (LIKE forecasts INCLUDING ALL)")
        text.seek(0)
        seconds = _timed(lambda: cursor.copy_expert(f"COPY bare ({names}) FROM STDIN (FORMAT csv)", text))
        cursor.execute("DROP TABLE bare")
    return seconds


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _customer(panel: Panel) -> Customer:
    """A customer of the panel's sales; days without a sale have no row, as in a retailer's file."""
    slug = f"bench-{len(panel.items)}"
    customer = Customer.objects.create(slug=slug, name=slug, country=panel.country)
    items = panel.items.iloc[panel.series]
    rows = pd.DataFrame({name: items[name].to_numpy() for name in ("store_id", "product_id", "department", "category")})
    rows["store_id"] = slug + rows["store_id"]
    rows["date"] = panel.days.astype("datetime64[D]").astype("datetime64[s]")
    rows["quantity"], rows["unit_price"] = panel.y, panel.price
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.parquet"
        rows[rows["quantity"] > 0].to_parquet(path, index=False)
        load_sales(customer, path)
    return customer


def _champion(customer: Customer, panel: Panel) -> ModelVersion:
    """A version with the usual tier, parameters and intervals, without the hold-out that a retrain would add."""
    first, last = as_date(panel.last_day - 27), as_date(panel.last_day)
    model = train.fit(panel, train.Recipe("production"), first=first, last=last)
    model = model.with_widths(Widths(0.9, {ANY: {str(lead): 1.6 for lead in range(1, 15)}}))
    trained = registry.Trained(
        recipe={"tier": "production", "params": {}, "window_days": 28, "segment": "global"},
        as_of=last + dt.timedelta(days=1),
        evaluation=(first, last),
        training=(first, last),
        rows=model.rows,
        series=len(panel.items),
        data_hash="",
        files={stored.SERVING + name: data for name, data in model.files().items()},
    )
    version = registry.register(customer, trained, status=ModelVersion.Status.CANDIDATE, reason="for the benchmark")
    return promotion.promote(version, by=None, reason="for the benchmark", as_of=trained.as_of)


if __name__ == "__main__":
    sys.exit(main())
