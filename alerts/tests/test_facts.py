"""Metadata are read as words and figures, never as code."""

from alerts.facts import facts, message
from alerts.models import MLAlert


def told(**metadata):
    return dict(facts(MLAlert(metadata=metadata)))


def test_the_facts_of_a_drift_can_be_read():
    assert told(
        model_name="demand_forecast",
        new_version="v13",
        baseline_mae=12.8,
        recent_mae=18.5,
        drift_pct=44.53125,
        rows=123456,
        suggested_verdict="calendar_or_level",
    ) == {
        "New version": "v13",
        "Baseline MAE": "12.8 units",
        "Recent MAE": "18.5 units",
        "Drift": "44.5 %",
        "Rows": "123,456",
        "Suggested verdict": "The calendar or the level of sales",
    }


def test_what_is_unknown_is_left_out():
    assert told(lower=None, upper="", failed_guards=[], dossier={}, drift_pct=0.0) == {"Drift": "0.00 %"}


def test_lists_and_parts_are_told_in_words():
    assert told(
        failed_guards=["RMSE", "department_mae"],
        is_planted=True,
        dossier={"days_missing": 2, "price_changes_pct": 3.5},
        departments=[{"name": "Dairy", "mae": 2.0}, {"name": "Bakery", "mae": 1.0}],
    ) == {
        "Failed guards": "RMSE, department mae",
        "Is planted": "yes",
        "Dossier: days missing": "2",
        "Dossier: price changes": "3.50 %",
        "Departments": "Name: Dairy; MAE: 2.00 units, Name: Bakery; MAE: 1.00 units",
    }


def test_numbers_have_their_units():
    assert told(champion_mae=1.64, improvement_pct=-1.174, lower=-2.15, upper=-0.365, coverage=0.843) == {
        "Champion MAE": "1.64 units",
        "Improvement": "-1.17 %",
        "Lower bound": "-2.15 %",
        "Upper bound": "-0.365 %",
        "Coverage": "84.3 %",
    }


def test_a_message_begins_like_a_sentence_and_a_version_keeps_its_name():
    assert message(MLAlert(message="kept: 1.2 % worse in shadow")) == "Kept: 1.2 % worse in shadow"
    assert message(MLAlert(message="v2 has completed it")) == "v2 has completed it"


def test_names_stay_as_they_are():
    assert told(new_versions=["v13_electronics"], champion="v9", at="Fish & Meat") == {
        "New versions": "v13_electronics",
        "Champion": "v9",
        "At": "Fish & Meat",
    }
