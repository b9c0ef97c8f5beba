"""What retrains read of the forecasts that a champion has made."""

import pytest

from forecasting.models import FeedDay, Forecast, ForecastRun
from forecasting.night import Night
from forecasting.nightly import forecast
from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.rivals import logged
from forecasting.tests.nights import AS_OF, DAY, a_champion, load

pytestmark = pytest.mark.django_db


@pytest.fixture
def sold(acme, tmp_path):
    load(acme, tmp_path)
    return acme


@pytest.fixture
def champion(sold):
    return a_champion(sold)


@pytest.fixture
def served(sold, champion):
    return sold


def test_a_retrain_reads_each_day_of_the_champion_once_however_many_runs_an_origin_had(served, champion):
    forecast(served, AS_OF)
    FeedDay.objects.filter(date__gte=AS_OF).update(status="missing")
    forecast(served, AS_OF + DAY)  # of the same origin
    assert ForecastRun.objects.filter(origin=AS_OF - DAY).count() == 2

    found = logged(champion, Night.of(served, AS_OF).panel)([AS_OF - DAY, AS_OF], 2)

    assert len(found) == 8 * 2
    assert set(found["ds"].dt.date) == {AS_OF, AS_OF + DAY}
    assert not found[["unique_id", "ds", "origin"]].duplicated().any()


def test_a_retrain_reads_the_days_that_were_made_up_for_too(served, champion):
    forecast(served, AS_OF)
    forecast(served, AS_OF + 2 * DAY)

    found = logged(champion, Night.of(served, AS_OF).panel)([AS_OF], 2)

    assert len(found) == 8  # nobody forecast two days ahead on the night that was missed
    assert set(found["ds"].dt.date) == {AS_OF + DAY}


def test_drift_compares_with_what_the_champion_had_said(served, champion):
    for number in range(8):
        forecast(served, AS_OF + number * DAY)
    Forecast.objects.filter(lead=1).update(prediction=1000)
    order = Order(Trigger.DRIFT, AS_OF + 8 * DAY, "drift", params={"num_boost_round": 5})

    made = retrain(served, order).versions.get()

    assert made.decision["comparison"]["champion"]["mae"] > 400  # half of the rows that decide are one day ahead
