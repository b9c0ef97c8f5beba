"""What the nightly look at the forecasts that served has found: checks, incidents and degradation."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from mlops.models.retraining import ModelRetrainingLog
from mlops.models.version import ModelVersion
from shelfops.models import MODEL_NAME_DEFAULT, Customer


class DriftIncident(models.Model):
    """A segment whose champion has become worse, from its detection to a person's decision."""

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        CLOSED = "closed", "Closed"

    class Outcome(models.TextChoices):
        REPLACED = "replaced", "The new version took over"
        NO_REPLACEMENT = "no_replacement", "The champion stays"
        OVERTAKEN = "overtaken", "Overtaken by another promotion"

    class Verdict(models.TextChoices):
        DATA_FAULT = "data_fault", "A fault in the data"
        CALENDAR_OR_LEVEL = "calendar_or_level", "The calendar or the level of sales"
        REAL = "real", "The model has become worse"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="drift_incidents")
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    segment = models.CharField(max_length=100)
    status = models.CharField(max_length=6, choices=Status.choices, default=Status.OPEN)
    opened_on = models.DateField()
    champion = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="+", help_text="The version that drifted."
    )
    baseline_mae = models.FloatField()
    recent_mae = models.FloatField()
    drift_pct = models.FloatField("drift in percent")
    last_seen_on = models.DateField(help_text="The last day on which the check still found drift.")
    dossier = models.JSONField(
        default=dict, help_text="What speaks for a fault in the data, the calendar or the model."
    )
    suggested_verdict = models.CharField(max_length=17, choices=Verdict.choices, blank=True)
    verdict = models.CharField(max_length=17, choices=Verdict.choices, blank=True, help_text="The reviewer's own.")
    retraining = models.ForeignKey(
        ModelRetrainingLog, on_delete=models.PROTECT, null=True, blank=True, related_name="drift_incidents"
    )
    challenger = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="drift_incidents"
    )
    outcome = models.CharField(max_length=14, choices=Outcome.choices, blank=True)
    closed_on = models.DateField(null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    reason = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "drift_incidents"
        ordering: ClassVar = ["-opened_on", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "model_name", "segment"], condition=Q(status="open"), name="one_open_incident"
            ),
            models.CheckConstraint(condition=Q(status__in=["open", "closed"]), name="incident_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.champion} drifted by {self.drift_pct:.0f} % ({self.opened_on})"

    @property
    def is_unreplaced(self) -> bool:
        """Whether people were told that the emergency retrain brought nothing, and have not said what now."""
        return self.status == self.Status.OPEN and self.challenger_id is None and self.suggested_verdict != ""


class IncidentEvent(models.Model):
    """One step of an incident: what was done, by whom, why and when."""

    class Kind(models.TextChoices):
        OPENED = "opened", "Opened"
        TRAINED = "trained", "New version trained"
        FAILED = "failed", "Emergency retrain failed"
        ASKED_AGAIN = "asked_again", "Retrain asked for again"
        CLOSED = "closed", "Closed"

    incident = models.ForeignKey(DriftIncident, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=11, choices=Kind.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Empty: the system, by rule.",
    )  # fmt: skip
    reason = models.TextField()
    as_of = models.DateField(help_text="The customer's day.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "drift_incident_events"
        ordering: ClassVar = ["created_at", "id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(kind__in=["opened", "trained", "failed", "asked_again", "closed"]),
                name="incident_event_kind_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} on {self.as_of}"


class DriftCheck(models.Model):
    """One night's verdict on one segment, with the numbers it was made of."""

    class Verdict(models.TextChoices):
        STABLE = "stable", "Stable"
        DRIFT = "drift", "Drift"
        INSUFFICIENT_DATA = "insufficient_data", "Too little data to tell"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="drift_checks")
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    segment = models.CharField(max_length=100)
    as_of = models.DateField()
    champion = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=17, choices=Verdict.choices)
    recent_mae = models.FloatField(null=True, blank=True)
    baseline_mae = models.FloatField(null=True, blank=True)
    drift_pct = models.FloatField("drift in percent", null=True, blank=True)
    lower = models.FloatField(null=True, blank=True, help_text="Of the increase, by bootstrap over days.")
    recent_naive_mae = models.FloatField("recent MAE of seasonal naive", null=True, blank=True)
    baseline_naive_mae = models.FloatField("baseline MAE of seasonal naive", null=True, blank=True)
    recent_rows = models.PositiveIntegerField(default=0)
    baseline_rows = models.PositiveIntegerField(default=0)
    recent_days = models.PositiveSmallIntegerField(default=0)
    baseline_days = models.PositiveSmallIntegerField(default=0)
    first_day = models.DateField(null=True, blank=True, help_text="First day of the baseline window.")
    last_day = models.DateField(null=True, blank=True, help_text="Last complete day.")
    reason = models.TextField()
    incident = models.ForeignKey(DriftIncident, on_delete=models.PROTECT, null=True, blank=True, related_name="checks")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "drift_checks"
        ordering: ClassVar = ["-as_of", "segment"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "model_name", "segment", "as_of"], name="one_check_a_night"),
            models.CheckConstraint(
                condition=Q(verdict__in=["stable", "drift", "insufficient_data"]), name="drift_verdict_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.segment} on {self.as_of}: {self.get_verdict_display()}"


class DegradationCheck(models.Model):
    """One night's look at a champion's WAPE against the one of its own hold-out."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="degradation_checks")
    as_of = models.DateField()
    recent_wape = models.FloatField(
        "recent WAPE", null=True, blank=True, help_text="One day ahead, last 7 complete days."
    )
    holdout_wape = models.FloatField(
        "hold-out WAPE", null=True, blank=True, help_text="One day ahead, in the version's hold-out."
    )
    increase_pct = models.FloatField("increase in percent", null=True, blank=True)
    degraded = models.BooleanField(null=True, blank=True, help_text="Empty: too little data to tell.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "degradation_checks"
        ordering: ClassVar = ["-as_of", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "as_of"], name="one_degradation_check_a_night")
        ]

    def __str__(self) -> str:
        return f"{self.version} on {self.as_of}"
