"""Who has room in shadow: who begins and when, who gives way to whom, and who leaves."""

import pytest

from alerts.models import MLAlert
from mlops import shadow
from mlops.decision import decide
from mlops.models import ModelPolicy, ModelRetrainingLog, ModelVersion, ShadowTest
from mlops.promotion import apply, archive, promote, roll_back
from mlops.tests.ledger import DAY, a_comparison, a_version
from mlops.tests.nights import day, judged
from mlops.tests.races import at_once

pytestmark = pytest.mark.django_db
SYSTEM = {"by": None, "reason": "by rule", "as_of": DAY}
DAIRY = "department:Dairy"


def started(customer, as_of=DAY):
    return [test.version.version for test in shadow.start(customer, as_of)]


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
        "kept: 1.0 % better, needs 5 %; archived, as there is no room in shadow (at most 3): "
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


# --- At once


@pytest.mark.django_db(transaction=True)
def test_of_six_that_begin_at_once_no_more_begin_than_there_is_room(acme, champion):
    for _ in range(5):
        a_version(acme, "challenger")
    done = at_once(lambda _: started(acme), range(6))
    assert sorted(name for names in done for name in names) == ["v2", "v3", "v4"]
    assert shadow.running(acme).count() == 3


@pytest.mark.django_db(transaction=True)
def test_challengers_that_arrive_at_once_supersede_one_another_in_no_deadlock(acme, test):
    judged(test, better=0)
    done = at_once(lambda _: arrives(acme), range(4))
    assert sorted(one.status for one in done) == ["archived", "challenger", "challenger", "challenger"]
    assert statuses(test.version) == ["archived"]
