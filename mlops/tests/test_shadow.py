"""The life of a shadow test: how it is followed and judged, and when its rows are forgotten."""

import datetime as dt

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from alerts.models import MLAlert
from mlops import promotion, shadow
from mlops.models import ModelRetrainingLog, ModelVersion, ShadowPrediction, ShadowTest
from mlops.promotion import archive, promote
from mlops.tests.ledger import DAY, a_version
from mlops.tests.nights import day, judged, shadow_nights
from mlops.tests.races import at_once

pytestmark = pytest.mark.django_db
SYSTEM = {"by": None, "reason": "by rule", "as_of": DAY}
DAIRY = "department:Dairy"
ALERTS = ["shadow_test_complete", "promotion_pending"]


def told(customer):
    return list(MLAlert.objects.filter(customer=customer).order_by("pk").values_list("alert_type", flat=True))


def statuses(*versions):
    return [ModelVersion.objects.get(pk=version.pk).status for version in versions]


@pytest.fixture
def champion(acme):
    return a_version(acme, "champion")


@pytest.fixture
def test(acme, champion):
    """The test of v2, a challenger, from 2 March on."""
    a_version(acme, "challenger")
    return shadow.start(acme, DAY)[0]


# --- Progress


def test_days_and_rows_with_their_actual_are_counted_zero_sale_days_too(acme, test):
    shadow_nights(test, 2, per_day=5)
    shadow_nights(test, 1, first=day(2), per_day=5, actual=0.0, off=0.5)
    shadow_nights(test, 1, first=day(3), per_day=5, known=False)
    shadow_nights(test, 1, first=day(4), per_day=5)
    ShadowPrediction.objects.filter(forecast_date=day(4), product_id__in=["p0", "p1"]).update(actual_demand=None)
    assert shadow.evaluate_due(acme, day(5)) == []
    test.refresh_from_db()
    assert (test.days, test.samples, test.status) == (4, 18, "running")


def test_a_day_that_has_not_passed_does_not_count(acme, test):
    shadow_nights(test, 14, per_day=2)
    assert shadow.evaluate_due(acme, day(13)) == []
    assert [one.version.version for one in shadow.evaluate_due(acme, day(14))] == ["v2"]


def test_a_night_long_past_leaves_what_later_ones_counted(acme, test):
    shadow_nights(test, 5, per_day=2)
    for night in (5, 2, 0):
        shadow.evaluate_due(acme, day(night))
        test.refresh_from_db()
        assert (test.days, test.samples) == (5, 10)


def test_a_day_whose_sales_are_missing_after_all_counts_no_more(acme, test):
    shadow_nights(test, 5, per_day=2)
    shadow.evaluate_due(acme, day(5))
    ShadowPrediction.objects.filter(forecast_date=day(4)).update(actual_demand=None)
    shadow.evaluate_due(acme, day(5))
    test.refresh_from_db()
    assert (test.days, test.samples) == (4, 8)


def test_each_test_counts_its_own_rows(acme, test, globex):
    a_version(globex, "champion")
    a_version(globex, "challenger")
    [other] = shadow.start(globex, DAY)
    shadow_nights(test, 3, per_day=2)
    shadow_nights(other, 5, per_day=4)
    shadow.evaluate_due(acme, day(9))
    assert list(ShadowTest.objects.order_by("pk").values_list("days", "samples")) == [(3, 6), (0, 0)]


# --- Verdict


def test_a_better_challenger_asks_to_be_promoted(acme, test):
    done = judged(test, better=10)
    assert (done.status, done.verdict, done.completed_on) == ("completed", "promote", day(14))
    assert (done.days, done.samples) == (14, 84)
    assert done.improvement_pct == pytest.approx(10)
    assert done.challenger_mae == pytest.approx(done.champion_mae * 0.9)
    assert done.lower > 0
    assert done.result["reason"] == "the shadow test is 10.0 % better and all guards pass: a person decides"
    assert told(acme) == ALERTS


def test_both_alerts_lead_to_the_review_and_say_why(acme, test):
    done = judged(test, better=10)
    complete, pending = MLAlert.objects.order_by("pk")
    for alert in (complete, pending):
        assert (alert.version, alert.segment, alert.action_url) == ("v2", "global", "/models/review/v2")
        assert alert.message == done.result["reason"]
        assert alert.metadata["champion"] == "v1"
    assert (complete.severity, pending.severity) == ("info", "warning")
    numbers = {"days": 14, "samples": 84, "verdict": "promote", "improvement_pct": done.improvement_pct}
    assert complete.metadata | numbers == complete.metadata


def test_what_the_nights_noted_stays_in_the_result(acme, test):
    ShadowTest.objects.update(result={"latency_ms_per_1000": {"champion": 1.0, "challenger": 2.0}})
    result = judged(test, better=10).result
    assert (result["latency_ms_per_1000"]["challenger"], result["verdict"]) == (2.0, "promote")


def test_a_refresh_of_an_old_champion_says_refresh(acme, test):
    ModelVersion.objects.filter(version="v1").update(champion_since=DAY - dt.timedelta(days=15))
    done = judged(test, better=1)
    assert done.verdict == "refresh"
    pending = MLAlert.objects.get(alert_type="promotion_pending")
    assert pending.message == (
        "refresh: 1.0 % better in shadow, all guards pass, and the champion is 29 days old: a person decides"
    )
    assert pending.metadata["rule"] == "refresh"


def test_no_case_is_told_and_asks_nothing(acme, test):
    done = judged(test, better=1)
    assert (done.verdict, told(acme)) == ("keep", ALERTS[:1])
    assert MLAlert.objects.get().message == done.result["reason"]
    assert done.result["reason"].endswith("the champion is 14 days old (refreshed after 28)")


@pytest.mark.parametrize("naive", [None, F("actual_demand")])
def test_what_is_not_known_to_beat_seasonal_naive_has_no_case(naive, acme, test):
    shadow_nights(test, 14, per_day=6, better=10)
    ShadowPrediction.objects.update(seasonal_naive=naive)
    [done] = shadow.evaluate_due(acme, day(14))
    assert done.verdict == "keep"
    assert "seasonal naive" in done.result["reason"]


def test_a_feed_with_gaps_ends_the_test_with_too_few_days_to_tell(acme, test):
    shadow_nights(test, 9, per_day=6, better=10)
    assert shadow.evaluate_due(acme, day(20)) == []
    [done] = shadow.evaluate_due(acme, day(21))
    assert (done.verdict, done.days, told(acme)) == ("extend", 9, ALERTS[:1])
    assert done.result["reason"].startswith("extend: only 9 of 14 days could be scored, too few to tell; 10.0 %")


def test_without_enough_days_it_goes_on(acme, test):
    shadow_nights(test, 6, per_day=6)
    assert shadow.evaluate_due(acme, day(41)) == []
    shadow_nights(test, 1, first=day(41), per_day=6)
    assert [one.verdict for one in shadow.evaluate_due(acme, day(61))] == ["extend"]


def test_rows_are_compared_with_whoever_served_on_each_day(acme, test):
    later = promote(a_version(acme), **SYSTEM)
    shadow_nights(test, 10, per_day=6, champion=ModelVersion.objects.get(version="v1"), off=2.0)
    shadow_nights(test, 4, first=day(10), per_day=6, champion=later, off=1.0)
    [done] = shadow.evaluate_due(acme, day(14))
    assert done.result["champion"] == "v3"
    assert done.result["reason"].endswith("(compared with v1 on 10 days, v3 on 4 days)")
    assert [(one["version"], one["samples"]) for one in done.result["served"]] == [("v1", 60), ("v3", 24)]
    errors = [abs(row.champion_prediction - row.actual_demand) for row in ShadowPrediction.objects.all()]
    assert done.champion_mae == pytest.approx(sum(errors) / len(errors))


def test_only_its_own_segments_rows_are_compared(acme, champion):
    a_version(acme, "experimental", segment=DAIRY)
    [test] = shadow.start(acme, DAY)
    done = judged(test, better=22)
    assert (done.verdict, done.result["champion"], done.result["served"][0]["version"]) == ("promote", "", "v1")
    assert done.result["reason"].endswith(": the experiment decides")
    assert told(acme) == ALERTS[:1]
    assert MLAlert.objects.get().action_url == "/models/review/v2_dairy"


def test_an_experimental_version_leads_to_its_experiment(acme, champion):
    version = a_version(acme, "experimental")
    run = ModelRetrainingLog.objects.create(
        customer=acme, trigger_type="experiment", as_of=DAY, trigger_metadata={"experiment_id": "exp-456"}
    )
    ModelVersion.objects.filter(pk=version.pk).update(run=run)
    judged(shadow.start(acme, DAY)[0], better=10)
    alert = MLAlert.objects.get()
    assert (alert.action_url, alert.metadata["experiment_id"]) == ("/experiments/exp-456/results", "exp-456")


# --- Once


def test_it_is_judged_once(acme, test):
    done = judged(test, better=10)
    ShadowPrediction.objects.update(actual_demand=100)
    assert shadow.evaluate_due(acme, day(14)) == shadow.evaluate_due(acme, day(15)) == []
    test.refresh_from_db()
    assert (test.improvement_pct, told(acme)) == (done.improvement_pct, ALERTS)


def test_a_crash_leaves_it_to_be_judged_again(acme, test, monkeypatch):
    def crash(*_args):
        raise RuntimeError("the power went out")

    shadow_nights(test, 14, per_day=6, better=10)
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "ask_a_person", crash)
        with pytest.raises(RuntimeError):
            shadow.evaluate_due(acme, day(14))
    test.refresh_from_db()
    assert (test.status, test.verdict, told(acme)) == ("running", "", [])
    assert [one.verdict for one in shadow.evaluate_due(acme, day(14))] == ["promote"]
    assert told(acme) == ALERTS


@pytest.mark.django_db(transaction=True)
def test_of_six_that_judge_at_once_one_does(acme, test):
    shadow_nights(test, 14, per_day=6, better=10)
    done = at_once(lambda _: shadow.evaluate_due(acme, day(14)), range(6))
    assert sorted(len(one) for one in done) == [0, 0, 0, 0, 0, 1]
    assert told(acme) == ALERTS


@pytest.mark.django_db(transaction=True)
def test_judging_and_promoting_at_once_agree_on_what_came_first(acme, test):
    shadow_nights(test, 14, per_day=6, better=10)
    works = [lambda: promote(test.version, **SYSTEM), lambda: shadow.evaluate_due(acme, day(14))] * 2
    done = at_once(lambda work: work(), works)
    test.refresh_from_db()
    assert statuses(test.version) == ["champion"]
    assert [type(one).__name__ for one in done if isinstance(one, Exception)] == ["WrongStatus"]
    assert (test.status, told(acme)) in [("cancelled", []), ("completed", ALERTS)]


# --- Retention


def test_rows_are_forgotten_after_their_time_and_the_verdict_stays(acme, test):
    judged(test, better=10)
    last_kept = day(14 + 180)
    assert shadow.prune(acme, last_kept) == 0
    assert shadow.prune(acme, last_kept + dt.timedelta(days=1), rows_at_once=20) == 84
    assert not ShadowPrediction.objects.exists()
    assert ShadowTest.objects.get().verdict == "promote"
    assert shadow.prune(acme, day(400)) == 0


def test_rows_of_cancelled_tests_are_forgotten_and_of_running_ones_kept(acme, test):
    a_version(acme, "challenger")
    [other] = shadow.start(acme, DAY)
    for one in (test, other):
        shadow_nights(one, 2, per_day=3)
    archive(test.version, **SYSTEM)
    assert shadow.prune(acme, day(900), rows_at_once=6) == 6
    assert {row.version for row in ShadowPrediction.objects.all()} == {other.version}


def test_another_customers_rows_are_kept(acme, test, globex):
    judged(test)
    assert shadow.prune(globex, day(900)) == 0
    assert ShadowPrediction.objects.count() == 84


# --- The specification's own question

SQL = """
SELECT
    AVG(ABS(champion_prediction - actual_demand)) AS champion_mae,
    AVG(ABS(challenger_prediction - actual_demand)) AS challenger_mae,
    COUNT(*) AS samples
FROM shadow_predictions
WHERE
    created_at >= NOW() - INTERVAL '14 days'
    AND forecast_date <= NOW() - INTERVAL '1 day';  -- Only compare actuals available
"""


@pytest.mark.postgresql
def test_the_specifications_sql_runs_unchanged_and_agrees(acme, champion):
    a_version(acme, "challenger")
    today = timezone.now().date()
    [test] = shadow.start(acme, today - dt.timedelta(days=14))
    shadow_nights(test, 1, first=today, per_day=6, known=False)
    done = judged(test, better=10.2)
    shadow_nights(test, 1, first=today - dt.timedelta(days=20), per_day=6)
    long_ago = ShadowPrediction.objects.filter(forecast_date=today - dt.timedelta(days=20))
    long_ago.update(created_at=timezone.now() - dt.timedelta(days=15))
    with connection.cursor() as cursor:
        cursor.execute(SQL)
        champion_mae, challenger_mae, samples = cursor.fetchone()
    assert (champion_mae, challenger_mae) == pytest.approx((done.champion_mae, done.challenger_mae))
    assert samples == done.samples == 84
