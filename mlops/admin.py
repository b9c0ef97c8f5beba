"""The ledger's tables in the admin."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import display

from mlops import addresses, promotion, review, version_page
from mlops.backtest_admin import BacktestResultAdmin, DegradationCheckAdmin
from mlops.drift_admin import DriftCheckAdmin, DriftIncidentAdmin
from mlops.experiment_admin import ModelExperimentAdmin
from mlops.forms import RollBackForm
from mlops.models import ModelPolicy, ModelVersion, RoutingRule, VersionEvent
from mlops.review_admin import ModelReviewAdmin
from mlops.routing import in_words
from mlops.shadow_admin import ShadowPredictionAdmin, ShadowTestAdmin
from shelfops import tenancy
from shelfops.columns import share
from shelfops.models import Customer, User
from shelfops.refusals import Refusal
from shelfops.scoped_admin import LedgerInline, ScopedAdmin, ScopedAutocompleteFilter, ScopedHistoryAdmin
from shelfops.tenancy import Action
from shelfops.told import in_words as words_of_code

__all__ = [
    "BacktestResultAdmin",
    "DegradationCheckAdmin",
    "DriftCheckAdmin",
    "DriftIncidentAdmin",
    "ModelExperimentAdmin",
    "ModelReviewAdmin",
    "ShadowPredictionAdmin",
    "ShadowTestAdmin",
]  # registered where they stand

POLICY_TOPICS: dict[str, list[str]] = {
    "Training and scoring": [
        "train_days",
        "holdout_days",
        "holdout_share",
        "min_holdout_days",
        "min_target_days",
        "emergency_train_days",
        "emergency_holdout_days",
        "horizon_days",
        "origin_step_days",
        "decision_leads",
        "active_days",
        "complete_day_share",
        "interval_level",
        "velocity_medium_from",
        "velocity_fast_from",
    ],
    "Promotion": [
        "min_improvement_pct",
        "guard_rmse_pct",
        "guard_bias_points",
        "guard_bias_max_points",
        "guard_coverage_points",
        "guard_department_units",
        "guard_department_mae_pct",
        "guard_mape_pct",
        "guard_mape_min_share",
        "bootstrap_level",
        "refresh_lower_pct",
        "refresh_age_days",
        "rollback_freeze_days",
        "max_shadowing",
    ],
    "Drift and reviews": [
        "drift_recent_days",
        "drift_baseline_days",
        "drift_pct",
        "drift_min_rows",
        "drift_min_days_share",
        "drift_segment_lower_pct",
        "drift_segment_nights",
        "drift_cooldown_days",
        "degradation_pct",
        "review_due_hours",
    ],
    "Shadow and experiments": ["shadow_min_days", "shadow_days", "target_improvement_pct", "allow_self_approval"],
    "Segments and retention": ["new_item_days", "segment_min_rows", "keep_forecast_days", "keep_shadow_days"],
}


@admin.register(ModelPolicy)
class ModelPolicyAdmin(ScopedHistoryAdmin):
    """Exists once per customer from its first day: changed here, never added or deleted."""

    edit_action = Action.MANAGE
    can_add = can_delete = False
    list_display: ClassVar = ["customer", "min_improvement_pct", "drift_pct", "shadow_days", "updated_at"]
    list_select_related: ClassVar = ["customer"]
    readonly_fields: ClassVar = ["updated_at"]
    fieldsets: ClassVar = [
        (None, {"fields": ["customer", "updated_at"]}),
        *((topic, {"fields": names, "classes": ["tab"]}) for topic, names in POLICY_TOPICS.items()),
    ]

    def get_list_display(self, request: HttpRequest) -> list[str]:
        return list(self.list_display)


# --- The ledger: written by the rules, never edited here

STATUS_COLOURS = {
    ModelVersion.Status.CHAMPION: "success",
    ModelVersion.Status.CHALLENGER: "warning",
    ModelVersion.Status.CANDIDATE: "info",
    ModelVersion.Status.EXPERIMENTAL: "primary",
}


def _status(status: str) -> str:
    return str(ModelVersion.Status(status).label)


class VersionEventInline(LedgerInline):
    model = VersionEvent
    customer_path = "version__customer"
    words: ClassVar = {"from_status": _status}
    fields: ClassVar = ["as_of", "from_status", "to_status", "by", "reason", "created_at"]
    readonly_fields: ClassVar = ["created_at"]
    verbose_name = "event"


@admin.register(ModelVersion)
class ModelVersionAdmin(ScopedAdmin):
    has_pages = True
    words: ClassVar = {"segment": in_words, "tier": words_of_code, "coverage": share}
    list_display: ClassVar = [
        "shown_version",
        "shown_status",
        "shown_review",
        "segment",
        "tier",
        "as_of",
        "mae",
        "baseline_mae",
        "coverage",
        "customer",
    ]
    list_display_links = None
    list_filter: ClassVar = ["customer", "status", "segment", "tier"]
    list_select_related: ClassVar = ["customer", "review"]
    search_fields: ClassVar = ["version", "segment"]
    date_hierarchy = "as_of"
    inlines: ClassVar = [VersionEventInline]
    change_form_outer_before_template = "admin/model_version.html"
    fieldsets: ClassVar = [
        (None, {"fields": ["version", "status", "segment", "model_name", "customer", "champion_since", "parent"]}),
        ("Recipe and data", {"fields": [
            "tier", "recipe", "as_of", "evaluation_start", "evaluation_end", "train_start", "train_end", "rows",
            "series", "data_hash",
        ]}),
        ("Result", {"fields": ["mae", "baseline_mae", "coverage", "run"]}),
        ("Provenance", {"fields": ["libraries", "code_version", "artefact", "artefact_sha256", "created_at"]}),
    ]  # fmt: skip

    @display(description="version", ordering="number")
    def shown_version(self, version: ModelVersion) -> str:
        page = addresses.life_url(version)
        return format_html('<a href="{}" class="font-semibold text-link">{}</a>', page, version)

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def shown_status(self, version: ModelVersion) -> tuple[str, str]:
        return version.status, version.get_status_display()

    @display(description="decision")
    def shown_review(self, version: ModelVersion) -> str | None:
        """Where a person has decided, what; where one is asked to, the way there."""
        if reviewed := getattr(version, "review", None):
            return format_html('<a href="{}">{}</a>', addresses.url(version), reviewed.get_action_display())
        if not version.awaits_review:  # type: ignore[attr-defined]  # annotated in get_queryset
            return None
        return format_html('<a href="{}" class="font-semibold">Review</a>', addresses.url(version))

    def page_of(self, obj: Model, customer: Customer) -> str:
        return addresses.life_url(cast(ModelVersion, obj), customer)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        return super().get_queryset(request).annotate(awaits_review=review.AWAITS_REVIEW)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.roll_back_view)
        return [path("<path:object_id>/roll-back/", view, name="mlops_modelversion_roll_back"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, unquote(object_id))
        shown: dict[str, Any] = {}
        if version is not None:
            shown["version_tables"] = version_page.tables(version)
            if version.status == ModelVersion.Status.CHALLENGER or review.review_of(version):
                shown["review_url"] = addresses.url(version)
            shown["roll_back_url"] = addresses.roll_back_url(version, cast(User, request.user))
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def roll_back_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks why, says what will happen, and lets the rule do it."""
        version = self.get_object(request, unquote(object_id))
        if version is None:
            raise Http404("There is no such version.")
        tenancy.require(request.user, version.customer, Action.ROLL_BACK)
        form = RollBackForm(request.POST or None, initial={"champion": _name(promotion.champion_of(version))})
        if form.is_valid():
            self._roll_back(request, version, form.cleaned_data)
        elif version.is_former_champion:
            return self._ask_why(request, version, form)
        else:
            messages.error(request, f"{version} is {version.status}: one can only roll back to a former champion.")
        return redirect("admin:mlops_modelversion_change", version.pk)

    def _roll_back(self, request: HttpRequest, version: ModelVersion, answers: dict[str, str]) -> None:
        by, as_of = cast(User, request.user), version.customer.today()
        try:
            promotion.roll_back(
                version, by=by, reason=answers["reason"], as_of=as_of, expected_champion=answers["champion"]
            )
        except Refusal as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"{version} serves {in_words(version.segment)} again.")

    def _ask_why(self, request: HttpRequest, version: ModelVersion, form: RollBackForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Roll back to {version}",
            "opts": self.opts,
            "form": form,
            "version": version,
            "where": in_words(version.segment),
            "champion": promotion.champion_of(version),
            "freeze_days": ModelPolicy.of(version.customer).rollback_freeze_days,
            "back": reverse("admin:mlops_modelversion_change", args=[version.pk]),
        }
        return TemplateResponse(request, "admin/roll_back.html", context)


def _name(version: ModelVersion | None) -> str:
    return version.version if version else ""


@admin.register(RoutingRule)
class RoutingRuleAdmin(ScopedAdmin):
    words: ClassVar = {"segment": in_words}
    list_display: ClassVar = ["segment", "version", "valid_from", "valid_to", "by", "reason", "customer"]
    list_filter: ClassVar = [
        "customer",
        "segment",
        ("version", ScopedAutocompleteFilter),
        ("valid_to", admin.EmptyFieldListFilter),
        ("valid_from", RangeDateFilter),
    ]
    list_select_related: ClassVar = ["customer", "version", "by"]
    search_fields: ClassVar = ["segment", "version__version", "reason"]
    export_columns: ClassVar = {
        "segment": "segment",
        "version": "version__version",
        "valid_from": "valid_from",
        "valid_to": "valid_to",
        "by": "by__email",
        "reason": "reason",
    }


@admin.register(VersionEvent)
class VersionEventAdmin(ScopedAdmin):
    customer_path = "version__customer"
    words: ClassVar = {"from_status": _status}
    list_display: ClassVar = ["created_at", "version", "from_status", "to_status", "by", "reason"]
    list_filter: ClassVar = ["version__customer", "to_status", ("version", ScopedAutocompleteFilter)]
    list_select_related: ClassVar = ["version__customer", "by"]
    search_fields: ClassVar = ["version__version", "reason"]
    date_hierarchy = "as_of"
    export_columns: ClassVar = {
        "created_at": "created_at",
        "as_of": "as_of",
        "version": "version__version",
        "from_status": "from_status",
        "to_status": "to_status",
        "by": "by__email",
        "reason": "reason",
    }
