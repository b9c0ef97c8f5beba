"""One night of forecasts: which series, by whom, what the rows say, and nights that were missed."""

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from forecasting.models import FeedDay, Forecast, ForecastRun, Sale
from forecasting.night import model_of
from forecasting.nightly import forecast
from forecasting.publishing import discard
from forecasting.tests.nights import AS_OF, DAY, a_candidate, a_champion, load, rows_of
from forecasting.tests.synthetic import shop
from mlops import promotion, routing

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


def start_anew() -> None:
    discard(ForecastRun.objects.all())


# --- One night


def test_every_active_series_is_forecast_for_fourteen_days_by_the_champion(served):
    run = forecast(served, AS_OF)

    rows = Forecast.objects.filter(run=run, version__version="v1", rule__segment="global", origin=AS_OF - DAY)
    assert (run.status, run.rows, rows.count()) == ("published", 8 * 14, 8 * 14)
    assert set(rows.values_list("lead", flat=True)) == set(range(1, 15))


def test_only_rows_one_day_ahead_carry_what_scoring_needs(served):
    forecast(served, AS_OF)

    ahead = Forecast.objects.filter(lead=1)
    assert set(ahead.values_list("department", "replayed")) == {("Grocery", False), ("Electronics", False)}
    assert set(ahead.values_list("band", flat=True)) <= {"slow", "medium", "fast"}
    week_ago = Sale.objects.get(date=AS_OF - 7 * DAY, store__code="S0", product__code="P3").quantity
    assert ahead.get(store__code="S0", product__code="P3").seasonal_naive == week_ago
    later = Forecast.objects.filter(lead__gt=1)
    assert set(later.values_list("department", "band", "seasonal_naive")) == {("", "", None)}


def test_a_series_that_no_longer_sells_is_not_forecast(acme, tmp_path):
    rows = shop(stores=2, products=4)
    asleep = (rows["product_id"] == "P3") & (rows["date"] >= pd.Timestamp(AS_OF - 60 * DAY))
    load(acme, tmp_path, rows.assign(quantity=rows["quantity"].where(~asleep, 0)))
    a_champion(acme)

    forecast(acme, AS_OF)

    assert set(Forecast.objects.values_list("product__code", flat=True)) == {"P0", "P1", "P2"}


def test_the_same_night_twice_changes_nothing(served):
    first, rows = forecast(served, AS_OF), rows_of()

    assert forecast(served, AS_OF) == first
    assert ForecastRun.objects.count() == 1
    assert rows_of() == rows


def test_a_night_is_what_pandas_computes(served, champion):
    forecast(served, AS_OF)

    expected = _by_pandas(served, champion)
    columns = ["store__code", "product__code", "date", "prediction", "lower", "upper", "seasonal_naive", "band"]
    found = pd.DataFrame(Forecast.objects.values_list(*columns), columns=columns)
    both = found.merge(expected, on=columns[:3], suffixes=("", "_pandas"))
    assert len(both) == len(found) == 8 * 14
    for name in ("prediction", "lower", "upper"):
        np.testing.assert_allclose(both[name], both[f"{name}_pandas"], rtol=1e-5)
    ahead = both[both["date"] == AS_OF]
    assert ahead["seasonal_naive"].tolist() == ahead["naive"].tolist()
    assert ahead["band"].tolist() == ahead["band_pandas"].tolist()


def _by_pandas(customer, version) -> pd.DataFrame:
    """The night by plain means: one series and one day after the other, features written out, the booster asked."""
    booster = xgb.Booster()
    booster.load_model(bytearray(model_of(version).booster.save_raw("ubj")))
    past = Sale.objects.filter(store__customer=customer, date__lt=AS_OF)
    names = ["store__code", "product__code", "date", "quantity"]
    table = pd.DataFrame(past.values_list(*names), columns=names)
    rows = []
    for (store, product), of_series in table.groupby(["store__code", "product__code"]):
        y = of_series.set_index("date")["quantity"].sort_index()
        y = list(y[y.index >= y[y > 0].index[0]])
        speed, naive = np.mean(y[-28:]), y[-7]
        band = "slow" if speed < 0.5 else "medium" if speed < 3 else "fast"
        for lead in range(1, 15):
            date = AS_OF + (lead - 1) * DAY
            lags = [y[-lag] for lag in (1, 2, 3, 4, 5, 6, 7, 14, 28)]
            means = [np.mean(y[-days:]) for days in (7, 14, 28, 56)]
            weekdays = [np.mean([y[-7 * week] for week in range(1, weeks + 1)]) for weeks in (4, 8)]
            X = np.array([[*lags, *means, *weekdays, date.weekday()]], dtype=np.float32)
            value = max(float(booster.inplace_predict(X)[0]), 0)
            factor = 2.0 if band == "fast" else 1.0 if lead <= 7 else 1.5
            half = factor * np.sqrt(value + 0.05)
            rows.append((store, product, date, value, max(value - half, 0), value + half, naive, band))
            y.append(value)
    return pd.DataFrame(rows, columns=[*names[:3], "prediction", "lower", "upper", "naive", "band"])


def test_what_is_sold_after_the_origin_changes_no_forecast(served):
    forecast(served, AS_OF)
    rows = rows_of()
    start_anew()
    Sale.objects.filter(date__gte=AS_OF).update(quantity=999, unit_price=1, promo=True)

    forecast(served, AS_OF)

    assert rows_of() == rows


# --- Nights that were missed, and a late feed


def test_missed_nights_are_made_up_for_as_they_would_have_been(served):
    for number in range(4):
        forecast(served, AS_OF + number * DAY)
    undisturbed = rows_of(lead=1)
    start_anew()

    forecast(served, AS_OF)
    run = forecast(served, AS_OF + 3 * DAY)

    assert rows_of(lead=1) == undisturbed
    replayed = Forecast.objects.filter(replayed=True)
    assert set(replayed.values_list("date", flat=True)) == {AS_OF + DAY, AS_OF + 2 * DAY}
    assert run.notes == f"Made up for 2 days, {AS_OF + DAY} to {AS_OF + 2 * DAY}."


def test_a_feed_that_comes_three_days_late_is_caught_up_with(acme, tmp_path):
    rows = shop(stores=2, products=4)
    load(acme, tmp_path, rows)
    a_champion(acme)
    for number in range(4):
        forecast(acme, AS_OF + number * DAY)
    undisturbed = rows_of(lead=1)
    start_anew()
    FeedDay.objects.filter(date__gte=AS_OF).delete()

    late = [forecast(acme, AS_OF + number * DAY) for number in range(3)]
    load(acme, tmp_path, rows)
    forecast(acme, AS_OF + 3 * DAY)

    assert {run.origin for run in late} == {AS_OF - DAY}
    assert rows_of(lead=1) == undisturbed
    assert set(Forecast.objects.filter(replayed=True).values_list("date", flat=True)) == {AS_OF + DAY, AS_OF + 2 * DAY}


def test_nothing_is_made_up_for_from_before_the_first_champion(served):
    run = forecast(served, AS_OF + 2 * DAY)

    days = Forecast.objects.filter(lead=1).order_by("date").values_list("date", flat=True).distinct()
    assert list(days) == [AS_OF, AS_OF + DAY, AS_OF + 2 * DAY]
    assert run.rows == 8 * (2 + 14)


def test_a_missed_day_is_forecast_by_whoever_served_on_it(served):
    forecast(served, AS_OF)
    a_champion(served, AS_OF + 2 * DAY, rounds=9)

    forecast(served, AS_OF + 3 * DAY)

    by_day = Forecast.objects.filter(lead=1).order_by("date").values_list("date", "version__version").distinct()
    assert list(by_day) == [(AS_OF + n * DAY, "v1" if n < 2 else "v2") for n in range(4)]


def test_a_day_on_which_the_version_was_trained_is_left_out(served):
    forecast(served, AS_OF)
    knows_too_much = a_candidate(served, AS_OF + 3 * DAY)
    promotion.promote(knows_too_much, by=None, reason="by hand", as_of=AS_OF + 2 * DAY)

    run = forecast(served, AS_OF + 3 * DAY)

    days = Forecast.objects.filter(lead=1).order_by("date").values_list("date", flat=True).distinct()
    assert list(days) == [AS_OF, AS_OF + DAY, AS_OF + 3 * DAY]
    assert f"{AS_OF + 2 * DAY} is left out where v2 serves: it was trained on that day." in run.notes


# --- Routing


def test_without_a_champion_a_retrain_comes_first(sold):
    with pytest.raises(routing.NobodyServes, match="Retrain first"):
        forecast(sold, AS_OF)


def test_each_series_is_forecast_by_the_strongest_rule_it_falls_under(acme, tmp_path):
    rows = shop(stores=2, products=4)
    launch = (rows["store_id"] == "S1") & (rows["product_id"] == "P1") & (rows["date"] < pd.Timestamp(AS_OF - 10 * DAY))
    load(acme, tmp_path, rows[~launch])
    acme.stores.filter(code="S1").update(cluster="Urban")
    for segment in ("global", "store_cluster:Urban", "department:Electronics", "lifecycle:new"):
        a_champion(acme, segment=segment)

    forecast(acme, AS_OF)

    served_by = Forecast.objects.filter(lead=1).values_list(
        "store__code", "product__code", "rule__segment", "version__segment"
    )
    assert {(store, product): rule for store, product, rule, _version in served_by} == {
        ("S0", "P0"): "global", ("S0", "P2"): "global",
        ("S0", "P1"): "department:Electronics", ("S0", "P3"): "department:Electronics",
        ("S1", "P0"): "store_cluster:Urban", ("S1", "P2"): "store_cluster:Urban",
        ("S1", "P1"): "lifecycle:new", ("S1", "P3"): "department:Electronics",
    }  # fmt: skip
    assert all(rule == version for _store, _product, rule, version in served_by)


def test_a_new_product_is_handed_over_when_it_is_thirty_days_old(acme, tmp_path):
    rows = shop(stores=1, products=2)
    first = AS_OF - 28 * DAY
    rows.loc[(rows["product_id"] == "P1") & (rows["date"] == pd.Timestamp(first)), "quantity"] = 1
    load(acme, tmp_path, rows[(rows["product_id"] == "P0") | (rows["date"] >= pd.Timestamp(first))])
    a_champion(acme)
    a_champion(acme, segment="lifecycle:new")

    for number in range(3):
        forecast(acme, AS_OF + number * DAY)

    of_new = Forecast.objects.filter(lead=1, product__code="P1").order_by("date")
    assert list(of_new.values_list("rule__segment", flat=True)) == ["lifecycle:new", "lifecycle:new", "global"]


def test_series_that_no_rule_serves_are_left_out_and_counted(sold):
    a_champion(sold, segment="department:Grocery")

    run = forecast(sold, AS_OF)

    assert run.rows == 4 * 14
    assert run.notes.startswith("4 series are left out")
