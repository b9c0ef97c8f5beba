"""Two people decide at once, one through the alert and one through the review: one wins, the other is told who."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from alerts import acting
from alerts.acting import act
from alerts.alerting import raise_alert
from alerts.models import MLAlert
from alerts.reading import mark_read
from mlops import promotion, review
from mlops.models import ModelPolicy, ModelVersion, VersionEvent
from mlops.review import review as decide
from mlops.tests.ledger import DAY, a_comparison, a_version
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db(transaction=True)
TURNS = range(4)
Type = MLAlert.Type


def at_once(*works):
    """Runs them in threads of their own, all let go together; what each returned, or the refusal that it raised."""
    start = Barrier(len(works))

    def one(work):
        start.wait()
        try:
            return work()
        except Refusal as refusal:
            return refusal
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """Those of reviews, whatever else the apps have registered."""
    monkeypatch.setattr(acting, "_handlers", {})
    review.register()


@pytest.fixture
def pending(acme):
    """Makes a challenger that awaits a decision, with its alert."""
    a_version(acme, "champion")

    def make():
        champion = ModelVersion.objects.champion_for(acme)
        worse_rmse = a_comparison(improvement=6.1, candidate_rmse=3.5)
        decision = promotion.decide(worse_rmse, ModelPolicy(), as_of=DAY, champion=champion.version)
        version = promotion.apply(decision, a_version(acme), by=None, as_of=DAY)
        return version, MLAlert.objects.get(version=version.version)

    return make


def refusals(done):
    return [str(one) for one in done if isinstance(one, Refusal)]


def outcome(version, alert):
    version.refresh_from_db()
    alert.refresh_from_db()
    return version.status, alert.decision


@pytest.mark.parametrize("turn", TURNS)
def test_of_approving_and_rejecting_one_is_done_and_the_other_told_who_was_first(turn, pending, bob, root):
    version, alert = pending()
    works = [
        lambda: act(alert, "approve", by=bob, notes="better"),
        lambda: decide(version, "reject", by=root, notes="worse in Dairy"),
    ]
    [told] = refusals(at_once(*works[:: 1 if turn % 2 else -1]))
    done = outcome(version, alert)
    assert done in [("champion", "approved"), ("archived", "rejected")]
    assert (bob.email if done[0] == "champion" else root.email) in told
    assert ("better" if done[0] == "champion" else "worse in Dairy") in told


@pytest.mark.parametrize("turn", TURNS)
def test_two_who_approve_agree_and_it_is_done_once(turn, pending, bob, root):
    version, alert = pending()
    done = at_once(
        lambda: act(alert, "approve", by=bob, notes="better"),
        lambda: decide(version, "approve", by=root, notes="better"),
        lambda: act(alert, "approve", by=root, notes="better"),
    )
    assert refusals(done) == []
    assert outcome(version, alert) == ("champion", "approved")
    assert VersionEvent.objects.filter(version=version, to_status="champion").count() == 1
    assert MLAlert.objects.get(pk=alert.pk).actioned_by in (bob, root)


@pytest.mark.parametrize("turn", TURNS)
def test_of_approving_and_dismissing_one_is_done_and_the_other_undone(turn, pending, bob, alice):
    version, alert = pending()
    works = [
        lambda: act(alert, "approve", by=bob, notes="better"),
        lambda: act(alert, "dismiss", by=alice, notes="not now"),
    ]
    assert len(refusals(at_once(*works[:: 1 if turn % 2 else -1]))) == 1
    assert outcome(version, alert) in [("champion", "approved"), ("challenger", "dismissed")]


@pytest.mark.parametrize("turn", TURNS)
def test_a_dismissal_never_stops_a_review(turn, pending, bob, alice):
    version, alert = pending()
    done = at_once(
        lambda: decide(version, "reject", by=bob, notes="worse"),
        lambda: act(alert, "dismiss", by=alice, notes="not now"),
    )
    assert isinstance(done[0], ModelVersion)
    status, decided = outcome(version, alert)
    assert (status, len(refusals(done))) == ("archived", 1 if decided == "rejected" else 0)


def test_nobody_waits_for_ever_however_many_meet(pending, acme, alice, bob, root):
    """Several alerts about one version, approved, dismissed, read and raised at once: a deadlock would be an error."""
    version, pending_alert = pending()
    others = [an_alert(acme, kind, version) for kind in (Type.DRIFT_DETECTED, Type.SHADOW_TEST_COMPLETE)]
    alerts = [pending_alert, *others]
    at_once(
        *(lambda alert=alert: act(alert, "approve", by=bob, notes="better") for alert in alerts),
        lambda: act(others[0], "dismiss", by=alice, notes="not now"),
        lambda: decide(version, "reject", by=root, notes="worse"),
        lambda: mark_read(alerts[::-1], alice),
        lambda: mark_read(alerts, root),
        lambda: an_alert(acme, Type.SHADOW_TEST_COMPLETE, version),
    )
    status, decided = outcome(version, pending_alert)
    assert (status, decided) in [("champion", "approved"), ("archived", "rejected")]


def an_alert(customer, alert_type, version):
    about = {"model_name": version.model_name, "version": version.version, "segment": version.segment}
    texts = {"title": f"{version} {alert_type.label}", "message": "x", "action_url": f"/models/review/{version}"}
    return raise_alert(customer, alert_type, **texts, **about, metadata={}, dedupe=version.version)
