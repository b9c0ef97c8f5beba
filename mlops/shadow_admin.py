"""Shadow tests and what their versions said, in the admin: to be read, never edited."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from mlops.models import ShadowPrediction, ShadowTest
from shelfops.columns import percent
from shelfops.scoped_admin import ScopedAdmin, ScopedAutocompleteFilter, customer_ids
from shelfops.tenancy import Action

STATUS_COLOURS = {ShadowTest.Status.RUNNING: "info", ShadowTest.Status.COMPLETED: "success"}
VERDICT_COLOURS = {
    ShadowTest.Verdict.PROMOTE: "success",
    ShadowTest.Verdict.REFRESH: "primary",
    ShadowTest.Verdict.EXTEND: "warning",
}


@admin.register(ShadowTest)
class ShadowTestAdmin(ScopedAdmin):
    words: ClassVar = dict.fromkeys(["lower", "upper"], percent)
    exclude: ClassVar = ["result"]  # a long comparison, which the version's page tells in tables
    list_display: ClassVar = [
        "version",
        "shown_status",
        "started_on",
        "shown_days",
        "samples",
        "champion_mae",
        "challenger_mae",
        "improvement_pct",
        "shown_verdict",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "status", "verdict", ("version", ScopedAutocompleteFilter)]
    list_select_related: ClassVar = ["version", "customer"]
    search_fields: ClassVar = ["version__version", "version__segment"]
    date_hierarchy = "started_on"
    export_columns: ClassVar = {
        "version": "version__version",
        "segment": "version__segment",
        "status": "status",
        "started_on": "started_on",
        "target_days": "target_days",
        "completed_on": "completed_on",
        "days": "days",
        "samples": "samples",
        "champion_mae": "champion_mae",
        "challenger_mae": "challenger_mae",
        "improvement_pct": "improvement_pct",
        "lower": "lower",
        "upper": "upper",
        "verdict": "verdict",
    }

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def shown_status(self, test: ShadowTest) -> tuple[str, str]:
        return test.status, test.get_status_display()

    @display(description="days", ordering="days")
    def shown_days(self, test: ShadowTest) -> str:
        return f"{test.days} of {test.target_days}"

    @display(description="verdict", ordering="verdict", label=VERDICT_COLOURS)
    def shown_verdict(self, test: ShadowTest) -> tuple[str, str] | None:
        return (test.verdict, test.get_verdict_display()) if test.verdict else None


@admin.register(ShadowPrediction)
class ShadowPredictionAdmin(ScopedAdmin):
    """A long table, listed in the order of its index by customer and day, and never counted."""

    list_display: ClassVar = [
        "forecast_date",
        "store_id",
        "product_id",
        "champion_prediction",
        "challenger_prediction",
        "seasonal_naive",
        "actual_demand",
        "version",
        "champion",
    ]
    list_filter: ClassVar = [
        "customer",
        ("forecast_date", RangeDateFilter),
        ("version", ScopedAutocompleteFilter),
        "replayed",
    ]
    list_select_related: ClassVar = ["customer"]
    ordering: ClassVar = ["-forecast_date", "-pk"]
    sortable_by = ()
    paginator = InfinitePaginator
    export_columns: ClassVar = {
        "forecast_date": "forecast_date",
        "store_id": "store_id",
        "product_id": "product_id",
        "version": "version__version",
        "champion": "champion__version",
        "challenger_prediction": "challenger_prediction",
        "challenger_lower": "challenger_lower",
        "challenger_upper": "challenger_upper",
        "champion_prediction": "champion_prediction",
        "champion_lower": "champion_lower",
        "champion_upper": "champion_upper",
        "seasonal_naive": "seasonal_naive",
        "actual_demand": "actual_demand",
        "department": "department",
        "band": "band",
        "replayed": "replayed",
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """By the customers' keys themselves: a subquery would keep the index from giving the order.

        Few versions are named by many rows: each is read once.
        """
        rows = ModelAdmin.get_queryset(self, request).prefetch_related("version", "champion")
        return rows.filter(customer__in=customer_ids(request, Action.READ))
