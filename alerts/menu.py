"""The badge and the list of open alerts that stand on every page."""

from dataclasses import dataclass
from typing import Any, cast

from django.db.models import Case, F, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.http import conditional_page, require_safe

from alerts.facts import message
from alerts.models import MLAlert
from alerts.reading import open_by_severity
from shelfops.models import User
from shelfops.own_pages import own_scripts_only
from shelfops.scoped_admin import customer_ids
from shelfops.tenancy import Action, scope

MOST = 8
TONES = {"critical": "danger", "warning": "warning", "info": "info"}


@dataclass(frozen=True)
class Menu:
    """What is open at the caller's customers; `others` of them are not among the alerts shown."""

    counts: dict[str, int]
    alerts: list[dict[str, Any]]

    @property
    def gravest(self) -> str:
        """The gravest severity that is open; empty where none is."""
        return next((severity for severity in TONES if self.counts[severity]), "")

    @property
    def tone(self) -> str:
        return TONES.get(self.gravest, "")

    @property
    def total(self) -> int:
        return sum(self.counts[severity] for severity in TONES)

    @property
    def others(self) -> int:
        return self.total - sum(1 + len(one["also"]) for one in self.alerts)

    @property
    def words(self) -> str:
        """Such as: 1 Critical ML Alert, 2 more."""
        if not self.gravest:
            return "No ML alerts"
        count = self.counts[self.gravest]
        more = self.total - count
        found = f"{count} {MLAlert.Severity(self.gravest).label} ML Alert{'' if count == 1 else 's'}"
        return f"{found}, {more} more" if more else found


def menu(request: HttpRequest) -> Menu:
    """The gravest first, then those whose time is up the soonest; with whether the caller may dismiss each."""
    user = cast(User, request.user)
    counts = open_by_severity(user)
    if not any(counts.values()):
        return Menu(counts, [])
    gravity = Case(
        *(When(severity=severity, then=Value(at)) for at, severity in enumerate(TONES)), output_field=IntegerField()
    )
    rows = scope(MLAlert.objects.open().select_related("customer"), user)
    gravest_first = rows.order_by(gravity, F("due_at").asc(nulls_last=True), "-created_at")[:MOST]
    may_dismiss = customer_ids(request, Action.DISMISS_ALERT)
    shown: dict[tuple[Any, ...], dict[str, Any]] = {}
    for alert in gravest_first:  # versions of one experiment lead to one page
        about = (alert.alert_type, alert.customer_id, alert.action_url or alert.pk)
        one = {"alert": alert, "message": message(alert), "may_dismiss": alert.customer_id in may_dismiss, "also": []}
        if shown.setdefault(about, one) is not one:
            shown[about]["also"].append(alert)
    return Menu(counts, list(shown.values()))


@own_scripts_only
@require_safe
@conditional_page
def show(request: HttpRequest) -> HttpResponse:
    """The same as JSON, for the script that keeps a page up to date; 304 while nothing has changed."""
    found = menu(request)
    several = len(customer_ids(request, Action.READ)) > 1
    # Without the request: a token in the forms would be new each time. The script brings the page's own.
    html = render_to_string("alerts_items.html", {"menu": found, "several_customers": several})
    return JsonResponse({"words": found.words, "tone": found.tone, "html": html})
