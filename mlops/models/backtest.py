"""How versions and baselines did, by day, origin, lead and scope."""

from typing import ClassVar

from django.db import models

from mlops.models.version import ModelVersion
from shelfops.models import Customer


def _metric(name: str, help_text: str = "") -> models.FloatField:
    return models.FloatField(name, null=True, blank=True, help_text=help_text)


class BacktestResult(models.Model):
    """Metrics of one version or baseline over the scored rows of one origin, lead band, day and scope."""

    class Kind(models.TextChoices):
        HOLDOUT = "holdout", "Hold-out"
        DAILY = "daily", "Daily"

    class Scope(models.TextChoices):
        ALL = "all", "All"
        DEPARTMENT = "department", "Department"
        STORE = "store", "Store"
        VELOCITY = "velocity", "Velocity band"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="backtests", help_text="The version that was judged."
    )
    baseline = models.CharField(
        max_length=32, blank=True, help_text="Empty: the version itself; else what was scored beside it."
    )
    kind = models.CharField(max_length=8, choices=Kind.choices)
    origin = models.DateField(help_text="Last day whose sales the forecast knew; of several, the first.")
    lead_band = models.CharField(max_length=8, help_text="Days ahead: 1, 1-7, 8-14.")
    first_day = models.DateField(help_text="Of the days scored; the same as the last for one day.")
    day = models.DateField("last day", help_text="Of the days scored.")
    scope_type = models.CharField(max_length=10, choices=Scope.choices, default=Scope.ALL)
    scope_value = models.CharField(max_length=100, blank=True)

    n = models.PositiveIntegerField("rows", help_text="Rows scored.")
    units = models.FloatField(help_text="Units sold in these rows.")
    mae = _metric("MAE", "Units per series and day.")
    wape = _metric("WAPE", "Sum of absolute errors by sum of actuals.")
    rmse = _metric("RMSE", "Units per series and day.")
    mape = _metric("MAPE", "Over actuals above 0.")
    mape_n = models.PositiveIntegerField("rows of MAPE", default=0)
    bias = _metric("bias", "Sum of errors by sum of actuals.")
    mase = _metric("MASE", "Against the weekly difference in training.")
    mase_n = models.PositiveIntegerField("rows of MASE", default=0)
    coverage = _metric("coverage", "Share of actuals inside the interval.")
    width = _metric("width", "Mean width of the interval, in units.")
    missed_above = _metric("missed above", "Share of actuals above the interval.")
    missed_below = _metric("missed below", "Share of actuals below the interval.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "backtest_results"
        verbose_name = "backtest"
        ordering: ClassVar = ["-day", "scope_type", "scope_value", "baseline"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=[
                    "version",
                    "baseline",
                    "kind",
                    "origin",
                    "lead_band",
                    "first_day",
                    "day",
                    "scope_type",
                    "scope_value",
                ],
                name="backtest_once",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["customer", "kind", "day"], name="backtests_by_day")]

    def __str__(self) -> str:
        whose = f", {self.baseline.replace('_', ' ')}" if self.baseline else ""
        return f"{self.version}{whose}: {self.scope_value or 'all'} on {self.day}"
