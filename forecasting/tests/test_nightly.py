import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from django.core.management import CommandError, call_command

from forecasting import bulk, nightly
from forecasting.models import FeedDay, Forecast, ForecastRun, Sale
from forecasting.night import Night, model_of
from forecasting.nightly import BadHorizon, Overtaken, forecast
from forecasting.orders import Order, Trigger
from forecasting.publishing import discard
from forecasting.retrain import retrain
from forecasting.rivals import logged
from forecasting.tests.nights import AS_OF, DAY, a_candidate, a_champion, load, rows_of
from forecasting.tests.synthetic import LAST, shop
from mlops import promotion, routing
from mlops.models import ModelPolicy
from shelfops import jobs
from shelfops.models import JobRun

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


# --- Published as a whole


def test_after_a_promotion_the_days_ahead_are_new_and_today_stays(served):
    night = forecast(served, AS_OF)
    today = rows_of(lead=1)
    a_champion(served, rounds=9)

    again = forecast(served, AS_OF)

    assert (again.cause, again.rows) == ("v2 promoted", 8 * 13)
    assert rows_of(lead=1) == today
    night.refresh_from_db()
    assert (night.status, night.pruned) == ("superseded", True)
    assert set(Forecast.objects.values_list("lead", "version__version")) == {
        (1, "v1"), *((lead, "v2") for lead in range(2, 15))
    }  # fmt: skip


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_crash_between_batches_leaves_the_former_night_and_no_trace_later(served, monkeypatch, batches):
    forecast(served, AS_OF)
    forecast(served, AS_OF + DAY)
    undisturbed = rows_of()
    discard(ForecastRun.objects.filter(as_of=AS_OF + DAY))
    ForecastRun.objects.update(status="published")
    monkeypatch.setitem(bulk.BATCH_ROWS, "sqlite", 40)
    monkeypatch.setitem(bulk.BATCH_ROWS, "postgresql", 40)
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "insert", _dying_after(batches))
        with pytest.raises(KeyboardInterrupt):
            forecast(served, AS_OF + DAY)

    assert ForecastRun.objects.current(served).as_of == AS_OF
    assert not Forecast.objects.served(served, [AS_OF + DAY]).exists()
    forecast(served, AS_OF + DAY)
    assert rows_of() == undisturbed
    assert list(ForecastRun.objects.order_by("pk").values_list("status", flat=True)) == ["superseded", "published"]


def _dying_after(batches):
    insert, left = bulk.insert, [batches]

    def dying(target, rows):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        insert(target, rows)

    return dying


def test_a_run_that_was_given_up_for_dead_publishes_nothing(served):
    def lost():
        raise jobs.Lost

    with pytest.raises(jobs.Lost):
        forecast(served, AS_OF, confirm=lost)

    assert ForecastRun.objects.current(served) is None


def test_old_rows_ahead_are_forgotten_and_those_that_served_are_kept(served):
    ModelPolicy.objects.create(customer=served, keep_forecast_days=2)

    runs = [forecast(served, AS_OF + number * DAY) for number in range(5)]

    assert list(ForecastRun.objects.filter(pruned=True).order_by("pk")) == runs[:2]
    assert set(Forecast.objects.filter(run=runs[0]).values_list("lead", flat=True)) == {1}
    assert Forecast.objects.filter(run=runs[2]).count() == 8 * 14


def test_an_earlier_day_is_not_published_over_a_later_one(served):
    forecast(served, AS_OF + DAY)

    with pytest.raises(Overtaken, match=f"Forecasts of {AS_OF + DAY} are published already"):
        forecast(served, AS_OF)


@pytest.mark.parametrize("days", [-1, 0, 29])
def test_no_forecast_looks_further_than_plans(served, days):
    with pytest.raises(BadHorizon, match="1 to 28 days"):
        forecast(served, AS_OF, days=days)


def test_other_days_asked_for_are_another_run(served):
    forecast(served, AS_OF)

    run = forecast(served, AS_OF, days=20)

    assert (run.cause, run.rows) == ("20 days asked for", 8 * 19)


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


# --- Asked for by people, by the timetable and by promotions


def command(*arguments: str) -> dict:
    out = StringIO()
    call_command("forecast", "--customer", "acme", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_the_command_tells_what_was_written(served):
    report = command("--as-of", AS_OF.isoformat(), "--days", "7")

    assert (report["rows"], report["origin"], report["cause"]) == (8 * 7, (AS_OF - DAY).isoformat(), "Nightly")
    run = JobRun.objects.get(job="forecast")
    assert (run.status, run.result["forecast_run"]) == ("completed", ForecastRun.objects.get().pk)


def test_the_command_may_be_repeated(served):
    reports = [command("--as-of", AS_OF.isoformat()) for _ in range(2)]

    assert reports[0] == reports[1]


def test_a_day_to_come_is_refused(served):
    served.clock = LAST
    served.save()

    with pytest.raises(CommandError, match="has not come yet"):
        call_command("forecast", "--customer", "acme", "--as-of", (LAST + DAY).isoformat())


def test_a_promotion_has_what_is_published_forecast_anew(served, django_capture_on_commit_callbacks):
    forecast(served, AS_OF)

    with django_capture_on_commit_callbacks(execute=True):
        a_champion(served, rounds=9)

    done = jobs.perform(JobRun.objects.get(job="forecast").pk)
    assert (done.status, done.result["cause"]) == ("completed", "v2 promoted")


def test_a_promotion_asks_for_nothing_where_nothing_is_published(sold, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        a_champion(sold)

    assert not JobRun.objects.exists()


def test_whoever_forecasts_anyway_is_not_asked(served, django_capture_on_commit_callbacks):
    forecast(served, AS_OF)

    with nightly.without_asking(), django_capture_on_commit_callbacks(execute=True):
        a_champion(served, rounds=9)

    assert not JobRun.objects.exists()


def test_what_a_promotion_asked_for_is_skipped_when_a_later_night_came_first(
    served, django_capture_on_commit_callbacks
):
    forecast(served, AS_OF)
    with django_capture_on_commit_callbacks(execute=True):
        a_champion(served, rounds=9)
    forecast(served, AS_OF + DAY)

    done = jobs.perform(JobRun.objects.get(job="forecast").pk)

    assert done.status == "skipped"
    assert "published already" in done.error


# --- What retrains read of it


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
