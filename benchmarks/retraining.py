"""A scheduled retrain from rows in PostgreSQL to the recorded decision, beside the two bare fits inside it."""

import datetime as dt
import sys
import time
from functools import partial

from benchmarks import database
from benchmarks.engine import synthetic
from benchmarks.measure import alone, benchmark_file, peak_mib, table
from forecasting import features, protocols, sales, train
from forecasting.loading import load_sales
from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.tiers import tier_named
from mlops import backtests
from mlops.models import ModelPolicy, ModelRetrainingLog
from shelfops.models import Customer

AS_OF = dt.date(2016, 5, 22)
PARAMS = {"num_boost_round": 200, "max_leaves": 127}
GOAL = 1.6
SIZES = (3_049, 30_490)


def main() -> int:
    """Prints each stage, the ratio, the growth and the peak of memory; answers 1 where the goal is missed."""
    path = benchmark_file("three_stores")
    with database.of_its_own():
        customer = Customer.objects.create(slug="bench", name="Bench", country="US")
        load_sales(customer, path)
        missed = _beside_bare_fits(customer)
    _growth()
    return missed


def _beside_bare_fits(customer: Customer) -> int:
    first = Order(Trigger.MANUAL, AS_OF - dt.timedelta(days=7), "the champion", params=PARAMS)
    retrain(customer, first)
    started = time.perf_counter()
    log = retrain(customer, Order(Trigger.SCHEDULED, AS_OF))
    whole = time.perf_counter() - started
    bare = _bare_fits(customer)
    print(table(("stage", "seconds"), [(stage["stage"], stage["seconds"]) for stage in log.stages]))
    print(f"\n{log.decision}\n")
    print(f"retrain {whole:.1f} s, its two fits alone {bare:.1f} s: ratio {whole / bare:.2f} (goal {GOAL})")
    print(f"peak memory {peak_mib():,.0f} MiB\n")
    return int(whole / bare > GOAL)


def _bare_fits(customer: Customer) -> float:
    """Seconds of `xgboost.train` alone on the evaluation and the serving matrix of the last retrain."""
    version = ModelRetrainingLog.objects.latest("pk").versions.get()
    recipe = train.Recipe(**version.recipe)
    panel = sales.panel(customer, last_day=version.train_end, since=version.evaluation_start - dt.timedelta(days=120))
    seconds = 0.0
    for first, last in (
        (version.evaluation_start, version.evaluation_end),
        (version.train_start, version.train_end),
    ):
        rows = train.target_rows(panel, first, last)
        tier = tier_named(recipe.tier)
        made = features.matrix(panel, tier, features.categories_of(panel, tier), rows=rows, training=True)
        y = panel.y[made.at]
        seconds += alone(partial(train.boost, made.X, y, made.names, recipe), times=1)
    return seconds


def _growth() -> None:
    """Both fits, the hold-out and the calibration, without the database, at two sizes."""
    policy, recipe = ModelPolicy(), train.Recipe("production", {"num_boost_round": 20, "max_leaves": 127})
    rows = []
    for size in SIZES:
        panel = synthetic(size, days=200)
        split = backtests.split(dt.date(2026, 1, 1), dt.date(2026, 7, 19), policy)
        fit_and_judge = partial(protocols.standard, panel, recipe, split, policy, lambda _stage: None)
        seconds = alone(fit_and_judge, times=1)
        rows.append((f"{size:,}", seconds, peak_mib()))
    print(table(("series", "fits and hold-out, s", "peak MiB so far"), rows))


if __name__ == "__main__":
    sys.exit(main())
