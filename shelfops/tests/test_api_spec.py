"""The specification's own calls, run as they are written there."""

import json

import pytest
from django.test import Client

from mlops import promotion
from shelfops import tokens
from shelfops.tests.api_world import World, a_world

REVIEW = "POST /api/v1/models/v13/review"
ALERTS = """
# Get unread ML alerts
GET /api/v1/ml-alerts?status=unread

# Mark as read
PATCH /api/v1/ml-alerts/{id}/read

# Take action (approve/dismiss)
PATCH /api/v1/ml-alerts/{id}/action
{
  "action": "approve",  # or "dismiss"
  "notes": "Reviewed backtest, promotion approved"
}
"""


@pytest.fixture
def world(acme) -> World:
    """The review that waits is of v13, as there."""
    found = a_world(acme)
    version = found.drift_challenger
    version.version, version.number = "v13", 13
    version.save()
    alert = found.drift_alert
    alert.version, alert.action_url = "v13", "/models/review/v13"
    alert.save()
    return found


@pytest.fixture
def call(alice):
    """What a program of alice's is answered to a line of the specification."""
    headers = {"Authorization": f"Token {tokens.issue(alice, name='spec', days=1)[1]}"}

    def send(line: str, body: str = ""):
        method, path = line.split()
        answer = Client().generic(method, path, body, "application/json", headers=headers)
        return answer.status_code, answer.json()

    return send


def test_a_review_as_written_is_asked_for_its_notes(world, call):
    assert call(REVIEW, '{"action": "approve"}') == (400, {"notes": ["This field is required."]})
    assert promotion.champion_of(world.champion).version == "v2"


def test_the_reviewed_version_is_promoted(world, call):
    code, answer = call(REVIEW, '{"action": "approve", "notes": "drift is real, SHAP and backtest look right"}')
    assert (code, answer["version"], answer["status"]) == (200, "v13", "champion")
    world.drift_alert.refresh_from_db()
    assert world.drift_alert.status == "actioned"


def test_the_three_calls_of_the_alerts(world, call):
    unread, read, act, *body = [line for line in ALERTS.splitlines() if line and not line.startswith("#")]
    _, answer = call(unread)
    alert = next(row for row in answer["results"] if row["alert_type"] == "drift_detected")
    assert (alert["severity"], alert["action_url"]) == ("critical", "/models/review/v13")

    assert call(read.format(id=alert["id"]))[1]["status"] == "read"
    assert alert["id"] not in [row["id"] for row in call(unread)[1]["results"]]

    text = "\n".join(line.partition("  #")[0] for line in body)
    code, answer = call(act.format(id=alert["id"]), text)
    assert (code, answer["status"], answer["decision"]) == (200, "actioned", "approved")
    assert answer["notes"] == json.loads(text)["notes"]
    assert promotion.champion_of(world.champion).version == "v13"
