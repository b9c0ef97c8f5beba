"""The candidate beside the champion and seasonal naive: worked by hand, against a plain loop, and at its edges."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.comparison import MIN_DAYS, Measures, compare
from mlops.tests.ledger import rows


def test_its_measures_are_those_worked_by_hand():
    table = pd.DataFrame(
        {
            "ds": pd.to_datetime(["2026-03-02", "2026-03-03"]),
            "y": [4.0, 0.0],
            "prediction": [3.0, 1.0],
            "champion": [2.0, 2.0],
            "naive": [0.0, 0.0],
            "department": "Dairy",
            "band": "slow",
        }
    )
    found = compare(table)
    assert found.candidate == Measures(mae=1.0, rmse=1.0, mape=0.25, bias=0.0, coverage={})
    assert (found.champion.mae, found.champion.mape, found.naive.mae, found.naive.bias) == (2.0, 0.5, 2.0, -1.0)
    assert (found.improvement_pct, found.n, found.days, found.units, found.positive_share) == (50.0, 2, 2, 4.0, 0.5)


def test_the_interval_is_that_of_a_plain_loop_over_drawn_days():
    table = rows(better=10).assign(prediction=lambda t: t["prediction"] + t["ds"].dt.day % 5)  # good and bad days
    found = compare(table, seed=1)
    days = [day for _, day in table.groupby("ds")]
    rng, drawn = np.random.default_rng(9), []
    for _ in range(2000):
        chosen = pd.concat([days[at] for at in rng.integers(0, len(days), len(days))])
        champion, own = ((chosen[name] - chosen["y"]).abs().mean() for name in ("champion", "prediction"))
        drawn.append((champion - own) / champion * 100)
    width = found.upper - found.lower
    assert (found.lower, found.upper) == pytest.approx(np.quantile(drawn, [0.05, 0.95]), abs=width / 15)
    assert found.lower < found.improvement_pct < found.upper


def test_the_same_rows_give_the_same_interval_in_any_order():
    table = rows()
    one, other = compare(table), compare(table.sample(frac=1, random_state=5))
    assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), rel=1e-9)
    assert compare(table) == one


def test_departments_are_compared_by_themselves():
    table = rows(better=10)
    dairy = table["department"] == "Dairy"
    table.loc[dairy, "prediction"] = table["y"] + (table["champion"] - table["y"]) * 1.2
    by_name = {one.name: one for one in compare(table).departments}
    assert by_name["Dairy"].worse_pct == pytest.approx(20)
    assert by_name["Grocery"].worse_pct == pytest.approx(-10)
    assert by_name["Dairy"].lower > 0 > by_name["Grocery"].upper
    assert sum(one.units for one in by_name.values()) == pytest.approx(table["y"].sum())


def test_coverage_counts_only_rows_that_have_an_interval():
    table = rows()
    table.loc[: len(table) // 2, ["lower", "upper"]] = np.nan
    assert compare(table).candidate.coverage["fast"] == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("column", ["prediction", "champion", "y"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gap_makes_the_improvement_unknown(column, value):
    table = rows()
    table.loc[3, column] = value
    found = compare(table)
    assert found.improvement_pct is found.lower is found.upper is None
    assert found.departments == ()
    json.dumps(found.as_json(), allow_nan=False)


def test_without_a_champion_there_is_no_improvement():
    found = compare(rows(champion=False))
    assert found.champion is found.improvement_pct is found.lower is None
    assert found.candidate.mae < found.naive.mae


def test_a_champion_without_error_leaves_the_improvement_unknown():
    found = compare(rows().assign(champion=lambda table: table["y"]))
    assert found.champion.mae == 0
    assert found.improvement_pct is found.lower is None


def test_too_few_days_give_no_interval():
    assert compare(rows(days=MIN_DAYS - 1)).lower is None
    assert compare(rows(days=MIN_DAYS)).lower is not None


def test_no_rows_are_no_answer():
    found = compare(rows().iloc[:0])
    assert (found.n, found.improvement_pct, found.candidate) == (0, None, Measures())
    json.dumps(found.as_json(), allow_nan=False)


def test_items_without_a_department_are_one_group():
    found = compare(rows().assign(department=[None, "Dairy"] * 600))
    assert [one.name for one in found.departments] == ["Dairy", ""]


@settings(max_examples=30, deadline=None)
@given(
    better=st.floats(-50, 90), seed=st.integers(0, 50), days=st.integers(1, 12), scale=st.sampled_from([0.001, 1, 1e6])
)
def test_it_depends_on_no_unit_and_always_becomes_json(better, seed, days, scale):
    table = rows(better=better, seed=seed, days=days, per_day=6)
    columns = ["y", "prediction", "champion", "naive", "lower", "upper", "champion_lower", "champion_upper"]
    one, other = compare(table), compare(table.assign(**table[columns] * scale))
    assert one.improvement_pct == pytest.approx(better, abs=1e-6)
    assert other.improvement_pct == pytest.approx(one.improvement_pct, abs=1e-6)
    json.dumps(other.as_json(), allow_nan=False)
