"""Who has read what: every person for themselves, and the alert's column once anybody has."""

import datetime as dt

import pytest
from django.utils import timezone

from alerts.acting import act
from alerts.models import AlertReceipt, MLAlert
from alerts.reading import mark_read, open_by_severity
from alerts.tests.messages import an_alert
from shelfops.tenancy import NotAllowed

pytestmark = pytest.mark.django_db
Type = MLAlert.Type


def own_status(alert, person):
    return MLAlert.objects.seen_by(person).get(pk=alert.pk).own_status


def test_what_one_has_read_another_has_not(acme, alice, charlie):
    alert = an_alert(acme)
    assert mark_read([alert], alice) == 1
    assert (own_status(alert, alice), own_status(alert, charlie)) == ("read", "unread")
    assert list(MLAlert.objects.unread_by(alice)) == []
    assert list(MLAlert.objects.unread_by(charlie)) == [alert]


def test_the_alert_says_who_read_it_first(acme, alice, charlie):
    alert = an_alert(acme)
    for person in [charlie, alice]:
        mark_read([alert], person)
    alert.refresh_from_db()
    assert (alert.status, alert.read_by, AlertReceipt.objects.count()) == ("read", charlie, 2)


def test_reading_again_changes_nothing(acme, alice, django_assert_num_queries):
    alert = an_alert(acme)
    mark_read([alert], alice)
    first = AlertReceipt.objects.get().read_at
    with django_assert_num_queries(3):
        assert mark_read([alert], alice) == 0
    assert AlertReceipt.objects.get().read_at == first


def test_many_are_read_in_as_many_queries_as_one(acme, alice, django_assert_max_num_queries):
    alerts = [an_alert(acme, version=f"v{number}") for number in range(20)]
    with django_assert_max_num_queries(9):
        assert mark_read(alerts, alice) == 20


def test_a_decided_alert_is_the_same_to_everybody(acme, alice, charlie):
    alert = an_alert(acme, Type.EXPERIMENT_COMPLETE)
    act(alert, "dismiss", by=alice, notes="seen")
    assert mark_read([alert], charlie) == 1
    assert own_status(alert, alice) == own_status(alert, charlie) == "dismissed"
    assert not MLAlert.objects.unread_by(alice).exists()


def test_a_stranger_reads_nothing(acme, globex, mallory):
    alerts = [an_alert(globex), an_alert(acme)]
    with pytest.raises(NotAllowed, match="mark alerts as read at Acme"):
        mark_read(alerts, mallory)
    assert not AlertReceipt.objects.exists()


# --- What is overdue


def hours(number):
    return timezone.now() + dt.timedelta(hours=number)


def test_overdue_is_open_asks_for_a_decision_and_is_late(acme, alice):
    late = an_alert(acme, Type.DRIFT_DETECTED, due_at=hours(-1))
    an_alert(acme, version="v3", due_at=hours(1))
    an_alert(acme, version="v4")
    an_alert(acme, Type.BACKTEST_DEGRADATION, due_at=hours(-1))
    decided = act(an_alert(acme, version="v5", due_at=hours(-1)), "dismiss", by=alice, notes="seen")
    assert list(MLAlert.objects.overdue()) == [late]
    assert [alert for alert in MLAlert.objects.all() if alert.overdue] == [late]
    assert not decided.overdue


# --- What every page may say


def test_open_alerts_are_counted_per_severity_in_one_query(acme, globex, alice, bob, django_assert_num_queries):
    read = an_alert(acme, Type.DRIFT_DETECTED)
    mark_read([read], alice)
    mark_read([read], bob)
    an_alert(acme)
    an_alert(acme, version="v3")
    act(an_alert(acme, version="v4"), "dismiss", by=alice, notes="seen")
    an_alert(globex)
    with django_assert_num_queries(1):
        assert open_by_severity(alice) == {"critical": 1, "warning": 2, "info": 0, "unread": 2}
