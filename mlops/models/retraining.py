"""One row for every retrain: why it ran, what came of it, and where it stands while it runs."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from shelfops.models import MODEL_NAME_DEFAULT, Customer


class ModelRetrainingLog(models.Model):
    """A retrain from its trigger to its decision; opened before the work, closed once."""

    class Trigger(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        MANUAL = "manual", "Manual"
        DRIFT = "drift_detected", "Drift detected"
        EXPERIMENT = "experiment", "Experiment"
        NEW_DATA = "new_data", "New data source"

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="retrainings")
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    trigger_type = models.CharField(max_length=16, choices=Trigger.choices)
    trigger_metadata = models.JSONField(default=dict, blank=True)
    reason = models.TextField(blank=True, help_text="Why somebody asked for it; a manual retrain has to say.")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Empty: the timetable or a rule.",
    )  # fmt: skip
    as_of = models.DateField(help_text="The customer's day on which it ran.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.RUNNING)
    version_produced = models.CharField(max_length=2000, blank=True, help_text="Several are joined by commas.")
    decision = models.TextField(blank=True, help_text="What became of the version, in words.")
    notes = models.JSONField(default=list, help_text="What was left out, and why.")
    error = models.TextField(blank=True)
    stages = models.JSONField(default=list, help_text="Each stage with its seconds, in order.")
    job_run = models.ForeignKey(
        "shelfops.JobRun", on_delete=models.PROTECT, null=True, blank=True, related_name="retrainings"
    )
    started_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "model_retraining_log"
        ordering: ClassVar = ["-started_at", "-id"]
        verbose_name = "retraining"
        verbose_name_plural = "retraining log"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(status__in=["running", "completed", "failed", "skipped"]),
                name="retraining_status_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(trigger_type="manual") | ~models.Q(reason=""), name="manual_retrain_has_a_reason"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "-started_at"], name="retrainings_by_start")]

    def __str__(self) -> str:
        return f"{self.get_trigger_type_display()} on {self.as_of}"
