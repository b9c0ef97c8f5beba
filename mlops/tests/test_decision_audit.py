"""A story of decisions passes the audit; each fault that is planted into it is found and named."""

import datetime as dt

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from alerts.acting import act, overtake
from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from mlops import faults
from mlops.audit import audit
from mlops.models import DriftIncident, ModelReview, ModelVersion, RoutingRule, VersionEvent
from mlops.promotion import promote, retire, roll_back
from mlops.review import review
from mlops.tests.drifted import NIGHT, answered
from mlops.tests.ledger import DAY, a_version

pytestmark = pytest.mark.django_db
WEEK = dt.timedelta(days=7)
SOON = dt.timedelta(days=9)  # later than the cooldown


@pytest.fixture
def story(acme, alice, bob):
    """v2 is approved after drift, v3 rejected after it, v4 overtakes it, v6 is approved by the manager; v4 came back.

    Alerts are decided through the alert, by the review, by dismissing and by events.
    """

    def on(day):
        acme.clock = day
        acme.save()
        return day

    champion, day = a_version(acme, "champion"), on(NIGHT)
    first = answered(champion)
    act(MLAlert.objects.get(), "approve", by=alice, notes="demand has moved")
    second = answered(first.challenger, as_of=(day := on(day + SOON)))
    review(second.challenger, "reject", by=bob, notes="a fault in the data", verdict="data_fault")
    answered(first.challenger, as_of=(day := on(day + SOON)))
    promote(a_version(acme, "challenger", as_of=day), by=None, reason="better by 6 %", as_of=day)
    asked = a_version(acme, "challenger", as_of=day)
    act(an_alert(acme, MLAlert.Type.BACKTEST_DEGRADATION, asked.version), "dismiss", by=alice, notes="known")
    an_alert(acme, version=asked.version)
    review(asked, "approve", by=bob, notes="better in every department")
    roll_back(ModelVersion.objects.get(version="v5"), by=bob, reason="fish fell to zero", as_of=(day := on(day + WEEK)))
    dairy = a_version(acme, "champion", segment="department:Dairy", as_of=day)
    retire(dairy, by=bob, reason="too small", as_of=day)
    return acme


def found(customer):
    return [(fault.name, fault.subject.split(" (")[0]) for fault in audit(customer).faults]


def an(alert_type="drift_detected", **which):
    return MLAlert.objects.filter(alert_type=alert_type, **which).order_by("pk")[:1].get()


def change(row, **values):
    """Past every rule and signal."""
    type(row).objects.filter(pk=row.pk).update(**values)


def without_constraints(table, *names):
    """Tables as somebody might have left them: SQLite keeps checks with the table, so they are ignored there."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        else:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table with checks to come cannot be altered
            for name in names:
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


@pytest.fixture(autouse=True)
def checks_hold_again():
    yield
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def test_a_whole_story_has_no_fault(story):
    result = audit(story)
    assert result.faults == ()
    told = {name: result.checked[name] for name in ("alerts", "reviews", "incidents", "routing rules")}
    assert told == {"alerts": 5, "reviews": 3, "incidents": 3, "routing rules": 6}
    assert list(DriftIncident.objects.order_by("pk").values_list("outcome", flat=True)) == [
        "replaced", "no_replacement", "overtaken",
    ]  # fmt: skip
    assert set(MLAlert.objects.values_list("decision", flat=True)) == {
        "approved", "rejected", "overtaken", "dismissed",
    }  # fmt: skip


# --- What is planted, and what is found of it


def a_review_is_deleted():
    ModelReview.objects.filter(version__version="v6").delete()
    return [("alert_without_review", f"alert {an('promotion_pending').pk}"), ("promotion_without_review", "v6")]


def another_person_stands_in_the_alert():
    alert = an("promotion_pending")
    change(alert, actioned_by=_alice())
    return [("alert_against_review", f"alert {alert.pk}")]


def the_alert_says_the_contrary():
    alert = an("promotion_pending")
    change(alert, decision="rejected")
    return [("alert_against_review", f"alert {alert.pk}")]


def the_alert_says_another_time():
    alert = an("promotion_pending")
    change(alert, actioned_at=F("actioned_at") - dt.timedelta(hours=3))
    return [("alert_against_review", f"alert {alert.pk}")]


def the_notes_are_embellished():
    alert = an("promotion_pending")
    change(alert, notes="the board wanted it")
    return [("alert_against_review", f"alert {alert.pk}")]


def nobody_signed_a_dismissal():
    alert = an("backtest_degradation")
    change(alert, dismissed_by=None)
    return [("decision_unsigned", f"alert {alert.pk}")]


def what_cannot_be_approved_is():
    alert = an("backtest_degradation")
    change(alert, status="actioned", decision="approved", actioned_by=_alice(), actioned_at=alert.created_at)
    return [("approval_of_nothing", f"alert {alert.pk}")]


def an_alert_is_actioned_without_a_decision():
    without_constraints("ml_alerts", "alert_decision_fits_status")
    alert = an("backtest_degradation")
    change(alert, status="actioned", decision="", actioned_by=None, notes="")
    return [("decision_unsigned", f"alert {alert.pk}"), ("approval_of_nothing", f"alert {alert.pk}")]


def a_decided_alert_is_opened_again():
    alert = an("promotion_pending")
    change(alert, status="unread", decision="")
    return [("alert_left_open", f"alert {alert.pk}")]


def a_drift_alert_is_opened_again():
    alert = an(version="v2")
    change(alert, status="unread", decision="")
    return [("alert_left_open", f"alert {alert.pk}"), ("alert_against_incident", f"alert {alert.pk}")]


def the_event_of_a_review_is_deleted():
    VersionEvent.objects.filter(version__version="v3", to_status="archived").delete()
    return [("status_without_event", "v3"), ("review_without_event", "review of v3")]


def the_event_names_another_person():
    VersionEvent.objects.filter(version__version="v6", to_status="champion").update(by=_alice())
    return [("review_without_event", "review of v6")]


def a_challenger_is_promoted_past_the_review():
    version = ModelVersion.objects.get(version="v6")
    ModelReview.objects.filter(version=version).delete()
    MLAlert.objects.filter(version="v6").delete()
    return [("promotion_without_review", "v6")]


def an_incident_is_closed_by_nobody():
    incident = DriftIncident.objects.get(outcome="no_replacement")
    change(incident, closed_by=None)
    return [("incident_without_decision", f"incident {incident.pk}")]


def an_incident_is_closed_without_an_outcome():
    incident = DriftIncident.objects.get(outcome="replaced")
    change(incident, outcome="")
    alert = an(version="v2")
    return [("alert_against_incident", f"alert {alert.pk}"), ("incident_without_decision", f"incident {incident.pk}")]


def an_incident_was_overtaken_by_nothing():
    incident = DriftIncident.objects.get(outcome="overtaken")
    later = incident.closed_on + dt.timedelta(days=1)
    change(incident, closed_on=later)
    incident.events.filter(kind="closed").update(as_of=later)
    return [("incident_without_decision", f"incident {incident.pk}")]


def the_steps_of_an_incident_are_deleted():
    incident = DriftIncident.objects.get(outcome="replaced")
    incident.events.all().delete()
    return [("incident_without_event", f"incident {incident.pk}")]


def an_incident_is_opened_again():
    incident = DriftIncident.objects.get(outcome="overtaken")
    change(incident, status="open", outcome="", closed_on=None)
    alert = an(version="v4")
    return [("alert_against_incident", f"alert {alert.pk}"), ("incident_left_open", f"incident {incident.pk}")]


def a_rule_sends_to_who_is_no_champion():
    rule = RoutingRule.objects.open().get()
    change(rule, version=ModelVersion.objects.get(version="v6"))
    return [("rule_without_champion", f"rule {rule.pk}"), ("champion_without_rule", "v5")]


def a_former_rule_names_another_segments_version():
    rule = RoutingRule.objects.get(version__version="v2")
    change(rule, version=ModelVersion.objects.get(segment="department:Dairy"))
    return [("rule_without_champion", f"rule {rule.pk}")]


def a_rule_is_deleted():
    RoutingRule.objects.open().delete()
    return [("champion_without_rule", "v5")]


def a_rule_begins_before_the_promotion():
    rule = RoutingRule.objects.get(version__version="v6")
    change(rule, valid_from=rule.valid_from - dt.timedelta(days=1))
    return [("rule_without_promotion", f"rule {rule.pk}"), ("rules_overlap", f"rule {rule.pk}")]


PLANTED = [
    a_review_is_deleted,
    another_person_stands_in_the_alert,
    the_alert_says_the_contrary,
    the_alert_says_another_time,
    the_notes_are_embellished,
    nobody_signed_a_dismissal,
    what_cannot_be_approved_is,
    an_alert_is_actioned_without_a_decision,
    a_decided_alert_is_opened_again,
    a_drift_alert_is_opened_again,
    the_event_of_a_review_is_deleted,
    the_event_names_another_person,
    a_challenger_is_promoted_past_the_review,
    an_incident_is_closed_by_nobody,
    an_incident_is_closed_without_an_outcome,
    an_incident_was_overtaken_by_nothing,
    the_steps_of_an_incident_are_deleted,
    an_incident_is_opened_again,
    a_rule_sends_to_who_is_no_champion,
    a_former_rule_names_another_segments_version,
    a_rule_is_deleted,
    a_rule_begins_before_the_promotion,
]


def _alice():
    return ModelReview.objects.get(version__version="v2").by


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_each_planted_fault_is_found_and_named(plant, story):
    expected = plant()
    assert found(story) == expected
    assert all("None" not in fault.message for fault in audit(story).faults)


def test_what_differs_is_said(story):
    change(an("promotion_pending"), decision="rejected", notes="no")
    assert audit(story).faults[0].message == (
        "It says that v6 was rejected, but its review differs in the decision, the notes."
    )


def test_another_customers_decisions_are_not_told(story, globex):
    a_review_is_deleted()
    assert found(globex) == []


# --- However many there are


def test_of_many_the_first_are_named_and_the_others_counted(story, monkeypatch):
    monkeypatch.setattr(faults, "MOST_OF_A_KIND", 2)
    for number in range(5):
        act(an_alert(story, MLAlert.Type.BACKTEST_DEGRADATION, f"x{number}"), "dismiss", by=_alice(), notes="seen")
    MLAlert.objects.filter(version__startswith="x").update(dismissed_by=None)
    assert [subject.split(" ", 1)[1] for name, subject in found(story) if name == "decision_unsigned"][2] == "more"
    last = audit(story).faults[-1]
    assert (len(audit(story).faults), last.subject) == (3, "3 more")


def test_more_rows_ask_no_more_questions(story):
    with CaptureQueriesContext(
        connection,
    ) as few:
        audit(story)
    for number in range(10):
        a_version(story, "challenger", as_of=DAY)
        overtake(story, version=an_alert(story, version=f"x{number}").version, model_name="demand_forecast", reason="y")
    with CaptureQueriesContext(connection) as many:
        audit(story)
    assert len(many) == len(few)
