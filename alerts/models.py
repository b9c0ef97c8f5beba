"""Messages to people: what happened to their models, and whether somebody has to decide."""

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Func, Q, Value, When
from django.utils import timezone
from simple_history.models import HistoricalRecords

from shelfops.models import Customer, User


def _person() -> models.ForeignKey:
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )


# By hand: the ORM would take longer to write it than the database takes to answer a page of alerts.
RECEIPT = "EXISTS(SELECT 1 FROM alert_receipts WHERE (alert_id, user_id) = (%(expressions)s))"


class MLAlertQuerySet(models.QuerySet["MLAlert"]):
    def open(self) -> "MLAlertQuerySet":
        """Those that nobody has acted on or dismissed."""
        return self.filter(status__in=MLAlert.OPEN)

    def overdue(self) -> "MLAlertQuerySet":
        """Those on which somebody should have decided by now."""
        return self.open().filter(requires_action=True, due_at__lt=timezone.now())

    def with_receipts_of(self, user: User) -> "MLAlertQuerySet":
        """With `has_read`: whether this person has read it."""
        receipt = Func(F("pk"), Value(user.pk), template=RECEIPT, output_field=models.BooleanField())
        return self.annotate(has_read=receipt)

    def seen_by(self, user: User) -> "MLAlertQuerySet":
        """With `own_status`: of an open alert, whether this person has read it; else what was decided."""
        return self.with_receipts_of(user).annotate(
            own_status=Case(
                When(~Q(status__in=MLAlert.OPEN), then="status"),
                When(has_read=True, then=Value(MLAlert.Status.READ.value)),
                default=Value(MLAlert.Status.UNREAD.value),
            )
        )

    def unread_by(self, user: User) -> "MLAlertQuerySet":
        """The open ones that this person has not read."""
        return self.open().exclude(receipts__user=user)


class MLAlert(models.Model):
    """One message about one thing; while it is open, the same thing is not told twice."""

    class Type(models.TextChoices):
        DRIFT_DETECTED = "drift_detected", "Drift detected"
        PROMOTION_PENDING = "promotion_pending", "Promotion pending"
        BACKTEST_DEGRADATION = "backtest_degradation", "Backtest degradation"
        EXPERIMENT_COMPLETE = "experiment_complete", "Experiment complete"
        NEW_DATA_SOURCE_READY = "new_data_source_ready", "New data source ready"
        SHADOW_TEST_COMPLETE = "shadow_test_complete", "Shadow test complete"

    class Severity(models.TextChoices):
        CRITICAL = "critical", "Critical"
        WARNING = "warning", "Warning"
        INFO = "info", "Info"

    class Status(models.TextChoices):
        UNREAD = "unread", "Unread"
        READ = "read", "Read"
        ACTIONED = "actioned", "Actioned"
        DISMISSED = "dismissed", "Dismissed"

    class Decision(models.TextChoices):
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        DISMISSED = "dismissed", "Dismissed"
        OVERTAKEN = "overtaken", "Overtaken"

    OPEN: ClassVar = (Status.UNREAD, Status.READ)

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="ml_alerts")
    alert_type = models.CharField(max_length=24, choices=Type.choices)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    requires_action = models.BooleanField(help_text="Somebody has to decide something.")
    title = models.CharField(max_length=200)
    message = models.TextField()
    metadata = models.JSONField(default=dict, help_text="Identifiers and numbers.")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.UNREAD)
    action_url = models.CharField(max_length=200, blank=True)

    model_name = models.CharField(max_length=64, blank=True)
    version = models.CharField(max_length=100, blank=True)
    segment = models.CharField(max_length=100, blank=True)
    dedupe_key = models.CharField(max_length=200, blank=True, help_text="Open alerts of one key exist once.")
    due_at = models.DateTimeField(null=True, blank=True)
    overdue_told_at = models.DateTimeField(null=True, blank=True, help_text="When people were told that it is overdue.")
    silent = models.BooleanField(default=False, help_text="Raised by a replay: nothing is ever sent about it.")

    read_by, read_at = _person(), models.DateTimeField(null=True, blank=True)
    actioned_by, actioned_at = _person(), models.DateTimeField(null=True, blank=True)
    dismissed_by, dismissed_at = _person(), models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=9, choices=Decision.choices, blank=True, help_text="Empty while it is open.")
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MLAlertQuerySet.as_manager()

    class Meta:
        db_table = "ml_alerts"
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "alert"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "dedupe_key"],
                condition=models.Q(status__in=["unread", "read"]) & ~models.Q(dedupe_key=""),
                name="one_open_alert_per_key",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    alert_type__in=[
                        "drift_detected",
                        "promotion_pending",
                        "backtest_degradation",
                        "experiment_complete",
                        "new_data_source_ready",
                        "shadow_test_complete",
                    ]
                ),
                name="alert_type_known",
            ),
            models.CheckConstraint(
                condition=models.Q(severity__in=["critical", "warning", "info"]), name="alert_severity_known"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["unread", "read", "actioned", "dismissed"]), name="alert_status_known"
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["unread", "read"], decision="")
                | models.Q(status="actioned", decision__in=["approved", "rejected"])
                | models.Q(status="dismissed", decision__in=["dismissed", "overtaken"]),
                name="alert_decision_fits_status",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["customer", "status", "severity"], name="alerts_by_status"),
            models.Index(fields=["customer", "-created_at"], name="alerts_by_time"),
            models.Index(
                fields=["customer", "-created_at", "-id"],
                condition=models.Q(status__in=["unread", "read"]),
                name="open_alerts_by_time",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    @property
    def overdue(self) -> bool:
        """Somebody should have decided by now; `MLAlertQuerySet.overdue` asks the same of many."""
        return self.is_open and self.requires_action and self.due_at is not None and self.due_at < timezone.now()

    @property
    def action_label(self) -> str:
        """What `action_url` leads to, such as: Review Model v13; empty where it leads nowhere."""
        if not self.action_url:
            return ""
        links = LINKS if self.is_open else LINKS | LINKS_OF_DECIDED
        texts = (text for start, text in links.items() if self.action_url.startswith(start))
        return next(texts, "See more").format(version=self.version).strip()


class AlertReceipt(models.Model):
    """One person has read one alert."""

    alert = models.ForeignKey(MLAlert, on_delete=models.CASCADE, related_name="receipts")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    read_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "alert_receipts"
        constraints: ClassVar = [models.UniqueConstraint(fields=["alert", "user"], name="one_receipt_per_person")]

    def __str__(self) -> str:
        return f"{self.user} read {self.alert}"


class NotificationChannel(models.Model):
    """Where a customer wants to be told of its alerts beside the admin: an e-mail address or a webhook."""

    customer = models.ForeignKey(Customer, on_delete=models.CASCADE, related_name="notification_channels")
    name = models.CharField(max_length=80, help_text="Such as: on-call of the data team.")
    url = models.CharField("address", max_length=1000)  # holds passwords: no page, export or history shows it
    min_severity = models.CharField(
        "least severity",
        max_length=8,
        choices=MLAlert.Severity.choices,
        default=MLAlert.Severity.WARNING,
        help_text="Alerts below it are not sent.",
    )
    types = models.JSONField(default=list, blank=True, help_text="Only alerts of these types are sent. None: all.")
    enabled = models.BooleanField(default=True)
    history = HistoricalRecords(excluded_fields=["url"])

    class Meta:
        db_table = "notification_channels"
        verbose_name = "alert channel"
        ordering: ClassVar = ["customer", "name"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["customer", "name"], name="channel_name_once")]

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> str:
        """What people may see of the address, such as: webhook at hooks.acme.example."""
        parts = urlsplit(self.url)
        return f"{'e-mail' if parts.scheme.startswith('mailto') else 'webhook'} at {parts.hostname or '–'}"

    def wants(self, alert: MLAlert) -> bool:
        severities = MLAlert.Severity.values  # the gravest first
        is_grave = severities.index(alert.severity) <= severities.index(self.min_severity)
        return self.enabled and is_grave and (not self.types or alert.alert_type in self.types)


class Notification(models.Model):
    """One message to one channel: written with its alert, sent after the commit, tried again until it is through."""

    class Kind(models.TextChoices):
        RAISED = "raised", "New alert"
        OVERDUE = "overdue", "Overdue"

    class Status(models.TextChoices):
        QUEUED = "queued", "Queued"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        DROPPED = "dropped", "Dropped"

    alert = models.ForeignKey(MLAlert, on_delete=models.CASCADE, related_name="notifications")
    channel = models.ForeignKey(
        NotificationChannel, on_delete=models.SET_NULL, null=True, blank=True, related_name="notifications"
    )
    channel_name = models.CharField("channel", max_length=80)
    kind = models.CharField(max_length=7, choices=Kind.choices)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    last_error = models.TextField(blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "notifications"
        verbose_name = "sent alert"
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["alert", "channel", "kind"], name="told_once_per_channel"),
            models.CheckConstraint(
                condition=models.Q(status__in=["queued", "sent", "failed", "dropped"]), name="notification_status_known"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["status", "next_attempt_at"], name="notifications_due")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.alert}"


@dataclass(frozen=True)
class Kind:
    """What follows from an alert's type."""

    severity: MLAlert.Severity
    requires_action: bool


KINDS: dict[MLAlert.Type, Kind] = {
    MLAlert.Type.DRIFT_DETECTED: Kind(MLAlert.Severity.CRITICAL, requires_action=True),
    MLAlert.Type.PROMOTION_PENDING: Kind(MLAlert.Severity.WARNING, requires_action=True),
    MLAlert.Type.BACKTEST_DEGRADATION: Kind(MLAlert.Severity.WARNING, requires_action=False),
    MLAlert.Type.EXPERIMENT_COMPLETE: Kind(MLAlert.Severity.INFO, requires_action=False),
    MLAlert.Type.NEW_DATA_SOURCE_READY: Kind(MLAlert.Severity.INFO, requires_action=True),
    MLAlert.Type.SHADOW_TEST_COMPLETE: Kind(MLAlert.Severity.INFO, requires_action=True),
}

# Types whose producer has yet to be written; whoever writes it takes the type out here.
EXPECTED_LATER = frozenset({MLAlert.Type.NEW_DATA_SOURCE_READY})

# What lies behind an action_url, by how it starts.
LINKS = {
    "/models/review/": "Review Model {version}",
    "/models/": "Look at model {version}",
    "/admin/mlops/modelversion/": "Look at model {version}",
    "/admin/mlops/driftincident/": "See the incident",
    "/experiments/": "See the results",
    "/sources/": "Look at the data source",
    "/runs/": "See the run",
}
LINKS_OF_DECIDED = {"/models/review/": "See the review of {version}"}
