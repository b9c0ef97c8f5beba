"""An emergency retrain that failed is done again: it brings a version or another alert, and never both."""

import pytest
from django.urls import reverse

from alerts import acting
from alerts.models import MLAlert
from forecasting import drift
from forecasting.replay import decisions
from forecasting.tests.emergencies import served_so_far, trained_by_nobody
from forecasting.tests.served_days import AS_OF, BASELINE_MAE, RECENT_MAE, serve, windows
from mlops import unreplaced
from mlops.audit import audit
from mlops.models import DriftIncident, ModelVersion
from mlops.review import review
from shelfops import jobs

pytestmark = pytest.mark.django_db
WHY = "the missing days are in"


@pytest.fixture
def failed(acme):
    """Drift whose emergency retrain has failed: there are not enough days of sales."""
    serve(served_so_far(acme), off=windows(RECENT_MAE, BASELINE_MAE))
    drift.detect_here(acme)
    return DriftIncident.objects.select_related("customer").get()


@pytest.fixture
def trainable(monkeypatch):
    """From now on a retrain is logged and registered as ever, but trained by nobody."""
    trained_by_nobody(monkeypatch)


def told():
    return list(MLAlert.objects.order_by("pk").values_list("decision", "version", "action_url"))


def kinds(incident):
    return list(incident.events.values_list("kind", flat=True))


def test_it_brings_a_version_and_a_new_alert_that_leads_to_its_review(failed, alice, bob, acme, trainable):
    first = MLAlert.objects.get().action_url
    run = jobs.perform(unreplaced.train_again(failed, by=alice, reason=WHY).pk)

    failed.refresh_from_db()
    assert (run.status, run.result["new_version"], failed.challenger.version) == ("completed", "v2", "v2")
    assert told() == [("overtaken", "", first), ("", "v2", "/models/review/v2")]
    assert (failed.retraining.requested_by, failed.retraining.reason) == (alice, WHY)
    assert kinds(failed) == ["opened", "failed", "asked_again", "trained"]
    review(failed.challenger, "approve", by=bob, notes="better", verdict="real")
    failed.refresh_from_db()
    assert (failed.outcome, kinds(failed)[-1]) == ("replaced", "closed")
    assert audit(acme).faults == ()


def test_it_may_fail_again_and_be_asked_for_again(failed, alice, acme):
    first = jobs.perform(unreplaced.train_again(failed, by=alice, reason=WHY).pk)
    second = unreplaced.train_again(failed, by=alice, reason="more days are in")

    assert (first.status, second.status) == ("completed", "queued")
    assert second.pk != first.pk
    assert [url for decision, _, url in told() if not decision] == [first.get_absolute_url()]
    assert "There is no new version, and v1 still serves" in MLAlert.objects.open().get().message
    assert kinds(failed) == ["opened", "failed", "asked_again", "failed", "asked_again"]
    assert audit(acme).faults == ()


def test_the_run_that_failed_leads_to_the_incident_and_what_people_did_is_told(failed, alice, acme, client_of):
    page = client_of(alice).get(MLAlert.objects.get().action_url).content.decode()
    assert reverse("admin:mlops_driftincident_change", args=[failed.pk]) in page
    unreplaced.train_again(failed, by=alice, reason=WHY)
    unreplaced.close(failed, by=alice, notes="the data were wrong")
    told = [(one.what, one.by, one.reason) for one in decisions(acme, AS_OF, AS_OF)]
    assert told[-2:] == [
        ("Drift incident: retrain asked for again", "alice@acme.example", WHY),
        ("Drift incident: closed", "alice@acme.example", "the champion stays: the data were wrong"),
    ]


def test_an_alert_that_was_dismissed_is_followed_by_a_new_one(failed, alice, trainable):
    acting.act(MLAlert.objects.get(), "dismiss", by=alice, notes="seen")
    jobs.perform(unreplaced.train_again(failed, by=alice, reason=WHY).pk)
    assert [decision for decision, *_ in told()] == ["dismissed", ""]


def test_what_was_closed_meanwhile_is_not_answered(failed, alice, bob, acme, trainable):
    run = unreplaced.train_again(failed, by=alice, reason=WHY)
    unreplaced.close(failed, by=bob, notes="the data were wrong")
    run = jobs.perform(run.pk)

    assert (run.status, ModelVersion.objects.count()) == ("skipped", 1)
    assert "by bob@acme.example: the champion stays (the data were wrong)" in run.error
    assert [decision for decision, *_ in told()] == ["dismissed"]
    assert audit(acme).faults == ()


def test_what_is_closed_while_it_trains_is_not_answered(failed, alice, bob, trainable, monkeypatch):
    quick = drift.retrain

    def slow(customer, order, **options):
        unreplaced.close(failed, by=bob, notes="the data were wrong")
        return quick(customer, order, **options)

    monkeypatch.setattr(drift, "retrain", slow)
    run = jobs.perform(unreplaced.train_again(failed, by=alice, reason=WHY).pk)

    failed.refresh_from_db()
    assert (run.status, failed.challenger, MLAlert.objects.count()) == ("skipped", None, 1)


def test_a_version_whose_worker_died_before_people_were_told_is_taken_up(failed, alice, trainable, monkeypatch):
    class Killed(BaseException):
        """As by a signal."""

    def die(*_args, **_options):
        raise Killed

    asked = unreplaced.train_again(failed, by=alice, reason=WHY)
    with monkeypatch.context() as broken:
        broken.setattr("mlops.incidents.answer_again", die)
        with pytest.raises(Killed):
            jobs.perform(asked.pk)
    jobs.perform(unreplaced.train_again(failed, by=alice, reason=WHY).pk)

    failed.refresh_from_db()
    assert (failed.challenger.version, ModelVersion.objects.count()) == ("v2", 2)
