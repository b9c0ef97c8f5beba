import datetime as dt
from itertools import groupby

import numpy as np
import pytest

from forecasting import features, segments
from forecasting.nightly import forecast
from forecasting.orders import Order, Trigger
from forecasting.retrain import NothingTrained, retrain
from forecasting.serving import forecasts_of
from forecasting.tests.nights import DAY, a_champion, load
from forecasting.tests.synthetic import LAST, shop, shop_panel
from mlops import promotion
from mlops.models import ModelPolicy, ModelVersion
from mlops.routing import Kind
from shelfops import jobs
from shelfops.models import JobRun

SMALL = {"num_boost_round": 10, "max_leaves": 7, "learning_rate": 0.3}
AS_OF = LAST + dt.timedelta(days=1)
ELECTRONICS, GROCERY = "department:Electronics", "department:Grocery"
FEW = ModelPolicy(segment_min_rows=100)


def clustered():
    rows = shop()
    return rows.assign(store_cluster=np.where(rows["store_id"] == "S0", "Urban", ""))


# --- Frames by segment


def test_departments_become_a_frame_each():
    frames = features.create_features(shop(), force_tier="department_tiered", policy=FEW)

    assert set(frames) == {ELECTRONICS, GROCERY}
    products = frames[ELECTRONICS]["unique_id"].astype(str).str[-2:]
    assert set(products) == {"P1", "P3", "P5"}
    whole = features.create_features(shop())["global"]
    assert sum(map(len, frames.values())) == len(whole)
    assert list(frames[GROCERY]) == list(whole)


def test_what_a_segment_sees_of_a_day_is_what_the_whole_sees():
    part = features.create_features(shop(), force_tier="department_tiered", policy=FEW)[GROCERY]
    whole = features.create_features(shop())["global"].merge(part[["unique_id", "ds"]], on=["unique_id", "ds"])

    plain = [name for name in part if name not in ("unique_id", "store_id", "department", "category")]
    np.testing.assert_allclose(part[plain[1:]].to_numpy(float), whole[plain[1:]].to_numpy(float))


def test_stores_without_a_cluster_stay_with_the_global_model(caplog):
    frames = features.create_features(clustered(), force_tier="store_cluster_tiered", policy=FEW)

    assert set(frames) == {"store_cluster:Urban", "global"}
    assert set(frames["global"]["unique_id"].astype(str).str[:2]) == {"S1"}
    assert "6 series have stores without a cluster and stay with the model for all products" in caplog.text


def test_a_series_is_new_for_its_first_days_and_mature_from_then_on():
    frames = features.create_features(shop(), force_tier="lifecycle_tiered", policy=FEW)

    new, mature = frames["lifecycle:new"], frames["lifecycle:mature"]
    assert new.groupby("unique_id", observed=True).size().tolist() == [30] * 12
    assert set(new["unique_id"]) == set(mature["unique_id"])


def test_a_segment_with_too_few_rows_falls_to_global_and_says_so(caplog):
    rows = shop().query("department == 'Grocery' or date >= '2026-06-20'")
    policy = ModelPolicy(segment_min_rows=200)

    frames = features.create_features(rows, force_tier="department_tiered", policy=policy)

    assert set(frames) == {GROCERY, "global"}
    assert "department Electronics has 54 rows to train on, and 200 are needed" in caplog.text


def test_the_day_after_is_divided_like_the_days_before():
    frames = features.create_features_for_prediction(shop(), force_tier="department_tiered", policy=FEW)
    assert {segment: len(frame) for segment, frame in frames.items()} == {ELECTRONICS: 6, GROCERY: 6}


def test_a_cut_keeps_the_past_of_what_it_does_not_observe():
    panel = shop_panel()
    mature = segments.cut(panel, "lifecycle:mature", FEW)

    assert len(mature) == len(panel)
    assert (panel.observed & ~mature.observed).sum() == 12 * 30
    assert segments.cut(panel, "global", FEW) is panel
    assert set(segments.cut(panel, GROCERY, FEW).items["department"]) == {"Grocery"}
    assert segments.keys(panel, Kind.DEPARTMENT) == [ELECTRONICS, GROCERY]


def test_the_best_sellers_are_found_by_units_of_the_days_that_teach():
    assert segments.top_products(shop_panel(), LAST - dt.timedelta(days=60), 2) == ["P5", "P4"]


# --- Trained


@pytest.fixture
def sold(acme, tmp_path):
    load(acme, tmp_path, shop(stores=2, products=4))
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"segment_min_rows": 200})
    acme.clock = AS_OF
    acme.save()
    return acme


def trained(customer, trigger=Trigger.MANUAL, **wanted):
    return retrain(customer, Order(trigger, AS_OF, "why", params=SMALL, **wanted))


@pytest.mark.django_db
def test_one_run_makes_a_version_of_each_segment_under_one_number(sold):
    trained(sold)
    log = trained(sold, Trigger.EXPERIMENT, segments=(GROCERY, ELECTRONICS))

    electronics, grocery = log.versions.order_by("pk")
    assert log.version_produced == "v2_electronics, v2_grocery"
    assert (electronics.number, grocery.number) == (2, 2)
    assert (electronics.segment, electronics.status) == (ELECTRONICS, "experimental")
    assert (electronics.series, grocery.series) == (4, 4)
    assert (electronics.metrics["tier"], electronics.metrics["segment"]) == ("department_tiered", "Electronics")
    assert electronics.parent.version == electronics.decision["champion"] == "v1"
    assert electronics.decision["comparison"]["n"] == 4 * 30


@pytest.mark.django_db
def test_segments_are_trained_one_after_the_other(sold):
    trained(sold)
    told = []
    order = Order(Trigger.EXPERIMENT, AS_OF, "why", params=SMALL, segments=(GROCERY, ELECTRONICS))
    retrain(sold, order, stage=lambda name, percent: told.append((name, percent)))

    of_segments = [name.partition(" (")[2] for name, _ in told if " (" in name]
    assert [label for label, _ in groupby(of_segments)] == ["department Electronics)", "department Grocery)"]
    assert [percent for _, percent in told] == sorted(percent for _, percent in told)


@pytest.mark.django_db
def test_scheduled_retrains_every_segment_that_has_a_champion_by_its_own_recipe(sold):
    trained(sold)
    [version] = trained(
        sold, Trigger.EXPERIMENT, segments=(ELECTRONICS,), tier="cold_start", window_days=60
    ).versions.all()
    promotion.promote(version, by=None, reason="better there", as_of=AS_OF)

    log = retrain(sold, Order(Trigger.SCHEDULED, AS_OF))

    whole, part = log.versions.order_by("pk")
    assert (whole.version, part.version) == ("v3", "v3_electronics")
    assert (whole.tier, part.tier) == ("production", "cold_start")
    assert (part.recipe["window_days"], part.parent) == (60, version)
    assert log.decision.startswith("v3: ")


@pytest.mark.django_db
def test_a_segment_that_is_too_short_is_left_out_and_the_log_says_so(sold):
    trained(sold)
    ModelPolicy.objects.update(segment_min_rows=30_000)

    with pytest.raises(NothingTrained, match="department Grocery has 360 rows to train on, and 30000 are needed"):
        trained(sold, Trigger.EXPERIMENT, segments=(GROCERY,))
    log = trained(sold, segments=("global", GROCERY))

    assert log.version_produced == "v2"
    assert log.notes[0].startswith("department Grocery stays with the model for all products")
    assert log.notes[0] in log.decision


@pytest.mark.django_db
def test_drift_in_a_segment_trains_that_segment_on_its_last_thirty_days(sold):
    trained(sold)
    ModelPolicy.objects.update(segment_min_rows=50)
    [version] = trained(sold, Trigger.DRIFT, segments=(ELECTRONICS,)).versions.all()

    assert (version.version, version.status) == ("v2_electronics", "challenger")
    assert (version.train_end - version.train_start).days == 29
    assert not ModelVersion.objects.filter(number=2, segment="global").exists()


@pytest.mark.django_db
def test_a_limit_to_the_best_sellers_binds_training_and_judging(sold):
    trained(sold)
    [version] = trained(sold, Trigger.EXPERIMENT, top_products=1).versions.all()

    assert (version.products, version.series) == (["P3"], 2)
    assert version.decision["comparison"]["n"] == 2 * 30


@pytest.mark.django_db
def test_a_retired_segment_is_forecast_anew_even_on_the_day_of_the_global_promotion(
    sold, django_capture_on_commit_callbacks
):
    a_champion(sold, AS_OF)
    forecast(sold, AS_OF)

    def then(step):
        with django_capture_on_commit_callbacks(execute=True):
            done = step()
        [run] = JobRun.objects.filter(job="forecast", status="queued")
        assert jobs.perform(run.pk).status == "completed"
        return done

    then(lambda: a_champion(sold, AS_OF))
    electronics = then(lambda: a_champion(sold, AS_OF, segment=ELECTRONICS))
    then(lambda: promotion.retire(electronics, by=None, reason="worse", as_of=AS_OF))

    assert {one.version for one in forecasts_of(sold, "S0", "P1", AS_OF + DAY, AS_OF + DAY)} == {"v2"}
