"""The retraining log in the admin, and the button that asks for a retrain."""

import uuid
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from forecasting.orders import LEAST_WINDOW_DAYS, MOST_WINDOW_DAYS, Trigger
from forecasting.retraining_job import retrain_forecast_model
from forecasting.tiers import TIERS
from mlops.models import ModelRetrainingLog
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.refusals import Refusal
from shelfops.scoped_admin import ScopedAdmin
from shelfops.tenancy import Action

STATUS_COLOURS = {
    ModelRetrainingLog.Status.COMPLETED: "success",
    ModelRetrainingLog.Status.RUNNING: "info",
    ModelRetrainingLog.Status.FAILED: "danger",
}
CHAMPIONS = "As the champion's"


class RetrainForm(forms.Form):
    """What a person may ask of a retrain; without overrides it trains the champion's recipe."""

    customer = forms.ModelChoiceField(
        queryset=Customer.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None
    )
    reason = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autofocus": True}),
        help_text="Kept in the log: why is a retrain needed now?",
    )
    tier = forms.ChoiceField(
        label="Feature tier",
        required=False,
        choices=[("", CHAMPIONS), *((name, name.replace("_", " ").capitalize()) for name in TIERS)],
        widget=UnfoldAdminSelectWidget,
    )
    window_days = forms.IntegerField(
        label="Training window in days",
        required=False,
        min_value=LEAST_WINDOW_DAYS,
        max_value=MOST_WINDOW_DAYS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="Empty: as the champion's.",
    )
    promote = forms.BooleanField(
        required=False, initial=True, label="May promote itself", help_text="By the rule, if every guard passes."
    )
    request = forms.UUIDField(required=False, initial=uuid.uuid4, widget=forms.HiddenInput)  # a double click is one

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = cast(forms.ModelChoiceField, self.fields["customer"])
        field.queryset = tenancy.customers_of(user, Action.RETRAIN)


@admin.register(ModelRetrainingLog)
class RetrainingAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "started_at",
        "trigger_type",
        "shown_status",
        "version_produced",
        "decision",
        "took",
        "requested_by",
        "customer",
    ]
    list_filter: ClassVar = ["customer", "trigger_type", "status"]
    list_select_related: ClassVar = ["customer", "requested_by"]
    search_fields: ClassVar = ["version_produced", "reason", "decision", "error"]
    date_hierarchy = "as_of"
    exclude: ClassVar = ["stages", "trigger_metadata", "notes"]  # notes stand in the decision
    readonly_fields: ClassVar = ["took", "shown_stages", "shown_metadata"]
    actions_list: ClassVar = ["retrain_now"]

    def has_retrain_permission(self, request: HttpRequest) -> bool:
        return tenancy.customers_of(request.user, Action.RETRAIN).exists()

    @action(description="Retrain now …", url_path="retrain-now", permissions=["retrain"])
    def retrain_now(self, request: HttpRequest) -> HttpResponse:
        """Shows the form; a valid POST asks for the retrain and returns at once, a worker does it."""
        user = cast(User, request.user)
        form = RetrainForm(request.POST or None, user=user)
        if request.method == "POST" and form.is_valid():
            try:
                return self._ask(request, form.cleaned_data, user)
            except Refusal as refusal:
                form.add_error(None, str(refusal))
        context = {**self.admin_site.each_context(request), "title": "Retrain now", "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/retrain_now.html", context)

    def _ask(self, request: HttpRequest, wanted: dict[str, Any], user: User) -> HttpResponse:
        customer: Customer = wanted["customer"]
        tenancy.require(user, customer, Action.RETRAIN)
        run = retrain_forecast_model(
            customer.pk,
            trigger=Trigger.MANUAL,
            reason=wanted["reason"],
            by=user,
            tier=wanted["tier"] or None,
            window_days=wanted["window_days"],
            promote=wanted["promote"],
            request=wanted["request"],
        )
        messages.success(request, f"The retrain of {customer} is queued. This page shows how far it is.")
        return redirect(reverse("run", args=[run.pk]))

    @display(description="status", ordering="status", label=STATUS_COLOURS)
    def shown_status(self, log: ModelRetrainingLog) -> tuple[str, str]:
        return log.status, log.get_status_display()

    @display(description="took")
    def took(self, log: ModelRetrainingLog) -> str:
        if log.completed_at is None:
            return "–"
        return f"{(log.completed_at - log.started_at).total_seconds():.0f} s"

    @display(description="stages")
    def shown_stages(self, log: ModelRetrainingLog) -> str:
        return ", ".join(f"{stage['stage']} {stage['seconds']:.1f} s" for stage in log.stages) or "–"

    @display(description="trigger details")
    def shown_metadata(self, log: ModelRetrainingLog) -> str:
        return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in log.trigger_metadata.items()) or "–"
