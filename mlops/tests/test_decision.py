"""Every edge of the promotion rule: each number alone decides as the policy says."""

import datetime as dt
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.comparison import Measures, compare
from mlops.decision import Outcome, decide, decide_refresh
from mlops.guards import number
from mlops.models import ModelPolicy, ModelVersion
from mlops.tests.ledger import DAY, a_comparison, a_department, rows

POLICY = ModelPolicy()
Status = ModelVersion.Status


def decision(comparison, champion="v1", **options):
    return decide(comparison, POLICY, as_of=DAY, champion=champion, **options)


# --- The 5 % rule


@pytest.mark.parametrize(
    ("improvement", "outcome", "reason"),
    [
        (5.0, "promote", "promoted: 5.0 % better and all guards pass"),
        (6.14, "promote", "promoted: 6.1 % better and all guards pass"),
        (4.99, "challenger", "kept: 4.99 % better, needs 5 %"),
        (0.8, "challenger", "kept: 0.8 % better, needs 5 %"),
        (0.0, "challenger", "kept: 0.0 % better, needs 5 %"),
        (-1.2, "challenger", "kept: 1.2 % worse, needs 5 % better"),
    ],
)
def test_five_percent_decide(improvement, outcome, reason):
    found = decision(a_comparison(improvement=improvement))
    assert (found.outcome, found.reason) == (outcome, reason)
    assert found.status == (Status.CHAMPION if outcome == "promote" else Status.CHALLENGER)


@pytest.mark.parametrize("champion", [12.8, 0.7, 3.3, 1 / 3, 17.1])
def test_the_noise_of_floats_decides_nothing(champion):
    candidate = champion * 95 / 100
    improvement = (champion - candidate) / champion * 100
    assert decision(a_comparison(improvement=improvement)).outcome is Outcome.PROMOTE


def test_the_policy_sets_the_limit():
    policy = ModelPolicy(min_improvement_pct=8)
    found = decide(a_comparison(improvement=6), policy, as_of=DAY, champion="v1")
    assert found.reason == "kept: 6.0 % better, needs 8 %"
    assert found.thresholds["min_improvement_pct"] == 8


# --- Each guard alone

PASSING_AND_FAILING = {
    "RMSE": ({"candidate_rmse": 3.06}, {"candidate_rmse": 3.0601}),
    "Bias against the champion's": ({"candidate_bias": -0.07}, {"candidate_bias": -0.0701}),
    "Coverage": (
        {"candidate_coverage": {"fast": 0.88, "slow": 0.87}},
        {"candidate_coverage": {"fast": 0.8799, "slow": 0.91}},
    ),
    "Departments": (
        {"departments": (a_department(worse_pct=10.0, lower=2.0, upper=18.0),)},
        {"departments": (a_department(worse_pct=10.1, lower=0.1, upper=18.0),)},
    ),
    "MAPE": ({"candidate_mape": 0.204}, {"candidate_mape": 0.2041}),
    "MAE against seasonal naive": (
        {"naive": Measures(mae=1.8001, rmse=6.0)},
        {"naive": Measures(mae=1.8, rmse=6.0)},
    ),
    "RMSE against seasonal naive": (
        {"naive": Measures(mae=4.0, rmse=3.0001)},
        {"naive": Measures(mae=4.0, rmse=3.0)},
    ),
    "Improvement's lower bound": ({"lower": 0.001}, {"lower": 0.0}),
}
UNKNOWN = {
    "RMSE": {"candidate_rmse": None},
    "Bias against the champion's": {"candidate_bias": None},
    "Coverage": {"candidate_coverage": {"fast": None}},
    "Departments": {"departments": ()},
    "MAPE": {"candidate_mape": None},
    "MAE against seasonal naive": {"naive": Measures(rmse=6.0)},
    "RMSE against seasonal naive": {"naive": Measures(mae=4.0)},
    "Improvement's lower bound": {"lower": None},
}


@pytest.mark.parametrize("guard", PASSING_AND_FAILING)
def test_at_its_limit_a_guard_passes(guard):
    assert decision(a_comparison(**PASSING_AND_FAILING[guard][0])).outcome is Outcome.PROMOTE


@pytest.mark.parametrize("guard", PASSING_AND_FAILING)
def test_each_guard_alone_stops_and_is_named(guard):
    found = decision(a_comparison(**PASSING_AND_FAILING[guard][1]))
    assert (found.outcome, found.status) == (Outcome.PENDING, Status.CHALLENGER)
    assert [one.name for one in found.failed] == [guard]
    assert found.reason == f"10.0 % better, but {found.failed[0].sentence}: a person decides"


@pytest.mark.parametrize("guard", UNKNOWN)
def test_what_is_unknown_never_passes(guard):
    found = decision(a_comparison(**UNKNOWN[guard]))
    assert found.outcome is Outcome.PENDING
    assert guard in [one.name for one in found.failed]
    assert "unknown" in found.reason


def test_the_reason_names_the_guard_with_its_numbers():
    found = decision(a_comparison(improvement=6.1, candidate_rmse=3.102))
    assert found.reason == "6.1 % better, but RMSE is 3.4 % worse (at most 2): a person decides"


def test_no_bias_over_fifteen_points_even_where_the_champions_is_as_bad():
    champion = Measures(mae=2.0, rmse=3.0, mape=0.2, bias=0.16, coverage={"fast": 0.90, "slow": 0.91})
    for bias, passes in [(0.15, True), (-0.15, True), (0.1501, False), (-0.1501, False)]:
        found = decision(a_comparison(champion=champion, candidate_bias=bias))
        assert (found.outcome is Outcome.PROMOTE) is passes
        assert [one.name for one in found.failed] == ([] if passes else ["Bias"])


def test_a_tiny_department_is_not_guarded():
    worse = {"worse_pct": 80.0, "lower": 40.0, "upper": 120.0}
    for units, outcome in [(199.9, Outcome.PROMOTE), (200.0, Outcome.PENDING)]:
        departments = (a_department(), a_department("Toys", units=units, **worse))
        found = decision(a_comparison(departments=departments))
        assert found.outcome is outcome
    assert "MAE in Toys is 80.0 % worse (at most 10)" in found.reason


def test_a_department_that_may_be_no_worse_is_not_held_against_it():
    department = a_department(worse_pct=40.0, lower=0.0, upper=90.0)
    assert decision(a_comparison(departments=(department,))).outcome is Outcome.PROMOTE


def test_a_large_department_that_cannot_be_compared_stops():
    department = a_department(champion_mae=0.0, worse_pct=None, lower=None, upper=None)
    assert "unknown in Dairy" in decision(a_comparison(departments=(department,))).reason


def test_mape_counts_where_half_of_the_actuals_are_above_zero():
    for share, outcome in [(0.5, Outcome.PENDING), (0.4999, Outcome.PROMOTE)]:
        assert decision(a_comparison(positive_share=share, candidate_mape=0.5)).outcome is outcome


def test_coverage_nearer_to_its_target_than_the_champions_passes():
    champion = Measures(mae=2.0, rmse=3.0, mape=0.2, bias=0.0, coverage={"fast": 0.70})
    found = decision(a_comparison(champion=champion, candidate_coverage={"fast": 0.80}))
    assert found.outcome is Outcome.PROMOTE


# --- What is never automatic


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"champion": Measures(mae=0.0, rmse=0.0)}, "v1's MAE is 0"),
        ({"champion": Measures()}, "v1 could not be scored on the same rows"),
        ({"champion": None}, "v1 could not be scored on the same rows"),
        ({"candidate_mae": None}, "its forecasts of the held-out days have gaps"),
    ],
)
def test_an_unknown_improvement_is_never_automatic(changes, words):
    found = decision(a_comparison(improvement=None, **changes))
    assert (found.outcome, found.status) == (Outcome.PENDING, Status.CHALLENGER)
    assert found.reason.endswith(": a person decides")
    assert words in found.reason


def test_an_all_zero_forecast_that_is_better_in_mae_is_stopped():
    rng = np.random.default_rng(0)
    n = 6000
    sold = np.where(rng.random(n) < 0.15, rng.poisson(3, n) + 1.0, 0.0)
    table = rows(days=30, per_day=n // 30).assign(
        y=sold, prediction=0.0, champion=0.95, naive=rng.permutation(sold), band="slow", lower=0.0, upper=4.0,
        champion_lower=0.0, champion_upper=4.0,
    )  # fmt: skip
    found = decision(compare(table))
    assert found.comparison.improvement_pct > 10
    assert found.outcome is Outcome.PENDING
    assert {"RMSE", "Bias"} <= {one.name for one in found.failed}


@pytest.mark.parametrize(("until", "outcome"), [(1, Outcome.PENDING), (0, Outcome.PROMOTE)])
def test_after_a_rollback_nothing_is_promoted_by_itself(until, outcome):
    found = decision(a_comparison(), frozen_until=DAY + dt.timedelta(days=until))
    assert found.outcome is outcome
    assert ("before 2026-03-03 (rollback): a person decides" in found.reason) is (outcome is Outcome.PENDING)


def test_a_freeze_is_no_news_for_what_is_kept_anyway():
    found = decision(a_comparison(improvement=1), frozen_until=DAY + dt.timedelta(days=9))
    assert (found.outcome, found.reason) == (Outcome.CHALLENGER, "kept: 1.0 % better, needs 5 %")


def test_it_is_held_where_promotion_was_not_wished():
    found = decision(a_comparison(), may_promote=False, why_held="--no-promote was given")
    assert (found.outcome, found.status) == (Outcome.CHALLENGER, Status.CHALLENGER)
    assert found.reason == "10.0 % better and all guards pass, but --no-promote was given"


def test_an_experiment_stays_experimental_whatever_the_numbers_say():
    options = {"may_promote": False, "hold_status": Status.EXPERIMENTAL, "why_held": "it is an experiment's"}
    for improvement in (10.0, 1.0):
        found = decision(a_comparison(improvement=improvement), **options)
        assert (found.outcome, found.status) == (Outcome.CHALLENGER, Status.EXPERIMENTAL)


@pytest.mark.parametrize("improvement", [10.0, 1.0, None])
def test_a_new_source_always_asks_a_person(improvement):
    options = {"may_promote": False, "hold_alerts": True, "why_held": "its source is used for the first time"}
    found = decision(a_comparison(improvement=improvement), **options)
    assert (found.outcome, found.status) == (Outcome.PENDING, Status.CHALLENGER)
    assert found.reason.endswith("its source is used for the first time: a person decides")


# --- The first champion


def first(**changes):
    return decision(a_comparison(improvement=None, champion=None, lower=None, departments=(), **changes), champion="")


def test_the_first_candidate_is_promoted_where_it_beats_seasonal_naive():
    found = first(candidate_bias=0.15)
    assert (found.outcome, found.rule) == (Outcome.PROMOTE, "first")
    assert found.reason.startswith("promoted: no champion yet, and MAE is 2, below seasonal naive's 4")


@pytest.mark.parametrize(
    "changes",
    [
        {"candidate_mae": 4.0},
        {"candidate_rmse": 6.0},
        {"candidate_bias": 0.1501},
        {"candidate_bias": -0.1501},
        {"candidate_bias": None},
        {"candidate_mae": None},
        {"naive": Measures()},
    ],
)
def test_the_first_candidate_is_not_promoted_by_less(changes):
    found = first(**changes)
    assert (found.outcome, found.status, len(found.failed) > 0) == (Outcome.PENDING, Status.CHALLENGER, True)
    assert found.reason.startswith("no champion yet, but ")


# --- Refresh


def refresh(comparison, age=29, complete=True):
    since = DAY - dt.timedelta(days=age)
    return decide_refresh(comparison, POLICY, as_of=DAY, champion="v1", champion_since=since, complete=complete)


def test_a_shadow_that_is_no_worse_refreshes_an_old_champion():
    found = refresh(a_comparison(improvement=0.5, lower=-0.9))
    assert (found.outcome, found.rule) == (Outcome.PENDING, "refresh")
    assert found.reason == (
        "refresh: 0.5 % better in shadow, all guards pass, and the champion is 29 days old: a person decides"
    )


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"lower": -1.0}, {}, "(must be above -1)"),
        ({"lower": None}, {}, "unknown"),
        ({"candidate_rmse": 3.2}, {}, "RMSE"),
        ({}, {"age": 28}, "the champion is 28 days old (refreshed after 28)"),
        ({}, {"complete": False}, "its shadow test is not complete"),
        ({"improvement": None}, {}, "unknown"),
    ],
)
def test_a_refresh_is_not_proposed_otherwise(changes, options, words):
    found = refresh(a_comparison(**{"improvement": 0.5, "lower": -0.5, **changes}), **options)
    assert (found.outcome, found.status) == (Outcome.CHALLENGER, Status.CHALLENGER)
    assert words in found.reason


def test_a_shadow_that_clears_the_rule_asks_a_person_at_any_age():
    found = refresh(a_comparison(improvement=5.0), age=3)
    assert (found.outcome, found.rule) == (Outcome.PENDING, "promotion")
    assert found.reason == "the shadow test is 5.0 % better and all guards pass: a person decides"


# --- Invariants

any_number = st.one_of(st.none(), st.floats(-200, 200))


@given(
    improvement=any_number, lower=any_number, rmse=any_number, bias=any_number, share=st.floats(0, 1),
    frozen=st.booleans(), may=st.booleans(), champion=st.sampled_from(["", "v1"]),
)  # fmt: skip
def test_nothing_is_promoted_unless_all_that_must_hold_holds(
    improvement, lower, rmse, bias, share, frozen, may, champion
):
    comparison = a_comparison(
        improvement=improvement, lower=lower, candidate_rmse=rmse, candidate_bias=bias, positive_share=share
    )
    until = DAY + dt.timedelta(days=3) if frozen else None
    found = decision(comparison, champion=champion, may_promote=may, frozen_until=until)
    assert found.reason
    assert (found.outcome is Outcome.PROMOTE) is (found.status is Status.CHAMPION)
    json.dumps(found.as_json(), allow_nan=False)
    if found.outcome is Outcome.PROMOTE:
        assert may
        assert not frozen
        assert not found.failed
        assert improvement >= 5 - 1e-9
        assert lower > 0
        assert abs(bias) <= 0.15 + 1e-9


@given(value=st.floats(-1000, 1000), limit=st.sampled_from([0.0, 2.0, 5.0, 15.0]))
def test_a_number_beside_a_limit_never_reads_as_the_limit_unless_it_is(value, limit):
    text = number(value, limit)
    assert float(text) == pytest.approx(value, abs=0.051)
    if math.isclose(float(text), limit) and text != "0.000000":
        assert abs(value - limit) < 1e-5


def test_the_decision_is_stored_whole():
    stored = decision(a_comparison(candidate_rmse=3.2)).as_json()
    assert stored["champion"] == "v1"
    assert stored["as_of"] == "2026-03-02"
    assert [guard["passed"] for guard in stored["guards"]].count(False) == 1
    assert stored["guards"][0] | {"value": 0} == {
        "name": "RMSE",
        "passed": False,
        "value": 0,
        "limit": 2,
        "sentence": "RMSE is 6.7 % worse (at most 2)",
    }
    assert stored["comparison"]["candidate"]["rmse"] == 3.2
    assert replace(decision(a_comparison()), reason="x").as_json()["reason"] == "x"
