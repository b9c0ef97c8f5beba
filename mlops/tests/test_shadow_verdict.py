"""What a shadow test comes to, from its numbers alone: every edge of when and what."""

import datetime as dt
import json
from types import SimpleNamespace

import pytest

from mlops.comparison import Measures
from mlops.decision import Outcome
from mlops.models import ModelPolicy, ModelVersion
from mlops.shadow_verdict import Served, Verdict, is_due, judge
from mlops.tests.ledger import DAY, a_comparison, a_department

POLICY = ModelPolicy()
V12 = Served("v12", 14, 560, DAY, DAY + dt.timedelta(days=13))


def due(days, elapsed, target_days=14):
    as_of = DAY + dt.timedelta(days=elapsed)
    return is_due(days, target_days=target_days, started_on=DAY, as_of=as_of, policy=POLICY)


def found(*, days=14, age=29, status="challenger", champion="v12", served=(V12,), **changes):
    present = champion and SimpleNamespace(version=champion, champion_since=DAY - dt.timedelta(days=age))
    return judge(
        a_comparison(days=days, **changes),
        POLICY,
        as_of=DAY,
        status=ModelVersion.Status(status),
        champion=present or None,
        target_days=14,
        served=served,
    )


# --- When


@pytest.mark.parametrize(
    ("days", "elapsed", "expected"),
    [
        (13, 14, False),
        (14, 14, True),
        (15, 16, True),
        (13, 20, False),
        (13, 21, True),
        (7, 21, True),
        (6, 21, False),
        (6, 41, False),
        (6, 42, True),
        (0, 42, True),
        (0, 21, False),
    ],
)
def test_it_is_judged_with_all_its_days_or_after_a_week_more_with_enough_of_them(days, elapsed, expected):
    assert due(days, elapsed) is expected


def test_a_test_keeps_the_target_that_it_began_with():
    assert due(10, 10, target_days=10)
    assert not due(10, 10, target_days=14)


# --- What


def test_exactly_five_percent_with_every_guard_passed_asks_to_be_promoted():
    finding = found(improvement=5.0)
    assert (finding.verdict, finding.asks_a_person) == (Verdict.PROMOTE, True)
    assert finding.decision.reason == "the shadow test is 5.0 % better and all guards pass: a person decides"


def test_less_than_five_percent_does_not():
    finding = found(improvement=4.999, age=28)
    assert (finding.verdict, finding.asks_a_person) == (Verdict.KEEP, False)
    assert finding.decision.reason.startswith("kept: 4.999 % better in shadow")


def test_an_old_champion_is_refreshed_by_one_that_is_no_worse():
    finding = found(improvement=0.2, lower=-0.99)
    assert (finding.verdict, finding.asks_a_person, finding.decision.rule) == (Verdict.REFRESH, True, "refresh")
    assert finding.decision.reason == (
        "refresh: 0.2 % better in shadow, all guards pass, and the champion is 29 days old: a person decides"
    )


def test_much_better_but_only_by_chance_may_still_refresh():
    assert found(improvement=6.0, lower=-0.5).verdict is Verdict.REFRESH


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lower": -1.0}, "(must be above -1)"),
        ({"lower": None}, "the interval of the improvement is unknown"),
        ({"age": 28}, "the champion is 28 days old (refreshed after 28)"),
        ({"champion": ""}, "refreshed after 28"),
        ({"candidate_rmse": 3.1}, "RMSE is 3.3 % worse (at most 2)"),
        ({"candidate_bias": 0.08}, "the bias is 6.0 points worse (at most 5)"),
        ({"candidate_bias": -0.16}, "the bias is 16.0 points too low (at most 15)"),
        ({"candidate_bias": 0.16}, "the bias is 16.0 points too high (at most 15)"),
        ({"candidate_coverage": {"fast": 0.87, "slow": 0.9}}, "the coverage of fast sellers is 87.0 %"),
        ({"candidate_coverage": {}}, "the coverage is unknown"),
        ({"departments": (a_department(worse_pct=11.0, lower=1.0),)}, "MAE in Dairy is 11.0 % worse"),
        ({"candidate_mape": 0.21}, "MAPE is 5.0 % worse (at most 2)"),
        ({"naive": Measures(mae=1.9, rmse=6.0)}, "not below seasonal naive's 1.9"),
        ({"naive": Measures(mae=4.0, rmse=2.9)}, "RMSE is 3, not below seasonal naive's 2.9"),
        ({"naive": Measures()}, "MAE against seasonal naive is unknown"),
        ({"improvement": None}, "kept: the improvement in shadow is unknown"),
    ],
)
def test_there_is_no_case_where_a_guard_stops_it(changes, words):
    finding = found(**{"improvement": 1.0, **changes})
    assert (finding.verdict, finding.asks_a_person) == (Verdict.KEEP, False)
    assert words in finding.decision.reason


@pytest.mark.parametrize("changes", [{"candidate_rmse": 3.1}, {"naive": Measures()}, {"candidate_bias": 0.2}])
def test_five_percent_with_a_failed_guard_is_no_case(changes):
    assert found(improvement=9.0, **changes).verdict is Verdict.KEEP


@pytest.mark.parametrize(("days", "verdict"), [(13, Verdict.EXTEND), (14, Verdict.PROMOTE)])
def test_a_case_needs_all_its_days(days, verdict):
    assert found(improvement=10.0, days=days).verdict is verdict


def test_too_few_days_are_said_so():
    finding = found(improvement=-3.21, days=9)
    assert not finding.asks_a_person
    assert finding.decision.reason == ("extend: only 9 of 14 days could be scored, too few to tell; 3.2 % worse so far")
    assert found(improvement=None, days=9).decision.reason.endswith("too few to tell; the improvement is unknown")


# --- Experimental versions


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"improvement": 10.0}, Verdict.PROMOTE, "the shadow test is 10.0 % better and all guards pass"),
        ({"improvement": 0.2, "lower": -0.5}, Verdict.KEEP, "0.2 % better in shadow, all guards pass, and"),
        ({"improvement": 1.0, "lower": -2.0}, Verdict.KEEP, "kept: 1.0 % better in shadow, and the lower bound"),
        ({"days": 8}, Verdict.EXTEND, "extend: only 8 of 14 days"),
    ],
)
def test_an_experimental_version_waits_for_its_experiment(changes, verdict, reason):
    finding = found(status="experimental", **changes)
    assert (finding.verdict, finding.asks_a_person, finding.decision.outcome) == (verdict, False, Outcome.CHALLENGER)
    assert finding.decision.reason.startswith(reason)
    assert finding.decision.reason.endswith(": the experiment decides")
    assert finding.decision.status == "experimental"


# --- Who served


def test_a_champion_that_changed_during_the_test_is_named():
    day = dt.timedelta(days=1)
    served = (Served("v12", 13, 520, DAY, DAY + 12 * day), Served("v14", 1, 40, DAY + 13 * day, DAY + 13 * day))
    finding = found(improvement=10.0, champion="v14", served=served)
    assert finding.decision.champion == "v14"
    assert finding.decision.reason == (
        "the shadow test is 10.0 % better and all guards pass: a person decides "
        "(compared with v12 on 13 days, v14 on 1 day)"
    )


def test_the_finding_is_stored_whole():
    stored = json.loads(json.dumps(found(improvement=10.0).as_json(), allow_nan=False))
    assert stored["verdict"] == "promote"
    assert stored["served"] == [
        {"version": "v12", "days": 14, "samples": 560, "first_day": "2026-03-02", "last_day": "2026-03-15"}
    ]
    assert len(stored["guards"]) == 9
    assert stored["comparison"]["days"] == 14
    assert stored["reason"] == found(improvement=10.0).decision.reason
