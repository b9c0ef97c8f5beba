"""Versions that run beside the champion: what each said, and what came of the comparison."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from mlops.models.version import ModelVersion
from shelfops.models import Customer


class ShadowTest(models.Model):
    """One version's time in shadow, evaluated once, when it has its days."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        CANCELLED = "cancelled", "Cancelled"

    class Verdict(models.TextChoices):
        PROMOTE = "promote", "Better: promote"
        REFRESH = "refresh", "No worse: refresh the champion"
        KEEP = "keep", "No case for it"
        EXTEND = "extend", "Too few days to tell"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="shadow_tests")
    version = models.OneToOneField(ModelVersion, on_delete=models.PROTECT, related_name="shadow_test")
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.RUNNING)
    started_on = models.DateField(help_text="The first day that it forecasts in shadow.")
    target_days = models.PositiveSmallIntegerField(help_text="Scored days after which it is evaluated.")
    completed_on = models.DateField(null=True, blank=True)

    verdict = models.CharField(max_length=7, choices=Verdict.choices, blank=True)
    days = models.PositiveSmallIntegerField(default=0, help_text="Days with actuals so far.")
    samples = models.PositiveIntegerField(default=0, help_text="Shadow rows with their actual so far.")
    champion_mae = models.FloatField(null=True, blank=True)
    challenger_mae = models.FloatField(null=True, blank=True)
    improvement_pct = models.FloatField(null=True, blank=True)
    lower = models.FloatField(null=True, blank=True, help_text="Of the improvement, by bootstrap over days.")
    upper = models.FloatField(null=True, blank=True)
    result = models.JSONField(default=dict, help_text="The whole comparison, with each guard's verdict and the reason.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "shadow_tests"
        ordering: ClassVar = ["-started_on", "-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=["running", "completed", "cancelled"]), name="shadow_status_known"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "status"], name="shadow_tests_by_status")]

    def __str__(self) -> str:
        return f"{self.version} in shadow since {self.started_on}"


class ShadowPrediction(models.Model):
    """What the champion and a version in shadow said, one day ahead, of one product in one store on one day.

    The store and the product are the retailer's own keys; department and band are what was true when it was made.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+", db_index=False)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="shadow_predictions", db_index=False
    )
    champion = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+", db_index=False)
    store_id = models.CharField(max_length=64)
    product_id = models.CharField(max_length=64)
    forecast_date = models.DateField()
    champion_prediction = models.FloatField()
    challenger_prediction = models.FloatField()
    champion_lower = models.FloatField(null=True, blank=True)
    champion_upper = models.FloatField(null=True, blank=True)
    challenger_lower = models.FloatField(null=True, blank=True)
    challenger_upper = models.FloatField(null=True, blank=True)
    seasonal_naive = models.FloatField(null=True, blank=True)
    actual_demand = models.FloatField(null=True, blank=True, help_text="Empty until the day is in.")
    department = models.CharField(max_length=64, blank=True)
    band = models.CharField("velocity band", max_length=6, blank=True)
    replayed = models.BooleanField(default=False, help_text="Computed after the day, as of the day before.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "shadow_predictions"
        verbose_name = "shadow forecast"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["version", "forecast_date", "store_id", "product_id"], name="shadow_prediction_once"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "forecast_date"], name="shadow_rows_by_day")]

    def __str__(self) -> str:
        return f"{self.challenger_prediction:.1f} for {self.forecast_date}"
