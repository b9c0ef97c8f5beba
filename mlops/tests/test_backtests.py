import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops import backtests
from mlops.models import ModelPolicy

POLICY = ModelPolicy()
LAST = dt.date(2026, 6, 30)


def day(ago: int) -> dt.date:
    return LAST - dt.timedelta(days=ago)


def test_a_long_history_is_split_as_the_policy_says():
    split = backtests.split(day(400), LAST, POLICY)

    assert split.cutoff == day(30)
    assert split.evaluation_start == day(119)
    assert (split.holdout_start, split.last_day) == (day(29), LAST)
    assert split.serving_start == day(89)
    assert split.origins == (day(30), day(23), day(16), day(9), day(2))


def test_a_short_history_holds_out_a_quarter():
    split = backtests.split(day(79), LAST, POLICY)

    assert split.holdout_days == 20
    assert split.evaluation_start == day(79)


def test_four_weeks_of_targets_and_a_quarter_held_out_are_the_least():
    assert backtests.split(day(36), LAST, POLICY).holdout_days == 9

    with pytest.raises(backtests.TooShort, match=r"36 days of sales and a fit .* needs 37: possible from") as refused:
        backtests.split(day(35), LAST, POLICY)

    assert refused.value.possible_on == LAST + dt.timedelta(days=2)


@given(history=st.integers(min_value=1, max_value=800), window=st.integers(min_value=7, max_value=365))
def test_no_split_scores_a_day_that_it_trained_on(history, window):
    try:
        split = backtests.split(day(history - 1), LAST, POLICY, train_days=window)
    except backtests.TooShort:
        assert history < 37
        return
    assert split.evaluation_start <= split.cutoff < split.holdout_start <= split.last_day
    assert split.evaluation_start >= day(history - 1)
    assert min(split.origins) == split.cutoff
    assert max(split.origins) < split.last_day


def test_a_model_with_its_window_inside_the_hold_out_is_caught():
    scored = pd.Series(pd.to_datetime([day(7)]))

    with pytest.raises(AssertionError, match="was scored but the model was trained up to"):
        backtests.no_day_scored_was_trained_on(scored, day(7), day(5))


def test_where_nothing_can_be_scored_nothing_is_calibrated():
    nothing = pd.DataFrame({"ds": pd.Series(dtype="datetime64[ns]")})

    backtests.no_day_scored_was_trained_on(nothing["ds"], day(7), day(8))
    with pytest.raises(backtests.NothingToScore, match="they are missing or closed"):
        backtests.calibration_half(nothing)


def forecast(origin: dt.date, horizon: int) -> pd.DataFrame:
    days = pd.date_range(origin + dt.timedelta(days=1), periods=horizon)
    return pd.DataFrame({"unique_id": "a", "ds": days, "prediction": 1.0})


def test_rolling_origins_leave_out_days_beyond_the_last():
    rows = backtests.rolling(forecast, [day(9), day(2)], horizon=14, last_day=LAST)

    assert rows.groupby("origin")["lead"].agg(["min", "max"]).to_numpy().tolist() == [[1, 9], [1, 2]]
    assert rows["ds"].max().date() == LAST


def test_near_leads_score_each_day_once():
    split = backtests.split(day(400), LAST, POLICY)
    rows = backtests.rolling(forecast, split.origins, horizon=14, last_day=LAST)

    near = rows[rows["lead"] <= POLICY.decision_leads]
    assert near["ds"].dt.date.tolist() == [day(ago) for ago in range(29, -1, -1)]


def test_a_comparison_keeps_only_rows_that_both_have():
    mine = forecast(day(9), 4).assign(origin=pd.Timestamp(day(9)))
    theirs = mine.iloc[[3, 1]].assign(prediction=2.0)

    one, other = backtests.identical_rows(mine, theirs)

    assert one["ds"].tolist() == other["ds"].tolist() == [mine["ds"][1], mine["ds"][3]]
    assert other["prediction"].tolist() == [2, 2]


def held_out() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    days = pd.date_range(day(29), LAST)
    rows = pd.DataFrame({"ds": days.repeat(100), "y": rng.poisson(3, 3000).astype(float), "prediction": 3.0})
    bands = np.tile(["slow", "fast"], 1500)
    return rows.assign(lead=1, band=bands, origin=rows["ds"] - pd.Timedelta(days=1), department="D", store_id="S")


def test_the_first_half_of_the_held_out_days_calibrates():
    rows = held_out()

    assert backtests.calibration_half(rows).tolist() == (rows["ds"].dt.date <= day(15)).tolist()


def test_results_come_by_scope_and_day():
    table = backtests.results(held_out(), held_out(), POLICY)

    whole = table[(table["first_day"] != table["day"]) & (table["lead_band"] == "1")]
    assert whole[["scope_type", "scope_value", "n"]].to_numpy().tolist() == [
        ["all", "", 3000], ["department", "D", 3000], ["store", "S", 3000],
        ["velocity", "fast", 1500], ["velocity", "slow", 1500],
    ]  # fmt: skip
    daily = table[(table["scope_type"] == "all") & (table["first_day"] == table["day"]) & (table["lead_band"] == "1")]
    assert daily["n"].tolist() == [100] * 30
    assert set(table["lead_band"]) == {"1", "1-7"}


def test_an_emergency_has_four_origins_and_scores_each_day_once():
    split = backtests.emergency_split(day(60), LAST, POLICY)
    rows = backtests.rolling(forecast, split.origins, horizon=backtests.EMERGENCY_LEADS, last_day=LAST)

    assert split.origins == (day(7), day(5), day(3), day(1))
    assert rows["ds"].dt.date.tolist() == [day(ago) for ago in range(6, -1, -1)]
    assert (split.evaluation_start, split.cutoff) == (day(36), day(7))
    assert split.serving_start == day(29)


def test_an_emergency_needs_a_full_window_before_its_first_origin():
    assert backtests.emergency_split(day(36), LAST, POLICY)

    with pytest.raises(backtests.TooShort, match=r"36 days of sales .* needs 37"):
        backtests.emergency_split(day(35), LAST, POLICY)
