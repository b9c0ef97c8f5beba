"""Drift checks and incidents in the admin: looked at, never edited."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from mlops import drift_page
from mlops.models import DriftCheck, DriftIncident
from shelfops.scoped_admin import LedgerInline, ScopedAdmin

VERDICT_COLOURS = {
    DriftCheck.Verdict.STABLE: "success",
    DriftCheck.Verdict.DRIFT: "danger",
    DriftCheck.Verdict.INSUFFICIENT_DATA: "warning",
}
STATUS_COLOURS = {DriftIncident.Status.OPEN: "danger", DriftIncident.Status.CLOSED: "success"}


@admin.register(DriftCheck)
class DriftCheckAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "as_of",
        "segment",
        "shown_verdict",
        "recent_mae",
        "baseline_mae",
        "drift_pct",
        "champion",
        "incident",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "verdict", "segment"]
    list_select_related: ClassVar = ["customer", "champion", "incident__champion"]
    search_fields: ClassVar = ["segment", "reason"]
    date_hierarchy = "as_of"
    fieldsets: ClassVar = [
        (None, {"fields": ["as_of", "segment", "shown_verdict", "reason", "champion", "incident", "customer"]}),
        ("Numbers", {"fields": [
            "recent_mae", "baseline_mae", "drift_pct", "lower", "recent_naive_mae", "baseline_naive_mae",
        ]}),
        ("What they were made of", {"fields": [
            "first_day", "last_day", "recent_days", "baseline_days", "recent_rows", "baseline_rows", "model_name",
            "created_at",
        ]}),
    ]  # fmt: skip

    @display(description="verdict", ordering="verdict", label=VERDICT_COLOURS)
    def shown_verdict(self, check: DriftCheck) -> tuple[str, str]:
        return check.verdict, check.get_verdict_display()


class DriftCheckInline(LedgerInline):
    model = DriftCheck
    fields: ClassVar = ["as_of", "verdict", "recent_mae", "baseline_mae", "drift_pct", "recent_rows", "reason"]
    verbose_name = "night"


@admin.register(DriftIncident)
class DriftIncidentAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "opened_on",
        "segment",
        "shown_status",
        "drift_pct",
        "champion",
        "challenger",
        "suggested_verdict",
        "verdict",
        "outcome",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "status", "outcome", "suggested_verdict", "segment"]
    list_select_related: ClassVar = ["customer", "champion", "challenger"]
    search_fields: ClassVar = ["segment", "champion__version", "challenger__version", "reason"]
    date_hierarchy = "opened_on"
    inlines: ClassVar = [DriftCheckInline]
    change_form_outer_before_template = "admin/drift_incident.html"
    fieldsets: ClassVar = [
        (None, {"fields": [
            "segment", "shown_status", "opened_on", "last_seen_on", "champion", "baseline_mae", "recent_mae",
            "drift_pct", "customer",
        ]}),
        ("Answer", {"fields": ["retraining", "challenger", "suggested_verdict"]}),
        ("Decision", {"fields": ["verdict", "outcome", "closed_on", "closed_by", "reason"]}),
        ("Record", {"fields": ["model_name", "created_at"]}),
    ]  # fmt: skip

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def shown_status(self, incident: DriftIncident) -> tuple[str, str]:
        return incident.status, incident.get_status_display()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        incident = self.get_object(request, unquote(object_id))
        shown = {"dossier_tables": drift_page.tables(incident.dossier)} if incident and incident.dossier else {}
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})
