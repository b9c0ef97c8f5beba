"""Alerts in the admin: read by everybody of the customer, decided by those who may; and where they are sent."""

from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.timesince import timesince, timeuntil
from unfold.contrib.filters.admin import RadioFilter
from unfold.decorators import display

from alerts import acting
from alerts.facts import facts, message
from alerts.forms import ChannelForm, NotesForm
from alerts.models import MLAlert, MLAlertQuerySet, Notification, NotificationChannel
from alerts.reading import mark_read
from shelfops.models import User
from shelfops.refusals import Refusal
from shelfops.scoped_admin import ScopedAdmin, ScopedHistoryAdmin
from shelfops.tenancy import Action, NotAllowed

SEVERITY_COLOURS = {
    MLAlert.Severity.CRITICAL: "danger",
    MLAlert.Severity.WARNING: "warning",
    MLAlert.Severity.INFO: "info",
}
STATUS_COLOURS = {  # a label without a colour needs its line too, or the theme shows the key
    MLAlert.Status.UNREAD: "primary",
    MLAlert.Status.READ: None,
    MLAlert.Status.ACTIONED: "success",
    MLAlert.Status.DISMISSED: None,
}
NOTIFICATION_COLOURS = {
    Notification.Status.QUEUED: "info",
    Notification.Status.SENT: "success",
    Notification.Status.FAILED: "danger",
    Notification.Status.DROPPED: None,
}
DUE_COLOURS = {"overdue": "danger", "due": None}


QUESTIONS = [("open", "Open"), ("overdue", "Overdue"), ("unread", "Not read by me")]


class WhichFilter(RadioFilter):
    """The questions that one asks of a list of alerts."""

    title = "what to see"
    parameter_name = "which"

    def lookups(self, _request: HttpRequest, _model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return QUESTIONS

    def queryset(self, request: HttpRequest, queryset: MLAlertQuerySet) -> MLAlertQuerySet:
        if self.value() == "open":
            return queryset.open()
        if self.value() == "overdue":
            return queryset.overdue()
        return queryset.unread_by(cast(User, request.user)) if self.value() == "unread" else queryset


@admin.register(MLAlert)
class MLAlertAdmin(ScopedAdmin):
    list_display: ClassVar = [
        "shown_severity",
        "title",
        "age",
        "shown_status",
        "shown_due",
        "shown_action",
        "alert_type",
        "customer",
    ]
    list_display_links: ClassVar = ["title"]
    list_filter: ClassVar = ["customer", WhichFilter, "severity", "alert_type", "requires_action"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["title", "message", "version"]
    date_hierarchy = "created_at"
    list_before_template = "admin/alerts_which.html"  # the theme's filters need JavaScript, these links do not
    questions: ClassVar = [("?", "All"), *((f"?which={key}", title) for key, title in QUESTIONS)]
    change_form_outer_before_template = "admin/alert.html"
    readonly_fields: ClassVar = ["own_status", "shown_version", "created_at"]
    about: ClassVar = ["alert_type", "severity", "own_status", "shown_version", "customer", "created_at"]
    # Shown where somebody has: the rest would be a column of dashes.
    who_did_what: ClassVar = [
        "read_by",
        "read_at",
        "decision",
        "actioned_by",
        "actioned_at",
        "dismissed_by",
        "dismissed_at",
        "notes",
    ]

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> list[tuple[str | None, dict[str, Any]]]:
        done = [name for name in self.who_did_what if getattr(obj, name, None)]
        groups = [(None, {"fields": self.about}), ("Who did what", {"fields": done})]
        return self.told_groups(request, obj, groups if done else groups[:1])

    def get_queryset(self, request: HttpRequest) -> QuerySet[MLAlert]:
        return cast(MLAlertQuerySet, super().get_queryset(request)).seen_by(cast(User, request.user))

    @display(description="severity", ordering="severity", label=SEVERITY_COLOURS)
    def shown_severity(self, alert: MLAlert) -> tuple[str, str]:
        return alert.severity, alert.get_severity_display()

    @display(description="age", ordering="created_at")
    def age(self, alert: MLAlert) -> str:
        return timesince(alert.created_at, depth=1)

    @display(description="status", ordering="own_status", label=STATUS_COLOURS)
    def shown_status(self, alert: MLAlert) -> tuple[str, str]:
        """Of an open alert, whether the caller has read it."""
        own = _own_status(alert)
        return own.value, own.label

    @display(description="status")
    def own_status(self, alert: MLAlert) -> str:
        return _own_status(alert).label

    @display(description="due", ordering="due_at", label=DUE_COLOURS)
    def shown_due(self, alert: MLAlert) -> tuple[str, str] | None:
        if alert.due_at is None or not (alert.is_open and alert.requires_action):
            return None
        if alert.overdue:
            return "overdue", f"Overdue by {timesince(alert.due_at, depth=1)}"
        return "due", f"in {timeuntil(alert.due_at, depth=1)}"

    @display(description="what to do")
    def shown_action(self, alert: MLAlert) -> str | None:
        if not (alert.is_open and alert.action_label):
            return None
        return format_html('<a href="{}" class="font-semibold">{}</a>', alert.action_url, alert.action_label)

    @display(description="about")
    def shown_version(self, alert: MLAlert) -> str | None:
        """The version, with the way to its life."""
        if not alert.version:
            return None
        asked = {"customer": alert.customer.slug}
        if alert.model_name:
            asked["model_name"] = alert.model_name
        page = f"{reverse('version', args=[alert.version])}?{urlencode(asked)}"
        return format_html('<a href="{}" class="text-link">{}</a>', page, alert.version)

    # --- One alert

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        return [path("<path:object_id>/act/<str:answer>/", view, name="alerts_mlalert_act"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Whoever opens it has read it."""
        user, alert = cast(User, request.user), self.get_object(request, unquote(object_id))
        shown: dict[str, Any] = {}
        if alert is not None:
            mark_read([alert], user)
            shown = {
                "title": alert.title,
                "subtitle": None,
                "message": message(alert),
                "facts": {"headers": ["fact", "value"], "rows": facts(alert)},
                "answers": acting.answers_for(alert, user),
                "ways": acting.ways_for(alert, user),
                "due": alert.due_at,
                "decided": None if alert.is_open else acting.how_decided(alert),
            }
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    def act_view(self, request: HttpRequest, object_id: str, answer: acting.Answer) -> HttpResponse:
        """Asks for notes, says what will happen, and lets the rule do it."""
        user, alert = cast(User, request.user), self.get_object(request, unquote(object_id))
        if alert is None or answer not in ("approve", "dismiss"):
            raise Http404("There is no such alert.")
        if not acting.may_act(alert, user):
            raise NotAllowed(f"You may read alerts at {alert.customer}, but not decide about them.")
        form = NotesForm(request.POST or None)
        if form.is_valid():
            self._act(request, alert, answer, form.cleaned_data["notes"])
            return redirect(_back(request) or reverse("admin:alerts_mlalert_change", args=[alert.pk]))
        if answer in acting.answers(alert):
            return self._ask_why(request, alert, answer, form)
        messages.error(request, f"“{alert}” " + ("cannot be approved." if alert.is_open else acting.how_decided(alert)))
        return redirect("admin:alerts_mlalert_change", alert.pk)

    def _act(self, request: HttpRequest, alert: MLAlert, answer: acting.Answer, notes: str) -> None:
        try:
            acting.act(
                alert,
                answer,
                by=cast(User, request.user),
                notes=notes,
                expected_champion=alert.metadata.get("champion"),  # the one that the message compares with
            )
        except Refusal as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"“{alert}” is {'approved' if answer == 'approve' else 'dismissed'}.")

    def _ask_why(self, request: HttpRequest, alert: MLAlert, answer: acting.Answer, form: NotesForm) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"{answer.title()}: {alert}",
            "opts": self.opts,
            "form": form,
            "alert": alert,
            "answer": answer,
            "rejects_nothing": alert.alert_type in acting.REVIEWED and alert.version,
            "back": reverse("admin:alerts_mlalert_change", args=[alert.pk]),
        }
        return TemplateResponse(request, "admin/alert_act.html", context)


def _back(request: HttpRequest) -> str:
    """The page of ours on which the form stood; empty for the form's own page."""
    back = request.POST.get("next", "")
    return back if url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}) else ""


def _own_status(alert: MLAlert) -> MLAlert.Status:
    return MLAlert.Status(alert.own_status)  # type: ignore[attr-defined]  # annotated by seen_by


@admin.register(NotificationChannel)
class NotificationChannelAdmin(ScopedHistoryAdmin):
    """Managers say where alerts are sent; the address is never shown again."""

    edit_action = Action.MANAGE
    form = ChannelForm
    list_display: ClassVar = ["name", "target", "min_severity", "shown_types", "enabled", "customer"]
    list_filter: ClassVar = ["customer", "enabled"]
    list_select_related: ClassVar = ["customer"]
    search_fields: ClassVar = ["name"]
    export_columns: ClassVar = {
        "customer": "customer__slug",
        "name": "name",
        "min_severity": "min_severity",
        "enabled": "enabled",
    }

    def get_fields(self, request: HttpRequest, obj: NotificationChannel | None = None) -> list[str]:
        if obj is not None and not self.has_change_permission(request, obj):
            return ["customer", "name", "target", "min_severity", "shown_types", "enabled"]
        return ["customer", "name", "address", "min_severity", "types", "enabled"]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), "target", "shown_types")

    @display(description="sends to")
    def target(self, channel: NotificationChannel) -> str:
        return channel.target

    @display(description="types")
    def shown_types(self, channel: NotificationChannel) -> str:
        return ", ".join(MLAlert.Type(one).label for one in channel.types) or "all"


@admin.register(Notification)
class NotificationAdmin(ScopedAdmin):
    """What was sent, and what could not be."""

    customer_path = "alert__customer"
    list_display: ClassVar = [
        "created_at",
        "alert",
        "kind",
        "channel_name",
        "shown_status",
        "attempts",
        "sent_at",
        "last_error",
    ]
    list_filter: ClassVar = ["alert__customer", "status", "kind"]
    list_select_related: ClassVar = ["alert__customer"]
    search_fields: ClassVar = ["alert__title", "channel_name", "last_error"]
    fields: ClassVar = [
        "alert", "kind", "channel_name", "status", "attempts", "next_attempt_at", "sent_at", "last_error",
        "created_at",
    ]  # fmt: skip

    @display(description="status", ordering="status", label=NOTIFICATION_COLOURS)
    def shown_status(self, notification: Notification) -> tuple[str, str]:
        return notification.status, notification.get_status_display()
