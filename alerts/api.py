"""Alerts over the API: listed with the caller's own status, marked as read, acted on through the one door."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from alerts.acting import act, answers
from alerts.models import MLAlert
from alerts.reading import mark_read
from shelfops.models import User
from shelfops.rest.fields import Body, ChoiceField, ModelRow, TextField, email
from shelfops.rest.filtering import ChoiceFilter, Filters, Ordering, TextFilter, YesFilter
from shelfops.rest.replay import once
from shelfops.rest.views import Rows
from shelfops.tenancy import Action

ACTIONS = ["approve", "dismiss"]
PEOPLE = ("read_by", "actioned_by", "dismissed_by")


class AlertFilters(Filters):
    """By the caller's own status; `from` and `to` are about the day on which it was raised."""

    days = "created_at"
    moments = True

    status = ChoiceFilter(choices=MLAlert.Status.choices, method="by_own_status")
    severity = ChoiceFilter(choices=MLAlert.Severity.choices)
    alert_type = ChoiceFilter(choices=MLAlert.Type.choices)
    requires_action = YesFilter()
    overdue = YesFilter(method="by_overdue")
    version = TextFilter()
    model_name = TextFilter()
    segment = TextFilter()
    ordering = Ordering(fields=["created_at", "due_at"])

    def by_own_status(self, alerts: Any, _name: str, status: str) -> Any:
        match status:
            case MLAlert.Status.UNREAD:  # where nobody has read it, no receipt is looked for
                return alerts.open().filter(Q(status=MLAlert.Status.UNREAD) | Q(has_read=False))
            case MLAlert.Status.READ:
                return alerts.filter(status=MLAlert.Status.READ, has_read=True)
        return alerts.filter(status=status)

    def by_overdue(self, alerts: Any, _name: str, wanted: bool) -> Any:
        late = MLAlert.objects.overdue().values("pk")
        return alerts.filter(pk__in=late) if wanted else alerts.exclude(pk__in=late)


class AlertSerializer(ModelRow):
    """One alert as the caller sees it."""

    status = serializers.SerializerMethodField(
        help_text="The caller's own while the alert is open: unread or read; then actioned or dismissed."
    )
    allowed_actions = serializers.SerializerMethodField(help_text="What can still be done about it.")
    read_by, actioned_by, dismissed_by = email(), email(), email()

    class Meta:
        model = MLAlert
        fields: ClassVar = [
            "id", "alert_type", "severity", "requires_action", "title", "message", "metadata", "status", "decision",
            "action_url", "action_label", "allowed_actions", "model_name", "version", "segment", "due_at", "overdue",
            "read_by", "read_at", "actioned_by", "actioned_at", "dismissed_by", "dismissed_at", "notes", "created_at",
        ]  # fmt: skip

    @extend_schema_field(serializers.ChoiceField(MLAlert.Status.choices))
    def get_status(self, alert: Any) -> str:
        if not alert.is_open:
            return str(alert.status)
        return MLAlert.Status.READ if alert.has_read else MLAlert.Status.UNREAD

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(ACTIONS)))
    def get_allowed_actions(self, alert: MLAlert) -> list[str]:
        return list(answers(alert))


class ActionBody(Body):
    """What to do about an alert, and why."""

    action = ChoiceField(ACTIONS)
    notes = TextField(max_length=4000, help_text="Why: kept with the alert, and with the version.")
    expected_champion = TextField(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="The champion that the caller has seen, empty for none; 409 where it is another by now.",
    )


SPEC_ACTION = OpenApiExample(
    "From the specification",
    value={"action": "approve", "notes": "Reviewed backtest, promotion approved"},
    request_only=True,
)


class Alerts(Rows):
    """The customer's alerts."""

    queryset = MLAlert.objects.all()
    serializer_class = AlertSerializer
    filterset_class = AlertFilters
    noun = "alert"
    rights: ClassVar = {"read": Action.MARK_READ}
    bodies: ClassVar = {"act": ActionBody}

    def get_queryset(self) -> QuerySet[Any]:
        rows: Any = super().get_queryset()
        return rows if getattr(self, "swagger_fake_view", False) else rows.with_receipts_of(self.caller)

    def paginate_queryset(self, queryset: Any) -> Any:
        """With who read or decided: often nobody or the caller, and three joins would cost every call more."""
        found = super().paginate_queryset(queryset) or []
        known = [(alert, who, key) for alert in found for who in PEOPLE if (key := getattr(alert, f"{who}_id"))]
        people = {self.caller.pk: self.caller}
        if others := {key for _, _, key in known} - people.keys():
            people |= User.objects.in_bulk(others)
        for alert, who, key in known:
            setattr(alert, who, people[key])
        return found

    def retrieve(self, request: Request, pk: str) -> Response:
        """One alert."""
        return Response(self.get_serializer(self.get_object()).data)

    @action(detail=True, methods=["patch"])
    def read(self, request: Request, pk: str) -> Response:
        """Marks it as read by the caller; again changes nothing."""
        mark_read([self.get_object()], self.caller)
        return self.retrieve(request, pk)

    @extend_schema(examples=[SPEC_ACTION])
    @action(detail=True, methods=["patch"], url_path="action")
    @once
    def act(self, request: Request, pk: str) -> Response:
        """Approves or dismisses it: what answers “approved” has been done.

        The same again answers the same; a conflicting decision gets 409 with who decided what. Dismissing an alert
        rejects no model.
        """
        alert = self.get_object()
        told = self.told()
        act(
            alert,
            told["action"],
            by=self.caller,
            notes=told["notes"],
            expected_champion=told.get("expected_champion"),
        )
        return self.retrieve(request, pk)


ROUTES = {"ml-alerts": Alerts}
