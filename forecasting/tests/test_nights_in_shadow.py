"""A challenger's time in shadow with real models: forecast each night, scored each morning, judged, and forgotten."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from alerts.models import MLAlert
from forecasting.loading import load_sales
from forecasting.nightly import forecast_here
from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.scoring import score
from forecasting.tests.synthetic import LAST, shop
from mlops.models import ModelPolicy, ShadowPrediction, ShadowTest

pytestmark = pytest.mark.django_db
SMALL = {"num_boost_round": 10, "max_leaves": 7, "learning_rate": 0.3}
DAY = dt.timedelta(days=1)
AS_OF = LAST - 13 * DAY


@pytest.fixture
def acme(acme, tmp_path):
    """v1 serves, v2 is a challenger with more trees; six days are enough for a verdict."""
    acme.clock = LAST
    acme.save()
    ModelPolicy.objects.filter(pk=ModelPolicy.of(acme).pk).update(shadow_days=6, shadow_min_days=5, keep_shadow_days=1)
    shop(stores=2, products=4).to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    retrain(acme, Order(Trigger.MANUAL, AS_OF, "first", params=SMALL))
    retrain(acme, Order(Trigger.MANUAL, AS_OF, "more trees", params={**SMALL, "num_boost_round": 30}, promote=False))
    return acme


def nights(customer, first, last):
    for number in range(first, last + 1):
        forecast_here(customer, as_of=AS_OF + number * DAY)
        score(customer, AS_OF + number * DAY)


def test_a_challenger_is_judged_on_its_nights_and_its_rows_are_forgotten(acme):
    nights(acme, 0, 5)
    test = ShadowTest.objects.get()
    assert (test.version.version, test.started_on, test.status, test.days) == ("v2", AS_OF, "running", 5)
    nights(acme, 6, 6)
    test.refresh_from_db()
    rows = pd.DataFrame(ShadowPrediction.objects.filter(forecast_date__lt=AS_OF + 6 * DAY).values())
    mae = {
        name: np.abs(rows[f"{name}_prediction"] - rows["actual_demand"]).mean() for name in ("champion", "challenger")
    }
    assert (test.status, test.days, test.samples) == ("completed", 6, 6 * 8)
    assert (test.champion_mae, test.challenger_mae) == pytest.approx((mae["champion"], mae["challenger"]))
    assert test.improvement_pct == pytest.approx(100 * (1 - mae["challenger"] / mae["champion"]))
    assert MLAlert.objects.filter(alert_type="shadow_test_complete", message=test.result["reason"]).count() == 1
    nights(acme, 8, 8)
    assert not ShadowPrediction.objects.exists()
    assert ShadowTest.objects.get().verdict == test.verdict
