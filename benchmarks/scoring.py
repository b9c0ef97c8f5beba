"""Scoring a day on PostgreSQL beside one bare UPDATE ... FROM and one aggregate over the same rows; growth, memory."""

import datetime as dt
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.db import connection

from benchmarks import database
from benchmarks.measure import peak_mib, table
from forecasting import scoring
from forecasting.models import FeedDay, Forecast, ForecastRun, Product, Sale, Store
from mlops.models import BacktestResult, ModelVersion, RoutingRule, ShadowPrediction, ShadowTest
from shelfops.models import Customer

SIZES = (3_049, 30_490)
STORES, LEADS, NIGHTS = 10, 14, 5
FIRST = dt.date(2026, 3, 2)
DAYS = [FIRST + dt.timedelta(days=number) for number in range(NIGHTS)]
GOAL, MOST_MIB = 2.0, 2048

# As the nightly job writes them: series by series, each with all its leads.
FORECASTS = """
INSERT INTO forecasts (run_id, store_id, product_id, version_id, rule_id, origin, date, lead, prediction, lower, upper,
    seasonal_naive, department, band, replayed)
SELECT %(run)s, p.store, p.product, %(version)s, %(rule)s, %(day)s::date - 1, %(day)s::date + lead - 1, lead,
    random() * 4, random() * 2, 2 + random() * 4, CASE WHEN lead = 1 THEN floor(random() * 4) END,
    CASE WHEN lead = 1 THEN p.department ELSE '' END,
    CASE WHEN lead = 1 THEN (ARRAY['fast', 'medium', 'slow'])[1 + p.product %% 3] ELSE '' END, false
FROM (SELECT s.id AS store, p.id AS product, p.department FROM stores s, products p ORDER BY 1, 2) p,
    generate_series(1, %(leads)s) lead
"""
SHADOW = """
INSERT INTO shadow_predictions (customer_id, version_id, champion_id, store_id, product_id, forecast_date,
    champion_prediction, challenger_prediction, seasonal_naive, department, band, replayed, created_at)
SELECT %(customer)s, %(version)s, %(champion)s, s.code, p.code, %(day)s, random() * 4, random() * 4,
    floor(random() * 4), p.department, 'slow', false, now()
FROM stores s, products p ORDER BY s.code, p.code
"""
SALES = """
INSERT INTO sales (date, store_id, product_id, quantity)
SELECT %(day)s, s.id, p.id, ceil(random() * 5) FROM stores s, products p WHERE random() < 0.45 ORDER BY 2, 3
"""
BARE = [
    """
    UPDATE bare_forecasts SET actual = found.sold
    FROM (
        SELECT made.id, COALESCE(GREATEST(sold.quantity, 0), 0) AS sold
        FROM bare_forecasts made
        LEFT JOIN sales sold
            ON sold.date = made.date AND sold.store_id = made.store_id AND sold.product_id = made.product_id
        WHERE made.date = %(day)s AND made.lead = 1
    ) found
    WHERE bare_forecasts.id = found.id
    """,
    """
    SELECT version_id, store_id, department, band, count(*), sum(actual), sum(abs(prediction - actual)),
        sum(prediction - actual), sum((prediction - actual) ^ 2), sum(abs(seasonal_naive - actual))
    FROM bare_forecasts WHERE date = %(day)s AND lead = 1 GROUP BY 1, 2, 3, 4
    """,
]
BARE_SHADOW = [
    """
    UPDATE bare_shadow SET actual_demand = found.sold
    FROM (
        SELECT made.id, COALESCE(GREATEST(sold.quantity, 0), 0) AS sold
        FROM bare_shadow made
        JOIN stores store ON store.code = made.store_id
        JOIN products product ON product.code = made.product_id
        LEFT JOIN sales sold
            ON sold.date = made.forecast_date AND sold.store_id = store.id AND sold.product_id = product.id
        WHERE made.forecast_date = %(day)s
    ) found
    WHERE bare_shadow.id = found.id
    """,
    """
    SELECT version_id, store_id, department, band, count(*), sum(actual_demand),
        sum(abs(challenger_prediction - actual_demand)), sum((challenger_prediction - actual_demand) ^ 2),
        sum(abs(champion_prediction - actual_demand)), sum(abs(seasonal_naive - actual_demand))
    FROM bare_shadow WHERE forecast_date = %(day)s GROUP BY 1, 2, 3, 4
    """,
]
COPIES = {"bare_forecasts": Forecast, "bare_shadow": ShadowPrediction}


def main() -> int:
    """Prints the table; answers 1 where the goal is missed."""
    with database.of_its_own():
        measured = {(size, shadows): _measure(size, shadows) for shadows in (0, 3) for size in SIZES}
    rows = []
    for (size, shadows), (ours, bare) in measured.items():
        growth = ours / measured[SIZES[0], shadows][0]
        rows.append((f"{size:,}", shadows, ours, bare, ours / bare, growth))
    print(table(("series", "versions in shadow", "score, s", "bare, s", "ratio", "growth from a tenth"), rows))
    ours, bare = measured[SIZES[1], 0]
    peak = peak_mib()
    print(
        f"\nscoring a day / bare UPDATE and aggregate: {ours / bare:.2f} (goal {GOAL:g}); peak memory {peak:,.0f} MiB"
    )
    return int(ours / bare > GOAL or peak > MOST_MIB)


def _measure(series: int, shadows: int) -> tuple[float, float]:
    """Median seconds of a night's scoring and of the bare statements, in turn, after a night to warm up."""
    customer = _filled(series, shadows)
    statements = BARE + (BARE_SHADOW if shadows else [])
    seconds: tuple[list[float], list[float]] = ([], [])
    for number, day in enumerate(DAYS):
        works: list[Callable[[], object]] = [
            partial(scoring.score, customer, day + dt.timedelta(days=1)),
            partial(execute, statements, day),
        ]
        for place in (0, 1) if number % 2 else (1, 0):
            seconds[place].append(_timed(works[place]))
    assert Forecast.objects.filter(lead=1, date__in=DAYS, actual=None).count() == 0
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def _timed(work: Callable[[], object]) -> float:
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def execute(statements: list[str], day: dt.date, **values: Any) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, {"day": day, **values})
            if cursor.description:
                cursor.fetchall()


# --- A customer with nights of forecasts and shadow rows, and the same rows in bare copies


def _filled(series: int, shadows: int) -> Customer:
    _emptied()
    customer = Customer.objects.create(slug=f"bench-{series}-{shadows}", name="Bench")
    stores = Store.objects.bulk_create([Store(customer=customer, code=f"S{number}") for number in range(STORES)])
    Product.objects.bulk_create(
        [
            Product(customer=customer, code=f"P{number}", department=f"D{number % 7}")
            for number in range(series // STORES)
        ]
    )
    FeedDay.objects.bulk_create(
        [FeedDay(store=store, date=day, status=FeedDay.Status.COMPLETE) for store in stores for day in DAYS]
    )
    champion, *challengers = (a_version(customer, number) for number in range(shadows + 1))
    rule = RoutingRule.objects.create(customer=customer, segment="global", version=champion, valid_from=FIRST)
    for challenger in challengers:
        ShadowTest.objects.create(customer=customer, version=challenger, started_on=FIRST, target_days=14)
    execute(["SELECT setseed(0.5)"], FIRST)
    for day in DAYS:
        run = ForecastRun.objects.create(customer=customer, as_of=day, origin=day, status="superseded")
        keys = {"run": run.pk, "version": champion.pk, "rule": rule.pk, "leads": LEADS}
        execute([FORECASTS], day, **keys)
        for challenger in challengers:
            execute([SHADOW], day, customer=customer.pk, version=challenger.pk, champion=champion.pk)
        execute([SALES], day)
    for name, model in COPIES.items():
        original = model._meta.db_table
        execute([f"CREATE TABLE {name} (LIKE {original} INCLUDING ALL)"], FIRST)
        execute([f"INSERT INTO {name} SELECT * FROM {original} ORDER BY id"], FIRST)
    execute(["VACUUM ANALYZE"], FIRST)
    return customer


def a_version(customer: Customer, number: int) -> ModelVersion:
    """The champion, then challengers; the champion was 50 % off in its hold-out."""
    before = FIRST - dt.timedelta(days=1)
    days = dict.fromkeys(["as_of", "evaluation_start", "evaluation_end", "train_start", "train_end"], before)
    version = ModelVersion.objects.create(
        customer=customer, number=number + 1, version=f"v{number + 1}", tier="production", recipe={}, rows=1, series=1,
        status="challenger" if number else "champion", champion_since=None if number else before, **days,
    )  # fmt: skip
    BacktestResult.objects.create(
        customer=customer, version=version, kind="holdout", origin=before, first_day=before, day=before, lead_band="1",
        n=1, units=1, mae=0.5, wape=0.5,
    )  # fmt: skip
    return version


def _emptied() -> None:
    emptied = (Forecast, ShadowPrediction, Sale, FeedDay, Store, Product, ShadowTest, BacktestResult)
    names = ", ".join(model._meta.db_table for model in emptied)
    execute([f"TRUNCATE {names} RESTART IDENTITY CASCADE"], FIRST)
    execute([f"DROP TABLE IF EXISTS {name}" for name in COPIES], FIRST)


if __name__ == "__main__":
    sys.exit(main())
