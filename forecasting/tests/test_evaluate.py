import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from forecasting import evaluate
from forecasting import predict as forecasts
from forecasting.evaluate import Past, calibrated, judge, roll, weekly_difference
from forecasting.panel import as_date, day_number
from forecasting.tests.synthetic import LAST, shop_panel
from forecasting.train import Recipe, fit
from mlops import backtests
from mlops.models import ModelPolicy

POLICY = ModelPolicy()
CUTOFF = LAST - dt.timedelta(days=21)
SMALL = {"num_boost_round": 20, "max_leaves": 15, "learning_rate": 0.2}


@pytest.fixture(scope="module")
def panel():
    return shop_panel()


@pytest.fixture(scope="module")
def model(panel):
    return fit(panel, Recipe("cold_start", SMALL), first=CUTOFF - dt.timedelta(days=89), last=CUTOFF)


def test_seasonal_naive_is_the_same_weekday_of_the_last_week(panel):
    naive = forecasts.seasonal_naive(panel, 14)["prediction"].to_numpy().reshape(-1, 14)

    ends = panel.offsets + panel.sizes
    for row, end in zip(naive, ends, strict=True):
        assert row.tolist() == np.tile(panel.y[end - 7 : end], 2).tolist()


def test_seasonal_naive_of_a_series_younger_than_a_week_is_zero_where_nothing_is_known(panel):
    young = panel.between(first_day=panel.last_day - 1)

    first_week = forecasts.seasonal_naive(young, 7)["prediction"].to_numpy().reshape(-1, 7)

    assert (first_week[:, :5] == 0).all()


def test_every_origin_knows_its_own_past_only(panel, model):
    origins = (CUTOFF, CUTOFF + dt.timedelta(days=7))
    rows = roll(model, Past(panel, POLICY), origins, horizon=7, policy=POLICY).rows

    alone = forecasts.predict(model, panel.between(last_day=day_number(origins[1])), 7)
    second = rows[rows["origin"].dt.date == origins[1]]
    np.testing.assert_array_equal(second["prediction"], alone["prediction"])


def test_a_past_that_is_kept_for_several_models_changes_none_of_their_forecasts(panel, model, monkeypatch):
    other = fit(panel, Recipe("production", SMALL), first=CUTOFF - dt.timedelta(days=89), last=CUTOFF)
    origins, kept = (CUTOFF, CUTOFF + dt.timedelta(days=7)), Past(panel, POLICY)
    shared = [roll(one, kept, origins, horizon=7, policy=POLICY).rows for one in (model, other, model)]
    assert kept.at(CUTOFF) is kept.at(CUTOFF)

    monkeypatch.setattr(evaluate, "MOST_ROWS_KEPT", len(panel) - 1)  # as of a panel that is too large for it
    large = Past(panel, POLICY)
    assert large.at(CUTOFF) is not large.at(CUTOFF)
    for one, rows in zip((model, other, model), shared, strict=True):
        assert_frame_equal(rows, roll(one, large, origins, horizon=7, policy=POLICY).rows)


def test_the_actual_of_a_row_is_what_was_sold_that_day(panel, model):
    rows = roll(model, Past(panel, POLICY), (CUTOFF,), horizon=14, policy=POLICY).rows

    sold = dict(zip(zip(panel.unique_ids(panel.series), panel.days, strict=True), panel.y, strict=True))
    for row in rows.sample(50, random_state=1).itertuples():
        assert row.y == sold[row.unique_id, day_number(row.ds)]


def test_days_that_are_not_covered_are_counted_and_not_scored(panel, model):
    holes = panel.days == panel.last_day
    judged = roll(
        model, Past(replace(panel, observed=~holes), POLICY), (LAST - dt.timedelta(days=3),), horizon=3, policy=POLICY
    )

    assert judged.excluded == len(panel.items)
    assert judged.rows["ds"].max().date() == as_date(panel.last_day - 1)


def test_an_origin_at_which_nothing_was_active_adds_no_rows(panel, model):
    dark = panel.days <= day_number(CUTOFF)
    origins = (CUTOFF, CUTOFF + dt.timedelta(days=7))

    rows = roll(model, Past(replace(panel, observed=~dark), POLICY), origins, horizon=7, policy=POLICY).rows

    assert rows["origin"].dt.date.unique().tolist() == [origins[1]]


def test_the_batch_of_one_day_ahead_agrees_with_forecasting_each_day(panel, model):
    first, last = CUTOFF + dt.timedelta(days=1), CUTOFF + dt.timedelta(days=3)
    batch = forecasts.predict_lead_one(model, panel, first, last, POLICY.active_days)

    for ahead in range(3):
        origin = CUTOFF + dt.timedelta(days=ahead)
        alone = forecasts.predict_active(model, panel, origin, 1, POLICY.active_days)
        mine = batch[batch["origin"].dt.date == origin]
        np.testing.assert_array_equal(mine["prediction"], alone["prediction"])
        assert mine["unique_id"].astype(str).tolist() == alone["unique_id"].astype(str).tolist()


def test_the_scale_of_mase_is_the_weekly_difference_in_training(panel):
    first, last = CUTOFF - dt.timedelta(days=27), CUTOFF
    scale = weekly_difference(panel, first, last)

    for place, offset in enumerate(panel.offsets):
        at = np.arange(day_number(first) + 7, day_number(last) + 1) - panel.start[place] + offset
        assert scale[place] == pytest.approx(np.abs(panel.y[at] - panel.y[at - 7]).mean())


@pytest.fixture(scope="module")
def judged(panel, model):
    split = backtests.split(as_date(int(panel.start.min())), LAST, POLICY)
    split = replace(split, cutoff=CUTOFF, holdout_start=CUTOFF + dt.timedelta(days=1), origins=(CUTOFF,))
    return judge(model, Past(panel, POLICY), split, POLICY)


def test_the_hold_out_is_forecast_one_day_ahead_on_every_day(judged, panel):
    days = judged.lead_one["ds"].dt.date

    assert (days.min(), days.max()) == (CUTOFF + dt.timedelta(days=1), LAST)
    assert len(judged.lead_one) == 21 * len(panel.items)


def test_seasonal_naive_one_day_ahead_is_the_sale_a_week_before(judged, panel):
    sold = dict(zip(zip(panel.unique_ids(panel.series), panel.days, strict=True), panel.y, strict=True))

    for row in judged.lead_one.sample(30, random_state=2).itertuples():
        assert row.naive == sold[row.unique_id, day_number(row.ds) - 7]


def test_coverage_is_measured_on_days_that_did_not_calibrate(judged):
    widths, bounded = calibrated(judged, POLICY)

    for rows in (bounded.rows, bounded.lead_one):
        first_half = backtests.calibration_half(rows)
        assert rows.loc[first_half, ["lower", "upper"]].isna().all(axis=None)
        assert rows.loc[~first_half, ["lower", "upper"]].notna().all(axis=None)
    assert set(widths.factors["any"]) >= {"1", "7"}


def test_the_band_is_that_of_the_origin(judged, panel):
    rows = judged.rows.sample(20, random_state=3)
    for row in rows.itertuples():
        place = panel.items["unique_id"].tolist().index(row.unique_id)
        end = panel.offsets[place] + day_number(row.origin) - panel.start[place] + 1
        mean = panel.y[end - 28 : end].mean()
        expected = "slow" if mean < 0.5 else "medium" if mean < 3 else "fast"
        assert row.band == expected
