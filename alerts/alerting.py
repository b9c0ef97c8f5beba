"""The only writer of alerts."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from alerts import notify
from alerts.models import KINDS, MLAlert, Notification
from shelfops.models import Customer


@transaction.atomic
def raise_alert(
    customer: Customer,
    alert_type: MLAlert.Type,
    *,
    title: str,
    message: str,
    metadata: Mapping[str, Any],
    action_url: str,
    dedupe: str,
    model_name: str = "",
    version: str = "",
    segment: str = "",
    due_at: dt.datetime | None = None,
) -> MLAlert:
    """Tells the customer's people; while an alert of this type and `dedupe` key is open, that one is the answer.

    What goes to e-mail and webhooks is queued in the caller's transaction and sent after it.
    """
    kind = KINDS[alert_type]
    alert, is_new = MLAlert.objects.open().get_or_create(
        customer=customer,
        dedupe_key=f"{alert_type.value}:{dedupe}",
        defaults={
            "alert_type": alert_type,
            "severity": kind.severity,
            "requires_action": kind.requires_action,
            "title": title,
            "message": message,
            "metadata": dict(metadata),
            "action_url": action_url,
            "model_name": model_name,
            "version": version,
            "segment": segment,
            "due_at": due_at,
            "silent": notify.is_silenced(),
        },
    )
    if is_new:
        notify.queue(alert, Notification.Kind.RAISED)
    return alert
