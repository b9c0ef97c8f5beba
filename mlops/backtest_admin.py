"""Backtest results and degradation checks in the admin: looked at, never edited."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from unfold.decorators import display

from mlops.models import BacktestResult, DegradationCheck
from shelfops.scoped_admin import ScopedAdmin, ScopedAutocompleteFilter

VERDICTS = {True: ("worse", "Worse"), False: ("fine", "No worse"), None: ("unknown", "Too little data to tell")}
COLOURS = {"worse": "danger", "fine": "success", "unknown": "warning"}


def share(model: type[Model], name: str) -> Callable[[Any], str | None]:
    """A list's column of a share, in percent; the file of an export holds the share itself."""
    field: Any = model._meta.get_field(name)

    @display(description=field.verbose_name, ordering=name)
    def column(row: Any) -> str | None:
        value = getattr(row, name)
        return None if value is None else f"{value * 100:.1f} %"

    return column


@admin.register(BacktestResult)
class BacktestResultAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "first_day",
        "day",
        "version",
        "forecast",
        "kind",
        "days_ahead",
        "scope",
        "n",
        "mae",
        share(BacktestResult, "wape"),
        share(BacktestResult, "bias"),
        share(BacktestResult, "coverage"),
        "customer",
    ]
    list_filter: ClassVar = [
        "customer",
        "kind",
        "lead_band",
        "scope_type",
        "baseline",
        ("version", ScopedAutocompleteFilter),
    ]
    list_select_related: ClassVar = ["version", "customer"]
    search_fields: ClassVar = ["version__version", "scope_value"]
    date_hierarchy = "day"

    @display(description="forecast", ordering="baseline")
    def forecast(self, result: BacktestResult) -> str:
        return result.baseline.replace("_", " ") or "the version's own"

    @display(description="days ahead", ordering="lead_band")
    def days_ahead(self, result: BacktestResult) -> str:
        return result.lead_band

    @display(description="of", ordering="scope_value")
    def scope(self, result: BacktestResult) -> str:
        if result.scope_type == BacktestResult.Scope.ALL:
            return "all"
        return f"{result.get_scope_type_display().lower()} {result.scope_value or 'unnamed'}"


@admin.register(DegradationCheck)
class DegradationCheckAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "as_of",
        "version",
        "verdict",
        share(DegradationCheck, "recent_wape"),
        share(DegradationCheck, "holdout_wape"),
        "increase_pct",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "degraded", ("version", ScopedAutocompleteFilter)]
    list_select_related: ClassVar = ["version", "customer"]
    search_fields: ClassVar = ["version__version"]
    date_hierarchy = "as_of"
    export_columns: ClassVar = {
        "as_of": "as_of",
        "version": "version__version",
        "degraded": "degraded",
        "recent_wape": "recent_wape",
        "holdout_wape": "holdout_wape",
        "increase_pct": "increase_pct",
    }

    @display(description="against its hold-out", ordering="degraded", label=COLOURS)
    def verdict(self, check: DegradationCheck) -> tuple[str, str]:
        return VERDICTS[check.degraded]
