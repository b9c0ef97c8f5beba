"""Alerts that leave the house: queued with the alert, sent after the commit, tried again, told once when overdue."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from email import message_from_string
from email.header import decode_header, make_header

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from alerts import channels, notify, tasks
from alerts.acting import act
from alerts.models import MLAlert, Notification, NotificationChannel
from alerts.tests.messages import an_alert
from alerts.tests.receivers import MailServer, Webhook, listening

pytestmark = pytest.mark.django_db
Type = MLAlert.Type
MOMENT = "2026-03-02T14:05Z"


@pytest.fixture(autouse=True)
def allowed(settings):
    """What tests are denied by default: sending, and to this machine."""
    settings.NOTIFICATIONS = settings.NOTIFY_PRIVATE_HOSTS = True
    settings.SITE_URL = "https://shelfops.acme.example"


@pytest.fixture(autouse=True)
def rung(monkeypatch):
    """The notifications of which a worker was told."""
    keys = []
    monkeypatch.setattr(notify, "_senders", [keys.append])
    return keys


@pytest.fixture
def webhook():
    with listening(Webhook()) as server:
        yield server


@pytest.fixture
def channel(acme, webhook):
    return NotificationChannel.objects.create(customer=acme, name="on-call", url=webhook.url)


def tries(times):
    """Sweeps, each when the next attempt is due."""
    for _ in range(times):
        due = Notification.objects.get().next_attempt_at
        with time_machine.travel(due + dt.timedelta(seconds=1), tick=False):
            notify.sweep()
    return Notification.objects.get()


# --- Queued with the alert


def test_a_message_is_queued_with_the_alert_and_a_worker_told_after_the_commit(
    acme, channel, rung, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        alert = an_alert(acme)
        queued = alert.notifications.get()
        assert (queued.status, queued.kind, rung) == ("queued", "raised", [])
    assert rung == [queued.pk]


@pytest.mark.django_db(transaction=True)
def test_an_alert_that_is_rolled_back_tells_nobody(acme, channel, rung, webhook):
    with transaction.atomic():
        an_alert(acme)
        transaction.set_rollback(True)
    notify.sweep()
    assert (rung, webhook.bodies, Notification.objects.count()) == ([], [], 0)


def test_the_same_thing_is_sent_once(acme, channel):
    for _ in range(3):
        an_alert(acme)
    assert Notification.objects.count() == 1


def test_only_the_customers_channels_that_want_it(acme, globex, channel):
    for name, changes in {"criticals": {"min_severity": "critical"}, "off": {"enabled": False}}.items():
        NotificationChannel.objects.create(customer=acme, name=name, url=channel.url, **changes)
    NotificationChannel.objects.create(customer=globex, name="theirs", url=channel.url)
    an_alert(acme)
    assert [row.channel_name for row in Notification.objects.all()] == ["on-call"]


def test_without_a_channel_nothing_is_queued(acme, rung):
    an_alert(acme)
    assert not Notification.objects.exists()


def test_a_broker_that_is_down_only_delays_it(acme, channel, monkeypatch, webhook, django_capture_on_commit_callbacks):
    def down(_key):
        raise ConnectionError

    monkeypatch.setattr(notify, "_senders", [down])
    with django_capture_on_commit_callbacks(execute=True):
        an_alert(acme)
    notify.sweep()
    assert len(webhook.bodies) == 1


# --- What arrives


def test_a_webhook_gets_the_alert(acme, channel, webhook):
    alert = an_alert(acme, Type.DRIFT_DETECTED, due_at=dt.datetime(2026, 3, 2, 16, tzinfo=dt.UTC))
    tasks.deliver(alert.notifications.get().pk)
    assert webhook.bodies == [
        {
            "id": alert.pk,
            "customer": "acme",
            "kind": "raised",
            "alert_type": "drift_detected",
            "severity": "critical",
            "requires_action": True,
            "title": "v2 awaits a decision",
            "message": "6.1 % better, but RMSE is 3.4 % worse",
            "action_url": "https://shelfops.acme.example/models/review/v2",
            "due_at": "2026-03-02T16:00:00+00:00",
        }
    ]
    sent = alert.notifications.get()
    assert (sent.status, sent.attempts, sent.last_error) == ("sent", 1, "")
    assert sent.sent_at


def test_a_mail_can_be_read(acme):
    acme.timezone = "Europe/Berlin"
    acme.save()
    with listening(MailServer()) as server:
        NotificationChannel.objects.create(customer=acme, name="team", url=server.url)
        due_at = dt.datetime(2026, 3, 2, 16, tzinfo=dt.UTC)
        alert = an_alert(acme, message="Better by 6 % & <cheap>", due_at=due_at)
        notify.deliver(alert.notifications.get().pk)
        assert alert.notifications.get().last_error == ""
        [mail] = map(message_from_string, server.mails)
    text = mail.get_payload(decode=True).decode()
    assert str(make_header(decode_header(mail["Subject"]))) == "Warning at Acme Stores: v2 awaits a decision"
    assert (mail["To"], mail.get_content_type()) == ("team@acme.example", "text/plain")
    for words in [
        "Better by 6 % & <cheap>",
        "A decision is due by 2026-03-02 17:00 (Europe/Berlin).",
        "Review Model v2: https://shelfops.acme.example/models/review/v2",
    ]:
        assert words in text


def test_told_twice_it_is_sent_once(acme, channel, webhook):
    key = an_alert(acme).notifications.get().pk
    for _ in range(3):
        notify.deliver(key)
    notify.sweep()
    assert len(webhook.bodies) == 1


@pytest.mark.django_db(transaction=True)
def test_workers_that_meet_send_it_once(acme, channel, webhook):
    key = an_alert(acme).notifications.get().pk

    def work(_number):
        try:
            notify.deliver(key)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert len(webhook.bodies) == 1
    assert Notification.objects.get().attempts == 1


# --- What fails


def test_a_failure_is_kept_and_tried_again_later(acme, channel, webhook):
    webhook.status = 500
    with time_machine.travel(MOMENT, tick=False):
        an_alert(acme)
        notify.sweep()
        notify.sweep()  # not due again yet
        failed = Notification.objects.get()
        assert (failed.status, failed.attempts, failed.next_attempt_at - timezone.now()) == (
            "queued",
            1,
            dt.timedelta(minutes=2),
        )
    assert "error=500" in failed.last_error
    webhook.status = 200
    sent = tries(1)
    assert (sent.status, sent.attempts, sent.last_error) == ("sent", 2, "")


def test_each_wait_is_longer_and_at_last_it_is_given_up(acme, channel, webhook):
    webhook.status = 500
    an_alert(acme)
    assert tries(notify.MOST_ATTEMPTS).status == "failed"
    assert len(webhook.bodies) == notify.MOST_ATTEMPTS
    waits = [notify.wait_after(attempts).total_seconds() / 60 for attempts in range(1, notify.MOST_ATTEMPTS)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 360]


def test_an_error_names_no_secret(acme):
    url = "json://user:secret@127.0.0.1:9/secret-token?-key=secret"
    NotificationChannel.objects.create(customer=acme, name="on-call", url=url)
    an_alert(acme)
    notify.sweep()
    error = Notification.objects.get().last_error
    assert "127.0.0.1" in error
    assert "secret" not in error


def test_a_channel_that_moved_into_our_network_is_refused(acme, channel, webhook, settings):
    settings.NOTIFY_PRIVATE_HOSTS = False
    an_alert(acme)
    notify.sweep()
    assert "own network" in Notification.objects.get().last_error
    assert webhook.paths == []


def test_a_redirect_is_not_followed(acme, channel, webhook):
    webhook.status = 302
    an_alert(acme)
    notify.sweep()
    assert webhook.paths == ["/hook"]
    assert Notification.objects.get().status == "queued"


def test_what_a_library_raises_is_kept_too(acme, channel, monkeypatch):
    def burst(*_, **__):
        raise ValueError("secret")

    monkeypatch.setattr(channels, "send", burst)
    an_alert(acme)
    notify.sweep()
    assert Notification.objects.get().last_error == "It could not be sent (ValueError)."


def test_what_was_queued_for_a_removed_channel_is_dropped(acme, channel, webhook):
    an_alert(acme)
    NotificationChannel.objects.all().delete()
    notify.sweep()
    dropped = Notification.objects.get()
    assert (dropped.status, dropped.last_error) == ("dropped", "The channel was removed or switched off.")
    assert webhook.bodies == []


def test_a_decided_alert_is_not_sent_any_more(acme, alice, channel, webhook):
    act(an_alert(acme), "dismiss", by=alice, notes="seen")
    notify.sweep()
    assert webhook.bodies == []
    assert Notification.objects.get().last_error == "The alert was decided before it could be sent."


# --- Overdue


def test_what_is_overdue_is_told_once(acme, channel, webhook):
    with time_machine.travel(MOMENT, tick=False) as clock:
        alert = an_alert(acme, Type.DRIFT_DETECTED, due_at=timezone.now() + dt.timedelta(hours=2))
        for minutes in [0, 119, 2, 60, 600]:
            clock.shift(dt.timedelta(minutes=minutes))
            notify.sweep()
    assert [body["kind"] for body in webhook.bodies] == ["raised", "overdue"]
    alert.refresh_from_db()
    assert alert.overdue_told_at.isoformat() == "2026-03-02T16:06:00+00:00"


@pytest.mark.django_db(transaction=True)
def test_sweeps_that_meet_tell_once_that_it_is_overdue(acme, channel):
    an_alert(acme, due_at=timezone.now() - dt.timedelta(hours=1))
    Notification.objects.update(status="sent")

    def work(_number):
        try:
            notify.sweep()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert Notification.objects.filter(kind="overdue").count() == 1


def test_the_minute_itself_is_not_overdue(acme, channel):
    with time_machine.travel(MOMENT, tick=False) as clock:
        alert = an_alert(acme, due_at=timezone.now())
        notify.sweep()
        assert not alert.overdue
        assert not Notification.objects.filter(kind="overdue").exists()
        clock.shift(dt.timedelta(seconds=1))
        notify.sweep()
        assert alert.overdue
        assert Notification.objects.filter(kind="overdue").exists()


def test_what_was_decided_in_time_is_never_overdue(acme, alice, channel, webhook):
    with time_machine.travel(MOMENT, tick=False) as clock:
        alert = an_alert(acme, due_at=timezone.now() + dt.timedelta(hours=2))
        act(alert, "dismiss", by=alice, notes="seen")
        clock.shift(dt.timedelta(hours=3))
        notify.sweep()
    assert not Notification.objects.filter(kind="overdue").exists()


def test_a_channel_added_later_is_not_flooded(acme, webhook):
    an_alert(acme, due_at=timezone.now() - dt.timedelta(hours=1))
    notify.sweep()
    NotificationChannel.objects.create(customer=acme, name="late", url=webhook.url)
    notify.sweep()
    assert webhook.bodies == []


# --- Silence


def test_a_replay_tells_nobody_then_or_later(acme, channel, webhook, rung):
    with notify.silenced():
        alert = an_alert(acme, Type.DRIFT_DETECTED, due_at=timezone.now() - dt.timedelta(hours=1))
        notify.sweep()
    notify.sweep()
    assert alert.silent
    assert (webhook.bodies, rung, Notification.objects.count()) == ([], [], 0)
    assert not notify.is_silenced()


def test_a_replay_sends_nothing_of_what_was_waiting(acme, channel, webhook):
    key = an_alert(acme).notifications.get().pk
    with notify.silenced():
        notify.deliver(key)
        notify.sweep()
    assert webhook.bodies == []
    assert Notification.objects.get().status == "queued"


def test_an_installation_can_be_told_to_send_nothing(acme, channel, webhook, settings):
    settings.NOTIFICATIONS = False
    an_alert(acme, due_at=timezone.now() - dt.timedelta(hours=1))
    notify.sweep()
    settings.NOTIFICATIONS = True
    assert not Notification.objects.exists()
