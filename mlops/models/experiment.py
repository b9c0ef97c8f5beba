"""Experiments: what somebody supposed, who allowed the trial, what was trained for it, and what was decided."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from shelfops.models import MODEL_NAME_DEFAULT, Customer


def _person(help_text: str = "") -> Any:
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text=help_text
    )


class ModelExperiment(models.Model):
    """A hypothesis about forecasts, from its proposal to a decision on what shadow has shown."""

    class Type(models.TextChoices):
        SEGMENTATION = "segmentation", "Segmentation"
        FEATURE_ENGINEERING = "feature_engineering", "Feature engineering"
        HYPERPARAMETERS = "hyperparameters", "Hyperparameters"
        TRAINING_WINDOW = "training_window", "Training window"
        DATA_SOURCE = "data_source", "Data source"
        OTHER = "other", "Other"

    class Status(models.TextChoices):
        PROPOSED = "proposed", "Proposed"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        IN_PROGRESS = "in_progress", "In progress"
        SHADOW_TESTING = "shadow_testing", "Shadow testing"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"
        ROLLED_BACK = "rolled_back", "Rolled back"

    class Decision(models.TextChoices):
        ADOPT = "adopt", "Adopt"
        PARTIAL_ADOPT = "partial_adopt", "Adopt in some segments"
        REJECT = "reject", "Reject"

    experiment_id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="experiments")
    experiment_name = models.CharField("name", max_length=200)
    hypothesis = models.TextField()
    experiment_type = models.CharField("type", max_length=19, choices=Type.choices)
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    status = models.CharField(max_length=14, choices=Status.choices, default=Status.PROPOSED)
    target_improvement_pct = models.FloatField(
        "target improvement in percent", null=True, blank=True, help_text="Empty: the policy's."
    )
    plan = models.JSONField(
        default=dict,
        blank=True,
        help_text="What to train: tier, segmentation, segments, params, window_days.",
    )

    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    approved_by = _person()
    approved_at = models.DateTimeField(null=True, blank=True)
    rationale = models.TextField(blank=True, help_text="Why the proposal was approved or rejected.")
    conditions = models.JSONField(default=dict, blank=True, help_text="What the approval depends on.")
    self_approved = models.BooleanField(default=False, help_text="The proposer approved it, as the policy allows.")

    baseline_version = models.CharField(max_length=2000, blank=True, help_text="Who served when it was started.")
    experimental_version = models.CharField(max_length=2000, blank=True, help_text="Several are joined by commas.")
    started_on = models.DateField(null=True, blank=True)
    error = models.TextField(blank=True, help_text="Why the last training failed; it can be started again.")

    results = models.JSONField(default=dict, blank=True, help_text="As computed from shadow when it was completed.")
    reported_results = models.JSONField(default=dict, blank=True, help_text="Numbers that somebody sent along.")
    decision = models.CharField(max_length=13, choices=Decision.choices, blank=True)
    decision_rationale = models.TextField(blank=True)
    adopted = models.JSONField(
        default=list, blank=True, help_text="The versions that became champions, and who served before."
    )
    completed_by = _person()
    completed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "model_experiments"
        ordering: ClassVar = ["-created_at"]
        verbose_name = "experiment"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "proposed",
                        "approved",
                        "rejected",
                        "in_progress",
                        "shadow_testing",
                        "completed",
                        "cancelled",
                        "rolled_back",
                    ]
                ),
                name="experiment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["proposed", "rejected", "cancelled"])
                | (Q(approved_by__isnull=False) & Q(approved_at__isnull=False)),
                name="experiment_runs_only_approved",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["completed", "rolled_back"])
                | (~Q(decision="") & ~Q(decision_rationale="") & Q(completed_at__isnull=False)),
                name="completed_experiment_says_why",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "status"], name="experiments_by_status")]

    def __str__(self) -> str:
        return self.experiment_name


class ExperimentEvent(models.Model):
    """One change of an experiment's status: from what to what, by whom, why and when."""

    experiment = models.ForeignKey(ModelExperiment, on_delete=models.PROTECT, related_name="events")
    from_status = models.CharField(max_length=14, blank=True)
    to_status = models.CharField(max_length=14, choices=ModelExperiment.Status.choices)
    by = _person("Empty: the system, by rule.")
    reason = models.TextField()
    as_of = models.DateField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "experiment_events"
        ordering: ClassVar = ["created_at", "id"]

    def __str__(self) -> str:
        before = ModelExperiment.Status(self.from_status).label if self.from_status else "New"
        return f"{before} → {self.get_to_status_display()}"
