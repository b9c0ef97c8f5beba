"""Experiments in the admin: read here, moved by the buttons of their own pages."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import action, display

from mlops import experiment_facts
from mlops.models import ExperimentEvent, ModelExperiment
from shelfops import tenancy
from shelfops.models import Customer
from shelfops.scoped_admin import LedgerInline, ScopedAdmin
from shelfops.tenancy import Action
from shelfops.told import told


class ExperimentEventInline(LedgerInline):
    model = ExperimentEvent
    fields: ClassVar = ["as_of", "from_status", "to_status", "by", "reason", "created_at"]
    readonly_fields: ClassVar = ["created_at"]
    verbose_name = "event"
    customer_path = "experiment__customer"
    words: ClassVar = {"from_status": experiment_facts.status_in_words}


@admin.register(ModelExperiment)
class ModelExperimentAdmin(ScopedAdmin):
    has_pages = True
    list_display: ClassVar = [
        "experiment_name",
        "shown_status",
        "experiment_type",
        "proposed_by",
        "created_at",
        "shown_page",
        "experimental_version",
        "decision",
        "customer",
    ]
    list_filter: ClassVar = [
        "customer",
        "status",
        "experiment_type",
        "decision",
        "proposed_by",
        ("created_at", RangeDateFilter),
    ]
    list_select_related: ClassVar = ["customer", "proposed_by"]
    search_fields: ClassVar = ["experiment_name", "hypothesis", "experimental_version", "proposed_by__email"]
    date_hierarchy = "created_at"
    inlines: ClassVar = [ExperimentEventInline]
    actions_list: ClassVar = ["propose", "advice"]
    fieldsets: ClassVar = [
        (None, {"fields": [
            "shown_page", "experiment_name", "status", "experiment_type", "hypothesis", "target_improvement_pct",
            "shown_plan", "customer",
        ]}),
        ("Approval", {"fields": [
            "proposed_by", "approved_by", "approved_at", "rationale", "shown_conditions", "self_approved",
        ]}),
        ("Training", {"fields": ["started_on", "baseline_version", "experimental_version", "error", "model_name"]}),
        ("Decision", {"fields": [
            "decision", "decision_rationale", "completed_by", "completed_at", "shown_adopted", "shown_reported",
        ]}),
    ]  # fmt: skip
    readonly_fields: ClassVar = ["shown_page", "shown_plan", "shown_conditions", "shown_adopted", "shown_reported"]
    export_columns: ClassVar = {
        "experiment_id": "experiment_id",
        "name": "experiment_name",
        "type": "experiment_type",
        "status": "status",
        "hypothesis": "hypothesis",
        "target_improvement_pct": "target_improvement_pct",
        "proposed_by": "proposed_by__email",
        "approved_by": "approved_by__email",
        "approved_at": "approved_at",
        "rationale": "rationale",
        "baseline_version": "baseline_version",
        "experimental_version": "experimental_version",
        "decision": "decision",
        "decision_rationale": "decision_rationale",
        "completed_by": "completed_by__email",
        "completed_at": "completed_at",
    }

    def page_of(self, obj: Model, customer: Customer) -> str:
        return reverse("experiment", args=[obj.pk])

    def has_propose_permission(self, request: HttpRequest) -> bool:
        return tenancy.customers_of(request.user, Action.PROPOSE_EXPERIMENT).exists()

    @action(description="Propose an experiment …", url_path="propose", permissions=["propose"])
    def propose(self, _request: HttpRequest) -> HttpResponse:
        return redirect(reverse("propose_experiment"))

    @action(description="Advice on departments", url_path="advice")
    def advice(self, _request: HttpRequest) -> HttpResponse:
        return redirect(reverse("segment_advice"))

    @display(description="status", ordering="status", label=experiment_facts.COLOURS)
    def shown_status(self, experiment: ModelExperiment) -> tuple[str, str]:
        return experiment.status, experiment.get_status_display()

    @display(description="page")
    def shown_page(self, experiment: ModelExperiment) -> SafeString:
        page = reverse("experiment", args=[experiment.pk])
        return format_html('<a href="{}" class="font-semibold">Open</a>', page)

    @display(description="plan")
    def shown_plan(self, experiment: ModelExperiment) -> str:
        return _told(experiment_facts.plan(experiment))

    @display(description="conditions")
    def shown_conditions(self, experiment: ModelExperiment) -> str:
        return _told(experiment_facts.conditions(experiment))

    @display(description="adopted")
    def shown_adopted(self, experiment: ModelExperiment) -> str:
        return "; ".join(f"{one['version']}, before: {one['former'] or 'none'}" for one in experiment.adopted) or "–"

    @display(description="numbers sent along")
    def shown_reported(self, experiment: ModelExperiment) -> str:
        return _told(told(experiment.reported_results))


def _told(lines: list[tuple[str, Any]]) -> str:
    return "; ".join(f"{label}: {value}" for label, value in lines) or "–"
