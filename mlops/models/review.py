"""What people decided about challengers: one row for each version that was reviewed."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from alerts.models import MLAlert
from mlops.models.drift import DriftIncident
from mlops.models.version import ModelVersion
from shelfops.models import Customer


class ModelReview(models.Model):
    """A person approved or rejected a challenger, once and for all; a champion is called back by a rollback."""

    class Action(models.TextChoices):
        APPROVE = "approve", "Approved"
        REJECT = "reject", "Rejected"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="reviews")
    version = models.OneToOneField(ModelVersion, on_delete=models.PROTECT, related_name="review")
    action = models.CharField("decision", max_length=7, choices=Action.choices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    notes = models.TextField()
    champion = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Who served the segment until then; empty: nobody.",
    )  # fmt: skip
    verdict = models.CharField(
        "verdict on the drift", max_length=17, choices=DriftIncident.Verdict.choices, blank=True,
        help_text="The reviewer's own, where drift had asked for the version.",
    )  # fmt: skip
    alert = models.ForeignKey(
        MLAlert, on_delete=models.PROTECT, null=True, blank=True, related_name="reviews",
        help_text="The alert that had asked for the decision; empty: none was open.",
    )  # fmt: skip
    as_of = models.DateField(help_text="The customer's day of the decision.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "model_reviews"
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "review"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(action__in=["approve", "reject"]), name="review_action_known"),
            models.CheckConstraint(condition=~Q(notes=""), name="review_has_notes"),
        ]

    def __str__(self) -> str:
        return f"{self.version} {self.get_action_display().lower()} on {self.as_of}"
