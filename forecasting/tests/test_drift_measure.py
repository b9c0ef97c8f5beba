"""The verdict of one night: recent MAE against the baseline's, from sums by day, without a database."""

import datetime as dt

import pandas as pd
import pytest

from forecasting.drift import exceeds, measure
from forecasting.served import State
from forecasting.tests.served_days import AS_OF, BASELINE_DAYS, BASELINE_MAE, RECENT_DAYS, RECENT_MAE, day, windows
from mlops.models import ModelPolicy

POLICY = ModelPolicy()


def days(off=BASELINE_MAE, *, naive=15.0, rows=100, states=None, last_day=None):
    """One row for each day of both windows; `states` are those of days that do not count."""
    back = (last_day or day(0)) - day(0)
    dates = [day(n) + back for n in range(RECENT_DAYS + BASELINE_DAYS)][::-1]
    table = pd.DataFrame({"state": State.COUNTS, "note": ""}, index=pd.Index(dates, name="date"))
    for date, state in (states or {}).items():
        table.loc[date, "state"] = state
    known = ~table["state"].isin([State.MISSING, State.CLOSED])
    table["rows"] = known * float(rows)
    for name, value in (("absolute", off), ("naive", naive)):
        table[name] = [value(date) if callable(value) else value for date in dates] * table["rows"]
    return table.assign(naive_rows=table["rows"])


def found(table, **options):
    return measure(table, POLICY, as_of=AS_OF, **options)


def test_the_specifications_numbers_are_drift_of_44_5_percent():
    night = found(days(windows(RECENT_MAE, BASELINE_MAE)))

    assert night.verdict == "drift"
    assert round(night.drift_pct, 1) == 44.5
    assert (night.recent.mae, night.baseline.mae) == (pytest.approx(18.5), pytest.approx(12.8))
    assert night.reason == (
        "MAE 18.5 over the last 7 days against 12.8 over the 30 before: 44.5 % worse, more than the 15 % allowed."
    )


@pytest.mark.parametrize("baseline", [12.8, 2.0, 0.1, 1 / 3, 1e-3, 7e5])
@pytest.mark.parametrize("rows", [7, 100, 30_490])
def test_exactly_15_percent_is_not_drift_and_a_little_more_is(baseline, rows):
    policy = ModelPolicy(drift_min_rows=1)
    at, above = baseline * 1.15, baseline * 1.150001

    assert measure(days(windows(at, baseline), rows=rows), policy, as_of=AS_OF).verdict == "stable"
    assert measure(days(windows(above, baseline), rows=rows), policy, as_of=AS_OF).verdict == "drift"


def test_the_limit_itself_is_not_exceeded_whatever_floating_point_makes_of_it():
    assert not exceeds((14.72 - 12.8) / 12.8 * 100, 15)
    assert not exceeds(15.000000000000002, 15)
    assert exceeds(15.00001, 15)


def test_days_weigh_by_their_rows():
    table = days(windows(20, 10))
    table.loc[day(0), ["rows", "absolute"]] = [1900, 1900 * 10]  # as many rows as the rest of the week thrice over

    assert found(table).recent.mae == pytest.approx((6 * 100 * 20 + 1900 * 10) / 2500)


def test_what_became_better_is_stable_and_says_so():
    night = found(days(windows(9.6, 12.8)))

    assert night.verdict == "stable"
    assert "25.0 % better; more than 15 % worse would be drift." in night.reason


def test_seasonal_naive_is_measured_on_the_same_days():
    night = found(days(naive=windows(30, 15)))

    assert (night.recent.naive_mae, night.baseline.naive_mae) == (30, 15)


# --- What does not count


@pytest.mark.parametrize("state", [State.HOLIDAY, State.CLOSED, State.MISSING])
def test_days_that_do_not_count_leave_both_windows(state):
    wild = {day(2): 1000.0, day(20): 1000.0}
    night = found(days(lambda date: wild.get(date, 12.8), states=dict.fromkeys(wild, state)))

    assert night.verdict == "stable"
    assert (night.recent.mae, night.baseline.mae) == (pytest.approx(12.8), pytest.approx(12.8))
    assert (night.recent.days, night.baseline.days) == (6, 29)


def test_closed_days_and_holidays_are_not_asked_for():
    closed = {day(0): State.CLOSED, day(3): State.HOLIDAY, day(4): State.HOLIDAY}

    assert found(days(states=closed)).verdict == "stable"


def test_a_week_that_is_mostly_holidays_says_nothing():
    night = found(days(windows(30, 12.8), states={day(n): State.HOLIDAY for n in range(4)}))

    assert night.verdict == "insufficient_data"
    assert f"Holidays: {day(3)}, {day(2)}, {day(1)}, {day(0)}." in night.reason


def test_a_feed_gap_is_named_and_is_not_drift():
    night = found(days(windows(30, 12.8), states={day(1): State.MISSING, day(4): State.MISSING}))

    assert night.verdict == "insufficient_data"
    assert night.reason == (
        "Only 5 of the 7 days of the recent window can be compared, and 6 are needed. "
        f"Feed gap: sales are not in for {day(4)}, {day(1)}."
    )
    assert night.drift_pct is None


def test_one_missing_day_of_seven_is_not_too_many():
    assert found(days(windows(30, 12.8), states={day(1): State.MISSING})).verdict == "drift"


def test_a_gap_in_the_baseline_counts_as_well():
    night = found(days(windows(30, 12.8), states={day(n): State.MISSING for n in range(10, 17)}))

    assert night.verdict == "insufficient_data"
    assert (
        f"baseline window can be compared, and 24 are needed. Feed gap: sales are not in for 7 days from {day(16)}"
        in (night.reason)
    )


def test_days_that_nobody_forecast_are_no_feed_gap():
    table = days(windows(30, 12.8))
    table.loc[[day(n) for n in range(12, 37)], ["rows", "absolute", "naive", "naive_rows"]] = 0
    night = found(table)

    assert night.verdict == "insufficient_data"
    assert f"No scored forecast for 25 days from {day(36)} to {day(12)}." in night.reason
    assert "Feed gap" not in night.reason


def test_too_few_rows_say_nothing():
    night = found(days(windows(30, 12.8), rows=28))

    assert night.verdict == "insufficient_data"
    assert night.reason == "The recent window has 196 scored forecasts, and 200 are needed."


def test_a_feed_that_stopped_long_ago_is_a_gap():
    table = days(windows(30, 12.8), last_day=AS_OF - dt.timedelta(days=9))
    night = found(table)

    assert night.verdict == "insufficient_data"
    assert night.reason.startswith(f"Feed gap: the last complete day is {AS_OF - dt.timedelta(days=9)}, and the 8 days")


def test_a_baseline_without_any_error_has_no_percentage():
    night = found(days(windows(1, 0)))

    assert (night.verdict, night.drift_pct) == ("insufficient_data", None)


# --- Segments other than global


def test_a_segment_needs_its_lower_bound_on_two_nights_in_a_row():
    table = days(windows(RECENT_MAE, BASELINE_MAE))
    first = found(table, segment="department:Grocery")
    second = found(table, segment="department:Grocery", nights_before=1)

    assert (first.verdict, second.verdict) == ("stable", "drift")
    assert "for 1 of the 2 nights in a row that a segment needs" in first.reason
    assert "exceeds 5 % for 2 nights" in second.reason


def test_a_segment_whose_increase_is_one_bad_day_is_stable():
    table = days(lambda date: 40.0 if date == day(2) else 12.8)
    night = found(table, segment="department:Grocery", nights_before=1)

    assert night.drift_pct > 15
    assert night.lower < 5
    assert (night.verdict, found(table).verdict) == ("stable", "drift")
    assert "but the lower bound of the increase is" in night.reason


def test_the_bound_is_the_same_each_time_and_below_the_increase():
    table = days(lambda date: 12.8 + date.day % 5 + windows(6, 0)(date))
    night = found(table)

    assert night.lower == found(table).lower < night.drift_pct
    assert found(days()).lower == pytest.approx(0)
