"""Months of days, replayed: on every one of them a forecast, a score and a shadow row, as pandas computes them from the
sales as they were brought.

The real sales are M5's: three stores with 210 products each for three months, fitted with 40 small trees so that it
takes a minute and a half. They run where SHELFOPS_BENCH_DATA names the data; a fortnight of a made-up shop runs always.
"""

import datetime as dt
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.loading import load_sales
from forecasting.models import Forecast
from forecasting.replay import replay
from forecasting.retraining_job import retrain_here
from forecasting.tests.by_pandas import DAY, Ledger
from forecasting.tests.synthetic import LAST, shop
from mlops.models import BacktestResult, ModelVersion, ShadowPrediction, VersionEvent
from shelfops.clock import set_clock
from shelfops.models import Customer

pytestmark = pytest.mark.django_db
SMALL = {"num_boost_round": 40, "max_leaves": 31, "learning_rate": 0.2}
SAMPLED = 10
SUNDAY = 6


def test_every_day_of_a_shop_is_what_pandas_computes(acme, tmp_path):
    check_days(acme, tmp_path, shop(stores=2, products=5).drop(columns="promo"), first=LAST - 13 * DAY, last=LAST)


def test_every_day_of_three_months_of_m5_is_what_pandas_computes(acme, tmp_path):
    folder = os.environ.get("SHELFOPS_BENCH_DATA")
    if not folder:
        pytest.skip("set SHELFOPS_BENCH_DATA to the folder of the benchmark data to run it")
    last, begin = dt.date(2016, 5, 22), dt.date(2015, 7, 1)
    sales = pd.read_parquet(Path(folder) / "m5" / "small.parquet", filters=[("date", ">=", begin)])
    check_days(acme, tmp_path, sales, first=last - 91 * DAY, last=last)


def check_days(customer: Customer, folder: Path, sales: pd.DataFrame, *, first: dt.date, last: dt.date) -> None:
    """Replays the days, weekly retrains included, and compares what is stored with what pandas makes of the sales."""
    customer.country = "US"
    customer.save()
    sales.to_parquet(folder / "sales.parquet", index=False)
    load_sales(customer, folder / "sales.parquet")
    set_clock(customer, first)
    for params in (SMALL, SMALL | {"num_boost_round": 60}):  # the second is in shadow from the first day on
        retrain_here(customer, trigger="manual", reason="for the test", params=params, promote=params == SMALL)

    replay(customer, first, last, retrain_due=lambda day: day.weekday() == SUNDAY)

    days = [date.date() for date in pd.date_range(first, last)]
    assert days_of(Forecast.objects.filter(lead=1), "date") == days
    assert days_of(ShadowPrediction.objects.all(), "forecast_date") == days
    scored = BacktestResult.objects.filter(kind="daily", scope_type="all")
    for baseline in ("", "seasonal_naive"):
        assert days_of(scored.filter(baseline=baseline), "day") == days[:-1]  # the last day is not over
    ledger = Ledger(sales)
    for day in sorted(np.random.default_rng(4).choice(days[:-1], SAMPLED, replace=False)):
        check_forecasts(ledger, day)
        check_shadow(ledger, day)


def days_of(rows, field: str) -> list[dt.date]:
    return sorted(set(rows.values_list(field, flat=True)))


def check_forecasts(ledger: Ledger, day: dt.date) -> None:
    """Who served, which series, what was said, what was sold, and how far off that was."""
    champion = VersionEvent.objects.filter(to_status="champion", as_of__lte=day).latest("pk").version
    found = frame(Forecast.objects.filter(lead=1, date=day), "store__code", "product__code", "prediction", "actual")
    expected, actual = ledger.forecast(champion, day), ledger.actual(day)
    naive = ledger.actual(day - 7 * DAY)[expected.index]
    assert set(Forecast.objects.filter(lead=1, date=day).values_list("version", flat=True)) == {champion.pk}
    assert_equal(found["prediction"], expected)
    assert_equal(found["actual"], actual[expected.index])
    assert mae(champion, day) == pytest.approx((expected - actual).abs().mean())
    assert mae(champion, day, "seasonal_naive") == pytest.approx((naive.fillna(0) - actual).abs().mean())


def check_shadow(ledger: Ledger, day: dt.date) -> None:
    """Every version beside the champion: the same series, what both said, what was sold, and how far off it was."""
    served = frame(Forecast.objects.filter(lead=1, date=day), "store__code", "product__code", "prediction")
    rows = ShadowPrediction.objects.filter(forecast_date=day)
    for version in ModelVersion.objects.filter(pk__in=rows.values("version")):
        names = ["champion_prediction", "challenger_prediction", "actual_demand"]
        found = frame(rows.filter(version=version), "store_id", "product_id", *names)
        expected = ledger.forecast(version, day)
        assert_equal(found["champion_prediction"], served["prediction"])
        assert_equal(found["challenger_prediction"], expected)
        assert_equal(found["actual_demand"], ledger.actual(day)[expected.index])
        assert mae(version, day) == pytest.approx((expected - ledger.actual(day)).abs().mean())


def frame(rows, store: str, product: str, *values: str) -> pd.DataFrame:
    """One row a store and product."""
    return pd.DataFrame(rows.values(store, product, *values)).set_index([store, product]).astype(float).sort_index()


def assert_equal(found: pd.Series, expected: pd.Series) -> None:
    assert set(found.index) == set(expected.index)
    np.testing.assert_allclose(found, expected.sort_index(), rtol=1e-5, atol=1e-6)


def mae(version, day: dt.date, baseline: str = "") -> float | None:
    results = BacktestResult.objects.filter(kind="daily", scope_type="all", version=version, baseline=baseline)
    return results.get(day=day).mae
