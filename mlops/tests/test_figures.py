"""Numbers and names as people read them."""

import pytest

from mlops.feature_names import feature_name
from mlops.figures import UNKNOWN, Table, change, figure, percent, span


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        ("lag1", "sales of the day before"),
        ("lag14", "sales 14 days before"),
        ("rolling_mean_lag1_window_size28_min_samples1", "rolling mean of 28 days"),
        ("rolling_std_lag7_window_size14", "rolling std of 14 days, up to 7 days before"),
        (
            "seasonal_rolling_mean_lag7_season_length7_window_size4_min_samples1",
            "mean of the same weekday, 4 weeks back",
        ),
        ("relative_price", "price against its usual level"),
        ("days_to_holiday", "days to the next holiday"),
        ("store_id", "store"),
        ("weekday", "weekday"),
        ("search_volume_7d", "search volume 7d"),
    ],
)
def test_features_have_names_for_people(feature, name):
    assert feature_name(feature) == name


def test_figures_keep_what_counts():
    assert [figure(value) for value in (None, 0.1234, 12.345, 123.4, 12345.6)] == [
        UNKNOWN, "0.123", "12.3", "123", "12,346",
    ]  # fmt: skip
    assert [percent(value) for value in (None, 0.1234, -0.02)] == [UNKNOWN, "12.3 %", "-2.0 %"]
    assert [change(value) for value in (None, 12.34, -2.0)] == [UNKNOWN, "+12.3 %", "-2.0 %"]


@pytest.mark.parametrize(
    ("lower", "upper", "words"),
    [
        (-2.8, -0.2, "2.8 to 0.2 % worse"),
        (0.2, 6.2, "0.2 to 6.2 % better"),
        (-0.7, 1.7, "0.7 % worse to 1.7 % better"),
        (0.0, 1.7, "the same to 1.7 % better"),
        (0.0, 0.0, "the same"),
    ],
)
def test_an_interval_says_which_end_is_worse(lower, upper, words):
    assert span(lower, upper) == words


@pytest.mark.parametrize(("rows", "shown", "folded"), [(0, 0, 0), (10, 10, 0), (12, 12, 0), (13, 10, 3), (50, 10, 40)])
def test_a_long_table_folds_after_ten_rows_unless_hardly_any_are_left(rows, shown, folded):
    table = Table("Stores", ["Store"], [[number] for number in range(rows)])
    assert (len(table.first.rows), len(table.rest.rows)) == (shown, folded)
    assert table.first.rows + table.rest.rows == table.rows
