import numpy as np
import pandas as pd
import pytest

from mlops.metrics import METRICS, improvement_pct, measure

BY_HAND = pd.DataFrame(
    {
        "y": [4.0, 0.0, 2.0, 10.0],
        "prediction": [5.0, 1.0, 2.0, 6.0],
        "lower": [3.0, 0.5, 1.0, 4.0],
        "upper": [7.0, 2.0, 3.0, 8.0],
        "scale": [2.0, 1.0, 0.0, 4.0],
        "store": ["a", "a", "b", "b"],
    }
)


def test_the_measures_are_those_worked_by_hand():
    row = measure(BY_HAND).iloc[0]

    assert row["n"] == 4
    assert row["units"] == 16
    assert row["mae"] == pytest.approx((1 + 1 + 0 + 4) / 4)
    assert row["wape"] == pytest.approx(6 / 16)
    assert row["rmse"] == pytest.approx(np.sqrt((1 + 1 + 0 + 16) / 4))
    assert row["mape"] == pytest.approx((1 / 4 + 0 / 2 + 4 / 10) / 3)
    assert row["mape_n"] == 3
    assert row["bias"] == pytest.approx((1 + 1 + 0 - 4) / 16)
    assert row["mase"] == pytest.approx((1 / 2 + 1 / 1 + 4 / 4) / 3)
    assert row["mase_n"] == 3
    assert row["width"] == pytest.approx((4 + 1.5 + 2 + 4) / 4)
    assert row["missed_above"] == pytest.approx(1 / 4)
    assert row["missed_below"] == pytest.approx(1 / 4)
    assert row["coverage"] == pytest.approx(2 / 4)


def plain_loop(rows: pd.DataFrame) -> dict[str, float]:
    n, absolute, squared, error, actual, relative, positive = 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for y, prediction in zip(rows["y"], rows["prediction"], strict=True):
        n += 1
        absolute += abs(prediction - y)
        squared += (prediction - y) ** 2
        error += prediction - y
        actual += y
        if y > 0:
            relative += abs(prediction - y) / y
            positive += 1
    return {
        "mae": absolute / n,
        "wape": absolute / actual,
        "rmse": (squared / n) ** 0.5,
        "bias": error / actual,
        "mape": relative / positive,
    }


def test_groups_agree_with_a_plain_loop():
    rng = np.random.default_rng(3)
    rows = pd.DataFrame(
        {"y": rng.poisson(2.0, 500), "prediction": rng.gamma(2, 1, 500), "store": rng.integers(5, size=500)}
    )

    table = measure(rows, ["store"])

    for store, part in rows.groupby("store"):
        for name, value in plain_loop(part).items():
            assert table.loc[store, name] == pytest.approx(value)


def test_what_is_unknown_is_nan_and_never_zero():
    row = measure(pd.DataFrame({"y": [0.0, 0.0], "prediction": [1.0, 0.0]})).iloc[0]

    unknown = ["wape", "bias", "mape", "mase", "coverage", "width", "missed_above", "missed_below"]
    assert row[unknown].isna().all()
    assert row["mape_n"] == row["mase_n"] == 0
    assert list(row.index) == METRICS


def test_rows_without_an_interval_do_not_count_as_covered():
    rows = BY_HAND.assign(lower=[np.nan, np.nan, 1.0, 4.0], upper=[np.nan, np.nan, 3.0, 8.0])

    assert measure(rows).iloc[0]["coverage"] == pytest.approx(1 / 2)


def test_a_row_without_an_actual_is_an_error():
    with pytest.raises(ValueError, match="no finite actual"):
        measure(BY_HAND.assign(y=[np.nan, 1, 2, 3]))


@pytest.mark.parametrize(
    ("champion", "candidate", "expected"),
    [(12.8, 11.5, 10.15625), (18.2, 14.2, 21.978), (10, 11, -10), (0, 1, None), (float("nan"), 1, None)],
)
def test_improvement_is_relative_to_the_champion(champion, candidate, expected):
    found = improvement_pct(champion, candidate)

    assert found is None if expected is None else found == pytest.approx(expected, rel=1e-4)
