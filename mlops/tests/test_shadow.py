"""The life of a shadow test: who gets one and when, how it is followed and judged, and when its rows are forgotten."""

import datetime as dt

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from alerts.models import MLAlert
from mlops import promotion, shadow
from mlops.decision import decide
from mlops.models import ModelPolicy, ModelRetrainingLog, ModelVersion, ShadowPrediction, ShadowTest
from mlops.promotion import apply, archive, promote, roll_back
from mlops.tests.ledger import DAY, a_comparison, a_version
from mlops.tests.nights import shadow_nights
from mlops.tests.races import at_once

pytestmark = pytest.mark.django_db
SYSTEM = {"by": None, "reason": "by rule", "as_of": DAY}
DAIRY = "department:Dairy"
ALERTS = ["shadow_test_complete", "promotion_pending"]


def day(number):
    return DAY + dt.timedelta(days=number)


def started(customer, as_of=DAY):
    return [test.version.version for test in shadow.start(customer, as_of)]


def told(customer):
    return list(MLAlert.objects.filter(customer=customer).order_by("pk").values_list("alert_type", flat=True))


def statuses(*versions):
    return [ModelVersion.objects.get(pk=version.pk).status for version in versions]


def a_drift_challenger(customer):
    run = ModelRetrainingLog.objects.create(customer=customer, trigger_type="drift_detected", as_of=DAY)
    version = a_version(customer, "challenger")
    ModelVersion.objects.filter(pk=version.pk).update(run=run)
    return version


def an_alert(version, alert_type="promotion_pending"):
    about = {"customer": version.customer, "model_name": version.model_name, "version": version.version}
    return MLAlert.objects.create(alert_type=alert_type, severity="warning", requires_action=True, title="?", **about)


def dismissed(customer, alert_type):
    MLAlert.objects.filter(customer=customer, alert_type=alert_type).update(status="dismissed", decision="dismissed")


def arrives(customer, *, scheduled=True):
    """A new candidate that is 1 % better than v1."""
    made = decide(a_comparison(improvement=1.0), ModelPolicy(), as_of=DAY, champion="v1")
    return apply(made, a_version(customer), by=None, as_of=DAY, scheduled=scheduled)


@pytest.fixture
def champion(acme):
    return a_version(acme, "champion")


@pytest.fixture
def test(acme, champion):
    """The test of v2, a challenger, from 2 March on."""
    a_version(acme, "challenger")
    return shadow.start(acme, DAY)[0]


def judged(test, days=14, **options):
    """The test after so many nights, which were scored on the morning after the last."""
    shadow_nights(test, days, **{"per_day": 6, **options})
    [done] = shadow.evaluate_due(test.customer, test.started_on + dt.timedelta(days=days))
    return done


# --- Who begins


def test_challengers_and_experimental_versions_begin_and_no_other(acme, champion):
    for status in ["candidate", "challenger", "experimental", "archived"]:
        a_version(acme, status)
    assert started(acme) == ["v3", "v4"]
    test = shadow.running(acme).get(version__version="v3")
    assert (test.started_on, test.target_days, test.status) == (DAY, 14, "running")


def test_it_takes_the_policys_days_and_begins_once(acme, champion):
    ModelPolicy.objects.filter(pk=ModelPolicy.of(acme).pk).update(shadow_days=10)
    a_version(acme, "challenger")
    assert [test.target_days for test in shadow.start(acme, DAY)] == [10]
    assert started(acme, day(1)) == []
    assert ShadowTest.objects.get().started_on == DAY


def test_a_night_that_is_made_up_for_begins_no_test_before_its_version_was_trained(acme, champion):
    a_version(acme, "challenger", as_of=day(3))
    assert [test.started_on for test in shadow.start(acme, day(1))] == [day(3)]


def test_without_a_champion_to_run_beside_a_version_waits(acme):
    waiting = a_version(acme, "challenger"), a_version(acme, "challenger", segment=DAIRY)
    assert started(acme) == []
    a_version(acme, "champion")
    assert sorted(started(acme, day(1))) == [one.version for one in waiting]


def test_three_at_once_in_each_segment_the_oldest_first(acme, champion):
    for segment in ["global", DAIRY]:
        for _ in range(4):
            a_version(acme, "challenger", segment=segment)
    assert started(acme) == ["v6_dairy", "v7_dairy", "v8_dairy", "v2", "v3", "v4"]
    assert started(acme, day(1)) == []
    archive(ModelVersion.objects.get(version="v3"), **SYSTEM)
    assert started(acme, day(2)) == ["v5"]


def test_what_drift_asked_for_goes_first(acme, champion):
    for _ in range(3):
        a_version(acme, "challenger")
    a_drift_challenger(acme)
    assert started(acme, day(1)) == ["v5", "v2", "v3"]


def test_what_drift_asked_for_begins_the_night_after_though_its_day_is_done_again(acme, champion):
    a_drift_challenger(acme)
    assert [started(acme, DAY), started(acme, DAY), started(acme, day(1))] == [[], [], ["v2"]]


@pytest.mark.parametrize("alert_type", ["promotion_pending", "drift_detected"])
def test_an_open_decision_takes_room_until_it_is_made(alert_type, acme, test):
    judged(test, better=0)
    an_alert(test.version, alert_type)
    for _ in range(3):
        a_version(acme, "challenger")
    assert (started(acme, day(14)), started(acme, day(15))) == (["v3", "v4"], [])
    dismissed(acme, alert_type)
    assert started(acme, day(16)) == ["v5"]


def test_another_customers_versions_take_no_room(acme, champion, globex):
    a_version(globex, "champion")
    for customer in [globex, globex, globex, acme]:
        a_version(customer, "challenger")
    assert started(acme) == ["v2"]
    assert len(started(globex)) == 3
    assert [test.version.customer for test in shadow.running(acme)] == [acme]


# --- Who gives way


def test_a_scheduled_challenger_without_room_is_archived_with_that_reason(acme, test):
    judged(test, better=10)
    a_version(acme, "challenger")
    shadow.start(acme, day(14))
    a_version(acme, "challenger")
    newcomer = arrives(acme)
    assert newcomer.events.last().reason == (
        "kept: 1.0 % better, needs 5; archived, as there is no room in shadow (at most 3): "
        "v3 is in it, v2 awaits a decision, v4 is next"
    )
    assert (newcomer.status, statuses(test.version)) == ("archived", ["challenger"])


def test_a_challenger_that_has_had_its_turn_is_superseded(acme, test):
    judged(test, better=0)
    newcomer = arrives(acme)
    test.version.refresh_from_db()
    alert = MLAlert.objects.get(alert_type="shadow_test_complete")
    assert (newcomer.status, test.version.status) == ("challenger", "archived")
    assert test.version.events.last().reason == "superseded by v3: its shadow found no case"
    assert (alert.status, alert.notes) == ("dismissed", "superseded by v3: its shadow found no case")
    assert ShadowTest.objects.get().verdict == "keep"


def test_it_is_said_what_its_shadow_came_to(acme, test):
    judged(test, better=10)
    dismissed(acme, "promotion_pending")
    arrives(acme, scheduled=False)
    assert test.version.events.last().reason == "superseded by v3: nobody took up the case that its shadow made"


@pytest.mark.parametrize("state", ["waiting", "running", "asking", "experimental"])
def test_whoever_has_something_to_wait_for_is_never_superseded(state, acme, champion):
    old = a_version(acme, "experimental" if state == "experimental" else "challenger")
    if state != "waiting":
        test = shadow.start(acme, DAY)[0]
    if state in ("asking", "experimental"):
        judged(test, better=10)
    assert arrives(acme).status == "challenger"
    assert statuses(old) == [old.status]


def test_a_newcomer_that_is_put_away_or_promoted_supersedes_nobody(acme, test):
    judged(test, better=0)
    a_version(acme, "archived")
    promote(a_version(acme), **SYSTEM)
    assert statuses(test.version) == ["challenger"]


def test_a_challenger_of_another_segment_supersedes_nobody(acme, test):
    judged(test, better=0)
    a_version(acme, "challenger", segment=DAIRY)
    assert statuses(test.version) == ["challenger"]


# --- Who leaves


@pytest.mark.parametrize("leave", [promote, archive])
def test_who_is_promoted_or_archived_leaves_the_shadow(leave, acme, test):
    leave(test.version, **(SYSTEM | {"as_of": day(3)}))
    test.refresh_from_db()
    assert (test.status, test.completed_on, test.verdict) == ("cancelled", day(3), "")
    assert not shadow.running(acme).exists()
    assert shadow.evaluate_due(acme, day(30)) == []


def test_a_test_that_is_over_stays_as_it_was(acme, champion, test):
    judged(test)
    promote(test.version, **SYSTEM)
    roll_back(champion, **SYSTEM)
    test.refresh_from_db()
    assert (test.status, test.completed_on) == ("completed", day(14))


def test_another_promotion_lets_the_others_go_on(acme, test):
    promote(a_version(acme), **SYSTEM)
    test.refresh_from_db()
    assert test.status == "running"


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


def test_a_day_that_has_not_passed_is_not_counted(acme, test):
    shadow_nights(test, 14, per_day=2)
    assert shadow.evaluate_due(acme, day(13)) == []
    test.refresh_from_db()
    assert (test.days, test.samples) == (13, 26)
    assert [one.version.version for one in shadow.evaluate_due(acme, day(14))] == ["v2"]


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
def test_of_six_that_begin_at_once_no_more_begin_than_there_is_room(acme, champion):
    for _ in range(5):
        a_version(acme, "challenger")
    done = at_once(lambda _: started(acme), range(6))
    assert sorted(name for names in done for name in names) == ["v2", "v3", "v4"]
    assert shadow.running(acme).count() == 3


@pytest.mark.django_db(transaction=True)
def test_judging_and_promoting_at_once_agree_on_what_came_first(acme, test):
    shadow_nights(test, 14, per_day=6, better=10)
    works = [lambda: promote(test.version, **SYSTEM), lambda: shadow.evaluate_due(acme, day(14))] * 2
    done = at_once(lambda work: work(), works)
    test.refresh_from_db()
    assert statuses(test.version) == ["champion"]
    assert [type(one).__name__ for one in done if isinstance(one, Exception)] == ["WrongStatus"]
    assert (test.status, told(acme)) in [("cancelled", []), ("completed", ALERTS)]


@pytest.mark.django_db(transaction=True)
def test_challengers_that_arrive_at_once_supersede_one_another_in_no_deadlock(acme, test):
    judged(test, better=0)
    done = at_once(lambda _: arrives(acme), range(4))
    assert sorted(one.status for one in done) == ["archived", "challenger", "challenger", "challenger"]
    assert statuses(test.version) == ["archived"]


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
