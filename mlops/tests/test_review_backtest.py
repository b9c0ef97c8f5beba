"""The hold-out of a challenger as charts and as a table of stores."""

import numpy as np
import pytest

from mlops import backtests, review_backtest
from mlops.charts import Chart, Line
from mlops.models import ModelPolicy
from mlops.review_backtest import Backtest, days_ahead
from mlops.tests.ledger import a_version, rows

pytestmark = pytest.mark.django_db
DAYS = 10


@pytest.fixture
def version(acme):
    """v1, held out for ten days in two stores, s2 with the smaller gain; beside the champion v0 and seasonal naive."""
    made = a_version(acme, "challenger")
    made.decision = {"champion": "v0", "comparison": {"level": 0.9}}
    made.save()
    scored = rows(days=DAYS, per_day=8)
    in_s2 = np.arange(len(scored)) % 2 == 1
    scored.loc[in_s2, "prediction"] = scored["champion"]
    scored["store_id"] = np.where(in_s2, "s2", "s1")
    scored = scored.assign(unique_id="a", origin=scored["ds"].min(), lead=1, scale=1.0)
    for baseline, column in {"": "prediction", "v0": "champion", "seasonal_naive": "naive"}.items():
        table = backtests.results(scored.assign(prediction=scored[column]), None, ModelPolicy())
        backtests.store(made, table, kind="holdout", baseline=baseline)
    return made


def test_each_day_is_drawn_for_all_three(version):
    chart = Backtest(version).by_day()
    assert [line.name for line in chart.lines] == ["v1", "v0", "Seasonal naive"]
    assert len(chart.labels) == DAYS
    assert all(own < theirs < naive for own, theirs, naive in zip(*(line.values for line in chart.lines), strict=True))


def test_the_table_holds_the_numbers_of_the_chart(version):
    table = Backtest(version).by_day().table
    assert table.headers == ["Day", "v1", "v0", "Seasonal naive"]
    assert len(table.rows) == DAYS
    assert table.rows[0][0] == "2026-03-02"


def test_days_ahead_are_named_for_people(version):
    assert Backtest(version).by_horizon().labels == ["1 to 7 days"]


def test_a_version_that_answered_a_drift_was_judged_two_days_ahead(acme):
    version = a_version(acme, "challenger", trigger="drift_detected")
    assert [days_ahead(version, band) for band in ("1", "1-7")] == ["1 day", "1 to 2 days"]


def test_the_store_that_gains_least_comes_first_with_its_interval(version):
    first, second = Backtest(version).stores().rows
    assert (first[0], first[4], first[5]) == ("s2", "the same", "the same")
    assert second[0] == "s1"
    assert second[4] == "10.0 % better"
    assert second[5] == "10.0 % better"


def test_of_many_stores_the_worst_are_shown(version, monkeypatch):
    monkeypatch.setattr(review_backtest, "MOST_STORES", 1)
    table = Backtest(version).stores()
    assert table.title == "By store, the worst 1 of 2"
    assert [row[0] for row in table.rows] == ["s2"]


def test_a_version_without_results_draws_nothing(acme):
    backtest = Backtest(a_version(acme))
    assert not backtest.by_day()
    assert not backtest.by_horizon()
    assert backtest.stores().rows == []


def test_what_is_unknown_is_a_gap_and_a_dash():
    chart = Chart("c", "Error", "Day", "units", ["a", "b"], [Line("v1", [None, 2.0])])
    assert chart.data["lines"][0]["values"] == [None, 2.0]
    assert [row[1] for row in chart.table.rows] == ["–", "2.00"]
