"""What the database adds up is what `mlops.metrics` makes of the same rows."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from forecasting import tally
from forecasting.models import Forecast, ForecastRun, Product, Store
from mlops import metrics
from mlops.models import RoutingRule
from mlops.tests.ledger import a_version

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 3, 8)


@pytest.fixture
def rows(acme):
    """Forecasts with and without actual, interval and seasonal naive, many of them of days without a sale."""
    rng, n = np.random.default_rng(4), 400
    store = Store.objects.create(customer=acme, code="S0")
    products = Product.objects.bulk_create([Product(customer=acme, code=f"P{number}") for number in range(n)])
    version = a_version(acme, "champion")
    run = ForecastRun.objects.create(customer=acme, as_of=DAY, origin=DAY, status="published")
    table = pd.DataFrame(
        {
            "actual": rng.poisson(1.0, n).astype(float),
            "prediction": rng.gamma(1.0, 1.5, n),
            "lower": rng.uniform(0, 1, n),
            "upper": rng.uniform(1, 4, n),
            "seasonal_naive": rng.poisson(1.0, n).astype(float),
            "department": rng.choice(["", "Dairy", "Grocery"], n),
            "band": rng.choice(["slow", "fast"], n),
        }
    )
    for name in ("actual", "lower", "upper", "seasonal_naive"):
        table[name] = table[name].mask(rng.random(n) < 0.15)
    plain = table.astype(object).where(table.notna(), None).to_dict("records")
    key = {"run": run, "store": store, "version": version, "rule": RoutingRule.objects.get(), "origin": DAY}
    Forecast.objects.bulk_create(
        [
            Forecast(product=product, date=DAY, lead=1, **key, **row)
            for product, row in zip(products, plain, strict=True)
        ]
    )
    return table.rename(columns={"actual": "y", "seasonal_naive": "naive"}).dropna(subset="y")


def by_scope(sums: pd.DataFrame) -> pd.DataFrame:
    return metrics.ratios(sums.set_index(["department", "band"]).drop(columns=["version", "store_id"]))


def test_every_measure_of_the_forecasts_is_the_same(acme, rows):
    expected = metrics.measure(rows, ["department", "band"])

    found = by_scope(tally.of_version(tally.served(acme, DAY)))

    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert len(found) == 6


def test_every_measure_of_seasonal_naive_is_the_same(acme, rows):
    known = rows.dropna(subset="naive").assign(prediction=rows["naive"]).drop(columns=["lower", "upper"])
    expected = metrics.measure(known, ["department", "band"])

    found = by_scope(tally.of_naive(tally.served(acme, DAY)))

    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert found["coverage"].isna().all()


def test_a_day_without_rows_has_no_sums(acme):
    assert tally.served(acme, DAY).empty
    assert tally.shadowed(acme, DAY).empty
