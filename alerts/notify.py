"""Telling people outside the admin: queued in the alert's transaction, sent after it, tried again where it failed."""

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from zoneinfo import ZoneInfo

import apprise
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from alerts import channels
from alerts.models import MLAlert, Notification, NotificationChannel
from shelfops.refusals import Refusal

logger = logging.getLogger(__name__)
Kind, Status = Notification.Kind, Notification.Status
MOST_ATTEMPTS = 10  # the last one about 14 hours after the first
LONGEST_WAIT_MINUTES = 360
MOST_PER_SWEEP = 50  # each takes seconds at most: the sweep must not outlast the minute until the next
LEVELS = {
    MLAlert.Severity.CRITICAL: apprise.NotifyType.FAILURE,
    MLAlert.Severity.WARNING: apprise.NotifyType.WARNING,
    MLAlert.Severity.INFO: apprise.NotifyType.INFO,
}

_silent: ContextVar[bool] = ContextVar("silent", default=False)
_senders: list[Callable[[int], object]] = []


@contextmanager
def silenced() -> Iterator[None]:
    """Alerts raised inside are never sent anywhere, now or later: a replay tells nobody of the past."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def is_silenced() -> bool:
    return _silent.get()


def send_with(sender: Callable[[int], object]) -> None:
    """Sets what asks a worker to deliver a notification, given its key."""
    _senders[:] = [sender]


# --- Queueing, in the transaction of what it is about


def queue(alert: MLAlert, kind: Notification.Kind) -> list[Notification]:
    """Writes a message to each of the customer's channels that wants it; after the commit a worker is told."""
    if alert.silent or is_silenced() or not settings.NOTIFICATIONS:
        return []
    wanting = [
        channel
        for channel in NotificationChannel.objects.filter(customer=alert.customer_id, enabled=True)
        if channel.wants(alert)
    ]
    rows = Notification.objects.bulk_create(
        Notification(alert=alert, channel=channel, channel_name=channel.name, kind=kind) for channel in wanting
    )
    if rows:
        transaction.on_commit(lambda: _ring([row.pk for row in rows]), robust=True)
    return rows


def _ring(keys: list[int]) -> None:
    for key in keys if _senders else ():
        try:
            _senders[0](key)
        except Exception as error:  # of whatever kind the broker's library raises
            logger.warning("Notification %s stays queued until the next sweep: %s", key, error)


# --- Sending, outside of any transaction


def sweep() -> None:
    """Tells of what has become overdue, and tries again what is due; run every minute."""
    if is_silenced() or not settings.NOTIFICATIONS:
        return
    for alert in MLAlert.objects.overdue().filter(overdue_told_at=None, silent=False).order_by("pk"):
        _tell_overdue(alert)
    due = Notification.objects.filter(status=Status.QUEUED, next_attempt_at__lte=timezone.now())
    for key in due.order_by("next_attempt_at", "pk").values_list("pk", flat=True)[:MOST_PER_SWEEP]:
        deliver(key)


@transaction.atomic
def _tell_overdue(alert: MLAlert) -> None:
    """Once, whether or not there was a channel: one that is added later is not flooded with what is old."""
    waiting = MLAlert.objects.overdue().filter(pk=alert.pk, overdue_told_at=None)
    if waiting.update(overdue_told_at=timezone.now()):
        queue(alert, Kind.OVERDUE)


def deliver(key: int) -> None:
    """Sends a queued notification whose time has come; told twice, it is sent once.

    A worker that dies on the way leaves it to a later sweep, so a message may come twice, but is not lost.
    """
    if is_silenced() or not settings.NOTIFICATIONS:
        return
    notification = _claimed(key)
    if notification is None:
        return
    if reason := _needless(notification):
        _close(notification, status=Status.DROPPED, last_error=reason)
    elif error := _send(notification):
        is_last = notification.attempts >= MOST_ATTEMPTS
        _close(notification, status=Status.FAILED if is_last else Status.QUEUED, last_error=error)
    else:
        _close(notification, status=Status.SENT, last_error="", sent_at=timezone.now())


def wait_after(attempts: int) -> dt.timedelta:
    """How long after this many attempts the next one comes: twice as long each time."""
    return dt.timedelta(minutes=min(2**attempts, LONGEST_WAIT_MINUTES))


def _claimed(key: int) -> Notification | None:
    """Ours until the next attempt is due; None where it is somebody else's, or over."""
    now = timezone.now()
    mine = Notification.objects.filter(pk=key, status=Status.QUEUED, next_attempt_at__lte=now)
    found = mine.select_related("alert__customer", "channel").first()
    if found is None:
        return None
    claim = {"attempts": F("attempts") + 1, "next_attempt_at": now + wait_after(found.attempts + 1)}
    if not mine.filter(attempts=found.attempts).update(**claim):
        return None
    found.attempts += 1
    return found


def _needless(notification: Notification) -> str:
    if notification.channel is None or not notification.channel.enabled:
        return "The channel was removed or switched off."
    if not notification.alert.is_open:
        return "The alert was decided before it could be sent."
    return ""


def _send(notification: Notification) -> str:
    alert, channel = notification.alert, notification.channel
    assert channel is not None  # noqa: S101  # _needless has dropped it
    try:
        return channels.send(
            channel.url,
            title=alert.title,
            message=alert.message,
            body=_body(notification),
            subject=_subject(notification),
            text=_text(alert),
            level=LEVELS[MLAlert.Severity(alert.severity)],
        )
    except Refusal as refusal:
        return str(refusal)
    except Exception as error:  # of whatever kind the channel's library raises
        logger.exception("Notification %s could not be sent", notification.pk)
        return f"It could not be sent ({type(error).__name__})."


def _close(notification: Notification, **fields: Any) -> None:
    """The result of this attempt, unless a later one has begun meanwhile."""
    Notification.objects.filter(pk=notification.pk, attempts=notification.attempts).update(**fields)


# --- What is said


def _body(notification: Notification) -> dict[str, Any]:
    alert = notification.alert
    return {
        "id": alert.pk,
        "customer": alert.customer.slug,
        "kind": notification.kind,
        "alert_type": alert.alert_type,
        "severity": alert.severity,
        "requires_action": alert.requires_action,
        "due_at": alert.due_at.isoformat() if alert.due_at else None,
        "action_url": _absolute(alert.action_url),
    }


def _subject(notification: Notification) -> str:
    alert = notification.alert
    word = "Overdue" if notification.kind == Kind.OVERDUE else alert.get_severity_display()
    return f"{word} at {alert.customer}: {alert.title}"


def _text(alert: MLAlert) -> str:
    lines = [alert.message]
    if alert.due_at:
        zone = alert.customer.timezone
        lines.append(f"A decision is due by {alert.due_at.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} ({zone}).")
    if alert.action_url:
        lines.append(f"{alert.action_label}: {_absolute(alert.action_url)}")
    return "\n\n".join(lines)


def _absolute(url: str) -> str:
    return f"{settings.SITE_URL}{url}" if url.startswith("/") else url
