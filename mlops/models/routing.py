"""Which version serves which segment, and since when."""

import datetime as dt
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from mlops.models.version import ModelVersion
from shelfops.models import MODEL_NAME_DEFAULT, Customer


class RoutingRuleQuerySet(models.QuerySet["RoutingRule"]):
    """The questions that are asked of the rules."""

    def of(self, customer: Customer, model_name: str = MODEL_NAME_DEFAULT) -> "RoutingRuleQuerySet":
        return self.filter(customer=customer, model_name=model_name)

    def open(self) -> "RoutingRuleQuerySet":
        return self.filter(valid_to=None)

    def valid_on(self, day: dt.date) -> "RoutingRuleQuerySet":
        """Those that hold at the end of the day; of several on one day, the last."""
        return self.filter(Q(valid_to=None) | Q(valid_to__gt=day), valid_from__lte=day)


class RoutingRule(models.Model):
    """A segment is served by a version from `valid_from` until before `valid_to`; written with each promotion."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="routing_rules")
    model_name = models.CharField(max_length=64, default=MODEL_NAME_DEFAULT)
    segment = models.CharField(max_length=100, help_text="global, department:Electronics, …")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="routing_rules")
    experiment = models.ForeignKey(
        "mlops.ModelExperiment", on_delete=models.PROTECT, null=True, blank=True, related_name="routing_rules",
        help_text="Whose adoption it follows from.",
    )  # fmt: skip
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True, help_text="The first day on which it no longer holds.")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="Empty: the system, by rule.",
    )  # fmt: skip
    reason = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RoutingRuleQuerySet.as_manager()

    class Meta:
        db_table = "routing_rules"
        ordering: ClassVar = ["-valid_from", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["customer", "model_name", "segment"],
                condition=Q(valid_to=None),
                name="one_open_rule_per_segment",
            ),
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gte=models.F("valid_from")), name="rule_ends_after_it_begins"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.segment} → {self.version}"
