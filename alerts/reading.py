"""Who has read what: a receipt per person, and the alert's own column once anybody has read it."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from alerts.models import AlertReceipt, MLAlert
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.tenancy import Action


def mark_read(alerts: Iterable[MLAlert], user: User) -> int:
    """Leaves the person's receipt with each alert and returns how many are new; all of them, or NotAllowed."""
    keys = {alert.pk: alert.customer_id for alert in alerts}
    for customer in Customer.objects.filter(pk__in=set(keys.values())):
        tenancy.require(user, customer, Action.MARK_READ)
    known = AlertReceipt.objects.filter(user=user, alert__in=keys).values_list("alert_id", flat=True)
    return _leave_receipts(sorted(keys.keys() - set(known)), user)


def open_by_severity(user: User) -> dict[str, int]:
    """How many open alerts the person's customers have: critical, warning, info; and unread, of all. One query."""
    counts = dict.fromkeys([*MLAlert.Severity.values, "unread"], 0)
    rows = tenancy.scope(MLAlert.objects.open(), user).order_by().values("severity")
    read = Count("receipts", filter=Q(receipts__user=user))
    for row in rows.annotate(open=Count("pk", distinct=True), read=read):
        counts[row["severity"]] = row["open"]
        counts["unread"] += row["open"] - row["read"]
    return counts


def _leave_receipts(keys: list[int], user: User) -> int:
    if not keys:
        return 0
    with transaction.atomic():
        # In key order, as whoever settles several alerts locks them.
        rows = MLAlert.objects.select_for_update(no_key=True).filter(pk__in=keys).order_by("pk")
        unread = [alert.pk for alert in rows if alert.status == MLAlert.Status.UNREAD]
        AlertReceipt.objects.bulk_create([AlertReceipt(alert_id=key, user=user) for key in keys], ignore_conflicts=True)
        MLAlert.objects.filter(pk__in=unread).update(status=MLAlert.Status.READ, read_by=user, read_at=timezone.now())
    return len(keys)
