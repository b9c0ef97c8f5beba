"""The whole story through public doors: sales arrive, demand shifts, drift is found, a person decides, life goes on."""

from collections.abc import Iterator

import pytest
from django.db import transaction

from forecasting.models import Forecast
from forecasting.tests import story
from forecasting.tests.story import (
    BEGAN,
    DAY,
    DOORS_TO_APPROVE,
    DOORS_TO_REJECT,
    FOUND,
    NOTES,
    Retailer,
    faults,
    logged_in,
    served,
    set_policy,
)
from mlops.models import DriftCheck, ModelRetrainingLog, ModelReview, ModelVersion, RoutingRule
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db
LENIENT = ("guard_coverage_points", "guard_mape_pct", "guard_bias_points", "guard_bias_max_points")


@pytest.fixture(scope="module")
def past(django_db_setup: None, django_db_blocker, tmp_path_factory) -> Iterator[Retailer]:
    """The same two weeks for all tests here, which each leave nothing behind."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield story.until_drift_is_found(tmp_path_factory.mktemp("story"))
        transaction.set_rollback(True)


@pytest.fixture
def retailer(past: Retailer, db: None) -> Iterator[Retailer]:
    """It is the morning on which the alert waits."""
    past.today = FOUND
    return past


def steps() -> list[tuple[str, str]]:
    """Of the incident: what was done, and by whom."""
    return [(event.kind, str(event.by or "system")) for event in story.incident().events.all()]


def statuses() -> dict[str, str]:
    return dict(ModelVersion.objects.values_list("version", "status"))


# --- Until the alert


def test_one_critical_alert_waits_with_a_trained_model(retailer):
    waiting = logged_in("alice").get("/api/v1/ml-alerts?status=unread&severity=critical").json()
    assert waiting["count"] == 1
    told, version = waiting["results"][0], story.challenger()
    assert (told["alert_type"], told["requires_action"]) == ("drift_detected", True)
    assert told["action_url"] == f"/models/review/{version}"
    assert told["metadata"]["new_version"] == version.version
    assert told["metadata"]["drift_pct"] > 15
    assert (version.status, (version.train_end - version.train_start).days) == ("challenger", 29)
    assert (story.incident().status, story.incident().challenger) == ("open", version)
    assert served(FOUND) == {"v1"}
    assert story.incident().dossier["departments"]
    assert faults() == []


def test_every_page_says_that_it_waits_and_leads_to_the_review(retailer):
    for name in ("alice", "bob", "charlie"):
        page = logged_in(name).get("/").content.decode()
        assert "1 Critical ML Alert" in page
        assert f"/models/review/{story.challenger()}" in page


def test_the_days_before_have_forecasts_scores_and_checks(retailer):
    one_ahead = Forecast.objects.filter(lead=1)
    days = (FOUND - story.BEGAN).days
    assert one_ahead.filter(actual__isnull=False).count() == days * 12
    assert one_ahead.filter(actual=None).count() == 12  # tomorrow's
    checks = DriftCheck.objects.order_by("as_of").values_list("verdict", flat=True)
    assert list(checks) == ["insufficient_data"] * (len(checks) - 1) + ["drift"]
    assert len(checks) == days + 1


def test_a_second_night_trains_nothing_and_tells_nobody_again(retailer):
    before = ModelVersion.objects.count()
    retailer.live_until(FOUND + DAY)
    assert DriftCheck.objects.get(as_of=FOUND + DAY).incident == story.incident()
    assert ModelVersion.objects.count() == before
    assert story.alert().is_open


# --- Approved


@pytest.mark.parametrize("door", DOORS_TO_APPROVE, ids=lambda door: door.__name__)
def test_an_approved_model_serves_the_next_night(door, retailer):
    version = story.challenger()
    assert logged_in("alice").get(f"/models/review/{version}").status_code == 200
    assert door(logged_in("alice"), "approve").status_code in (200, 302)

    alert, incident = story.alert(), story.incident()
    assert (statuses()[version.version], statuses()["v1"]) == ("champion", "archived")
    assert (alert.status, alert.decision, str(alert.actioned_by)) == ("actioned", "approved", "alice@acme.example")
    assert alert.notes == NOTES
    assert (incident.status, incident.outcome, str(incident.closed_by)) == (
        "closed", "replaced", "alice@acme.example",
    )  # fmt: skip

    retailer.live_until(FOUND + DAY)
    assert served(FOUND) == {"v1"}  # what served that day stays
    assert served(FOUND + DAY) == {version.version}
    assert faults() == []


def test_every_step_is_in_the_logs(retailer):
    version = story.challenger()
    story.on_the_page(logged_in("alice"), "approve")
    logged = ModelRetrainingLog.objects.order_by("pk").values_list("trigger_type", "status", "version_produced")
    assert list(logged) == [
        ("manual", "completed", "v1"),
        ("scheduled", "completed", "v2"),
        ("scheduled", "completed", "v3"),
        ("drift_detected", "completed", version.version),
    ]
    events = [(event.from_status, event.to_status, str(event.by or "system")) for event in version.events.all()]
    assert events == [("", "challenger", "system"), ("challenger", "champion", "alice@acme.example")]
    assert steps() == [("opened", "system"), ("trained", "system"), ("closed", "alice@acme.example")]
    reviewed = ModelReview.objects.get()
    assert (reviewed.version, reviewed.champion.version, reviewed.verdict) == (version, "v1", "real")
    assert (reviewed.alert, story.incident().verdict) == (story.alert(), "real")
    rules = RoutingRule.objects.order_by("pk").values_list("version__version", "valid_from", "valid_to")
    assert list(rules) == [("v1", story.BEGAN, FOUND), (version.version, FOUND, None)]
    asked = {("retrain", "completed"), ("run_day", "completed"), ("forecast", "queued")}  # the last by the promotion
    assert set(JobRun.objects.values_list("job", "status")) == asked
    page = logged_in("charlie").get(f"/models/review/{version}").content.decode()
    assert f"Approved by alice@acme.example on {FOUND}" in page
    assert NOTES in page


# --- Rejected


@pytest.mark.parametrize("door", DOORS_TO_REJECT, ids=lambda door: door.__name__)
def test_a_rejected_model_never_serves(door, retailer):
    version = story.challenger()
    assert door(logged_in("alice"), "reject").status_code in (200, 302)
    alert, incident = story.alert(), story.incident()
    assert (statuses()[version.version], statuses()["v1"]) == ("archived", "champion")
    assert (alert.status, alert.decision, alert.notes) == ("actioned", "rejected", NOTES)
    assert (incident.status, incident.outcome, str(incident.closed_by)) == (
        "closed", "no_replacement", "alice@acme.example",
    )  # fmt: skip
    assert steps() == [("opened", "system"), ("trained", "system"), ("closed", "alice@acme.example")]
    reviewed = ModelReview.objects.get()
    assert (reviewed.action, str(reviewed.by), reviewed.notes, reviewed.alert) == (
        "reject", "alice@acme.example", NOTES, alert,
    )  # fmt: skip
    assert [event.to_status for event in version.events.all()] == ["challenger", "archived"]
    assert RoutingRule.objects.get().version.version == "v1"

    trained = ModelVersion.objects.count()
    retailer.live_until(FOUND + 2 * DAY)
    assert served(FOUND + 2 * DAY) == {"v1"}
    assert DriftCheck.objects.get(as_of=FOUND + 2 * DAY).verdict == "drift"
    assert (ModelVersion.objects.count(), story.incident().status) == (trained, "closed")  # it cools down
    assert faults() == []


def test_dismissing_the_alert_rejects_no_model(retailer):
    assert story.through_the_alert(logged_in("alice"), "dismiss").status_code == 302
    assert (statuses()[story.challenger().version], story.incident().status) == ("challenger", "open")
    assert story.on_the_page(logged_in("alice"), "approve").status_code == 302
    assert (statuses()[story.challenger().version], story.alert().decision) == ("champion", "dismissed")


# --- Others decide meanwhile


def test_who_comes_second_is_told_who_was_first(retailer):
    assert story.on_the_page(logged_in("alice"), "approve").status_code == 302
    answer = logged_in("bob").post(
        f"/api/v1/models/{story.challenger()}/review", {"action": "reject", "notes": "wait"}, "application/json"
    )
    assert answer.status_code == 409
    assert f"was approved by alice@acme.example on {FOUND} ({NOTES})" in answer.json()["detail"]
    assert story.through_the_alert_over_the_api(logged_in("bob"), "dismiss").status_code == 409
    assert statuses()[story.challenger().version] == "champion"


def test_a_scheduled_retrain_that_promotes_in_between_overtakes(retailer):
    set_policy(logged_in("bob"), bootstrap_level=0.5, **dict.fromkeys(LENIENT, 100))
    retailer.live_until(FOUND + 7 * DAY)  # the next Sunday
    sunday = ModelRetrainingLog.objects.latest("pk")
    assert (sunday.trigger_type, statuses()[sunday.version_produced]) == ("scheduled", "champion"), sunday.decision
    alert, incident = story.alert(), story.incident()
    assert (incident.status, incident.outcome, incident.closed_by) == ("closed", "overtaken", None)
    assert (alert.status, alert.decision, alert.dismissed_by) == ("dismissed", "overtaken", None)
    assert steps() == [("opened", "system"), ("trained", "system"), ("closed", "system")]
    rules = RoutingRule.objects.order_by("pk").values_list("version__version", "valid_from", "valid_to")
    assert list(rules) == [("v1", BEGAN, sunday.as_of), (sunday.version_produced, sunday.as_of, None)]

    assert story.on_the_page(logged_in("alice"), "approve", expected="v1").status_code == 409  # a page from before
    late = story.over_the_api(logged_in("alice"), "approve", expected="v1")
    assert (late.status_code, "was compared with v1, but" in late.json()["detail"]) == (409, True)
    assert story.through_the_alert_over_the_api(logged_in("alice"), "approve").status_code == 409
    assert statuses()[story.challenger().version] == "challenger"
    assert served(FOUND + 7 * DAY) == {sunday.version_produced}
    assert faults() == []
