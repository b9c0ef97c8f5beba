"""The emergency retrain fails, a person removes the cause and has it done again, and its model serves."""

import pytest

from alerts.models import MLAlert
from forecasting.tests import story
from forecasting.tests.story import DAY, FOUND, Retailer, logged_in, set_policy
from shelfops import jobs

pytestmark = pytest.mark.django_db


def test_what_could_not_be_trained_is_trained_again_and_serves(tmp_path):
    retailer = Retailer(tmp_path)
    set_policy(logged_in("bob"), emergency_train_days=365)  # more than there is
    retailer.begin()
    retailer.live_until(FOUND)
    incident, alice = story.incident(), logged_in("alice")
    failed = story.alert()
    assert (incident.status, incident.challenger, failed.severity, failed.version) == ("open", None, "critical", "")
    assert failed.action_url.startswith("/runs/")
    assert alice.get(failed.action_url).status_code == 200

    set_policy(logged_in("bob"), emergency_train_days=30)
    at = f"/api/v1/drift/incidents/{incident.pk}"
    asked = alice.post(f"{at}/retrain", {"reason": "the window was too long"}, "application/json")
    run = jobs.perform(asked.json()["retrain_id"])  # as a worker does
    assert (asked.status_code, run.status, run.error) == (202, "completed", "")
    version = story.challenger()
    waiting = MLAlert.objects.open().get(alert_type="drift_detected")
    assert (waiting.version, waiting.action_url) == (version.version, f"/models/review/{version}")

    assert story.on_the_page(alice, "approve").status_code == 302
    told = alice.get(at).json()
    assert (told["status"], told["outcome"], told["challenger"]) == ("closed", "replaced", version.version)
    assert [(event["kind"], event["by"]) for event in told["events"]] == [
        ("opened", None),
        ("failed", None),
        ("asked_again", "alice@acme.example"),
        ("trained", None),
        ("closed", "alice@acme.example"),
    ]
    retailer.live_until(FOUND + DAY)
    assert story.served(FOUND + DAY) == {version.version}
    assert story.faults() == []
