"""Backtest results and degradation checks in the admin: looked at, never edited."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import FieldTextFilter, RangeDateFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from mlops.models import BacktestResult, DegradationCheck
from shelfops.columns import share
from shelfops.scoped_admin import ScopedAdmin, ScopedAutocompleteFilter

VERDICTS = {True: ("worse", "Worse"), False: ("fine", "No worse"), None: ("unknown", "Too little data to tell")}
NO_HOLDOUT = ("unknown", "No hold-out to compare with")
COLOURS = {"worse": "danger", "fine": "success", "unknown": "warning"}


def baseline_in_words(baseline: str) -> str:
    """Whose forecast was scored: the version's own, an older version's or a plain one."""
    return baseline.replace("_", " ") or "the version’s own"


@admin.register(BacktestResult)
class BacktestResultAdmin(ScopedAdmin):
    words: ClassVar = {
        **dict.fromkeys(["wape", "mape", "bias", "coverage"], share),
        "baseline": baseline_in_words,
    }
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
        "wape",
        "bias",
        "coverage",
        "customer",
    ]
    list_filter: ClassVar = [
        "customer",
        ("day", RangeDateFilter),
        "kind",
        "scope_type",
        ("lead_band", FieldTextFilter),
        ("baseline", FieldTextFilter),
        ("version", ScopedAutocompleteFilter),
    ]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["version__version", "scope_value"]
    # The order of an index: a million rows are neither sorted nor counted, nor read for the months that they have.
    ordering: ClassVar = ["-kind", "-day", "-id"]
    sortable_by = ()
    paginator = InfinitePaginator

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Few versions are named by many rows: each is read once."""
        return super().get_queryset(request).prefetch_related("version")

    @display(description="forecast", ordering="baseline")
    def forecast(self, result: BacktestResult) -> str:
        return baseline_in_words(result.baseline)

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
    words: ClassVar = dict.fromkeys(["recent_wape", "holdout_wape"], share)
    list_display: ClassVar = [
        "as_of",
        "version",
        "verdict",
        "recent_wape",
        "holdout_wape",
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
        return NO_HOLDOUT if check.holdout_wape is None else VERDICTS[check.degraded]
