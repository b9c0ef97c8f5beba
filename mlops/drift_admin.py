"""Drift checks and incidents in the admin: looked at, never edited."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from mlops import drift_page, unreplaced
from mlops.forms import CloseIncidentForm, TrainAgainForm
from mlops.models import DriftCheck, DriftIncident
from mlops.routing import in_words
from shelfops import tenancy
from shelfops.columns import percent
from shelfops.models import User
from shelfops.refusals import Refusal
from shelfops.scoped_admin import ScopedAdmin
from shelfops.tenancy import Action

VERDICT_COLOURS = {
    DriftCheck.Verdict.STABLE: "success",
    DriftCheck.Verdict.DRIFT: "danger",
    DriftCheck.Verdict.INSUFFICIENT_DATA: "warning",
}
STATUS_COLOURS = {DriftIncident.Status.OPEN: "danger", DriftIncident.Status.CLOSED: "success"}


@admin.register(DriftCheck)
class DriftCheckAdmin(ScopedAdmin):
    words: ClassVar = {"segment": in_words, "lower": percent}
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
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["segment", "reason"]
    date_hierarchy = "as_of"
    fieldsets: ClassVar = [
        (None, {"fields": ["as_of", "segment", "verdict", "reason", "champion", "incident", "customer"]}),
        ("Numbers", {"fields": [
            "recent_mae", "baseline_mae", "drift_pct", "lower", "recent_naive_mae", "baseline_naive_mae",
        ]}),
        ("What they were made of", {"fields": [
            "first_day", "last_day", "recent_days", "baseline_days", "recent_rows", "baseline_rows", "model_name",
            "created_at",
        ]}),
    ]  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Few versions are named by many rows: each is read once."""
        return super().get_queryset(request).prefetch_related("champion", "incident__champion")

    @display(description="verdict", ordering="verdict", label=VERDICT_COLOURS)
    def shown_verdict(self, check: DriftCheck) -> tuple[str, str]:
        return check.verdict, check.get_verdict_display()


@admin.register(DriftIncident)
class DriftIncidentAdmin(ScopedAdmin):
    words: ClassVar = {"segment": in_words}
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
    change_form_outer_before_template = "admin/drift_incident.html"
    change_form_outer_after_template = "admin/drift_incident_history.html"
    fieldsets: ClassVar = [
        (None, {"fields": [
            "segment", "status", "opened_on", "last_seen_on", "champion", "baseline_mae", "recent_mae",
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
        shown: dict[str, Any] = {}
        if incident is not None:
            shown["ways"] = unreplaced.ways(incident, cast(User, request.user))
            shown["history"] = [drift_page.steps(incident), drift_page.nights(incident)]
            shown["dossier_tables"] = drift_page.tables(incident.dossier) if incident.dossier else []
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    # --- What a person does where the emergency retrain brought nothing

    def get_urls(self) -> list[URLPattern]:
        doors = {"retrain": self.retrain_view, "close": self.close_view}
        return [
            *(
                path(f"<path:object_id>/{name}/", self.admin_site.admin_view(view), name=f"mlops_driftincident_{name}")
                for name, view in doors.items()
            ),
            *super().get_urls(),
        ]

    def retrain_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks why, and has it trained by a worker, whose page is shown."""
        incident = self._found(request, object_id, Action.RETRAIN)
        form = TrainAgainForm(request.POST or None)
        if not form.is_valid():
            return self._ask(request, incident, form, "Train again")
        try:
            run = unreplaced.train_again(incident, by=cast(User, request.user), reason=form.cleaned_data["reason"])
        except Refusal as refusal:
            return self._refused(request, incident, str(refusal))
        messages.success(request, "The emergency retrain is queued. This page shows how far it is.")
        return redirect(run)

    def close_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks why and what caused the drift, and lets the rule close it."""
        incident = self._found(request, object_id, Action.REVIEW_DRIFT)
        form = CloseIncidentForm(request.POST or None)
        if not form.is_valid():
            return self._ask(request, incident, form, "Close without a new version")
        verdict = DriftIncident.Verdict(form.cleaned_data["verdict"])
        try:
            unreplaced.close(incident, by=cast(User, request.user), notes=form.cleaned_data["notes"], verdict=verdict)
        except Refusal as refusal:
            return self._refused(request, incident, str(refusal))
        messages.success(request, f"The incident is closed: {incident.champion} stays.")
        return redirect("admin:mlops_driftincident_change", incident.pk)

    def _found(self, request: HttpRequest, object_id: str, action: Action) -> DriftIncident:
        incident: DriftIncident | None = self.get_object(request, unquote(object_id))
        if incident is None:
            raise Http404("There is no such drift incident.")
        tenancy.require(request.user, incident.customer, action)
        return incident

    def _ask(self, request: HttpRequest, incident: DriftIncident, form: Form, title: str) -> HttpResponse:
        if refusal := unreplaced.why_not(incident):
            return self._refused(request, incident, refusal)
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "form": form,
            "incident": incident,
            "back": reverse("admin:mlops_driftincident_change", args=[incident.pk]),
        }
        return TemplateResponse(request, "admin/drift_incident_act.html", context)

    def _refused(self, request: HttpRequest, incident: DriftIncident, why: str) -> HttpResponse:
        messages.error(request, why)
        return redirect("admin:mlops_driftincident_change", incident.pk)
