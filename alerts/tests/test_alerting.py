"""What an alert is, and that the same thing is told once."""

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from alerts.alerting import raise_alert
from alerts.models import KINDS, MLAlert

pytestmark = pytest.mark.django_db
Type, Status = MLAlert.Type, MLAlert.Status


def tell(customer, alert_type=Type.PROMOTION_PENDING, dedupe="demand_forecast:v2", **changes):
    texts = {"title": "v2 awaits a decision", "message": "6.1 % better", "action_url": "/models/review/v2"}
    return raise_alert(customer, alert_type, dedupe=dedupe, **{**texts, "metadata": {"version": "v2"}, **changes})


@pytest.mark.parametrize("alert_type", Type)
def test_every_type_has_its_severity(alert_type, acme):
    alert = tell(acme, alert_type)
    assert (alert.severity, alert.requires_action) == (KINDS[alert_type].severity, KINDS[alert_type].requires_action)
    assert alert.status == Status.UNREAD


def test_the_severities_are_those_of_the_specification():
    assert {kind.value: (what.severity.value, what.requires_action) for kind, what in KINDS.items()} == {
        "drift_detected": ("critical", True),
        "promotion_pending": ("warning", True),
        "backtest_degradation": ("warning", False),
        "experiment_complete": ("info", False),
        "new_data_source_ready": ("info", True),
        "shadow_test_complete": ("info", True),
    }


@pytest.mark.parametrize("status", MLAlert.OPEN)
def test_an_open_alert_is_not_told_again(status, acme):
    first = tell(acme)
    MLAlert.objects.update(status=status)
    again = tell(acme, message="other words")
    assert (again.pk, again.message) == (first.pk, "6.1 % better")


@pytest.mark.parametrize(("status", "decision"), [(Status.ACTIONED, "rejected"), (Status.DISMISSED, "dismissed")])
def test_what_is_over_may_be_told_again(status, decision, acme):
    first = tell(acme)
    MLAlert.objects.update(status=status, decision=decision)
    assert tell(acme).pk != first.pk


def test_other_things_types_and_customers_are_told_apart(acme, globex):
    alerts = [tell(acme), tell(acme, dedupe="demand_forecast:v3"), tell(acme, Type.DRIFT_DETECTED), tell(globex)]
    assert len({alert.pk for alert in alerts}) == 4


def test_the_database_has_the_last_word(acme):
    first = tell(acme)
    second = tell(acme, dedupe="another")
    with pytest.raises(IntegrityError), transaction.atomic():
        MLAlert.objects.filter(pk=second.pk).update(dedupe_key=first.dedupe_key)


def test_people_find_it_in_the_admin(acme, charlie, client_of):
    alert = tell(acme)
    page = client_of(charlie).get(reverse("admin:alerts_mlalert_changelist")).content.decode()
    assert "v2 awaits a decision" in page
    assert "Warning" in page
    page = client_of(charlie).get(reverse("admin:alerts_mlalert_change", args=[alert.pk])).content.decode()
    assert "/models/review/v2" in page
