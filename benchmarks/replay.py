"""Ten weeks of the demo's 1,200 series, day by day with their weekly retrains, as `manage.py replay` does them."""

import datetime as dt
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import database
from benchmarks.measure import peak_mib, table
from forecasting import demo
from forecasting.loading import load_sales
from forecasting.models import Forecast
from forecasting.planning import load_plan
from forecasting.replay import replay
from mlops.models import ModelRetrainingLog
from shelfops import customers, schedules
from shelfops.models import Customer

LAST = dt.date(demo.YEAR + 1, 1, 1)
DAYS = 70
GOAL_SECONDS = 120


def main() -> int:
    """Prints what the days took; answers 1 where they took longer than two minutes."""
    first = LAST - dt.timedelta(days=DAYS - 1)
    with database.of_its_own(any_kind=True):
        retailer = customers.create(Customer(slug="bench", name="Bench", timezone="America/New_York", clock=first))
        with tempfile.TemporaryDirectory() as folder:
            sales_file, plan_file = demo.files(Path(folder), shock=True)
            load_sales(retailer, sales_file)
            load_plan(retailer, plan_file)
        seconds, processor = _replayed(retailer, first)
        retrains = list(ModelRetrainingLog.objects.filter(customer=retailer, status="completed"))
        forecasts = Forecast.objects.filter(run__customer=retailer).count()
    fitting = sum(stage["seconds"] for log in retrains for stage in log.stages)
    print(
        table(("what", "seconds"), [("the days", seconds), ("retrains among it", fitting), ("processors", processor)])
    )
    print(f"\n{DAYS} days, {len(retrains)} retrains, {forecasts:,} forecasts; goal {GOAL_SECONDS} s on two cores")
    print(f"peak memory {peak_mib():,.0f} MiB")
    return int(seconds > GOAL_SECONDS)


def _replayed(retailer: Customer, first: dt.date) -> tuple[float, float]:
    """Seconds on the clock, and of all processors together."""
    started, before = time.perf_counter(), os.times()
    replay(retailer, first, LAST, retrain_due=partial(schedules.falls_on, retailer, "retrain"))
    after = os.times()
    return time.perf_counter() - started, after.user + after.system - before.user - before.system


if __name__ == "__main__":
    sys.exit(main())
