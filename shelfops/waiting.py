"""What waits for a decision at a customer, and whether it waits for the reader or for others."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Case, F, IntegerField, Value, When
from django.urls import reverse
from django.utils import timezone

from alerts.acting import REVIEWED
from alerts.models import MLAlert
from mlops.models import ModelExperiment, ModelPolicy
from mlops.review import ABOUT_ONE_FROM_DRIFT
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.tenancy import Action

MOST = 20  # of each
MOST_LOOKED_AT = 200
TONES = {"critical": "danger", "warning": "warning", "info": "info"}
Type = MLAlert.Type
RIGHTS = {
    Type.DRIFT_DETECTED: Action.REVIEW_DRIFT,
    Type.PROMOTION_PENDING: Action.REVIEW_PROMOTION,
    Type.SHADOW_TEST_COMPLETE: Action.REVIEW_PROMOTION,
    Type.NEW_DATA_SOURCE_READY: Action.APPROVE_SOURCE,
}


@dataclass(frozen=True)
class Ask:
    """One decision: what it is about, since when it waits, until when it should be taken, and where."""

    title: str
    kind: str
    severity: str
    label: str
    since: dt.datetime
    url: str
    button: str
    due_at: dt.datetime | None = None
    by: str = ""
    able: str = ""
    also: tuple[str, ...] = ()

    @property
    def tone(self) -> str:
        return TONES[self.severity]

    @property
    def overdue(self) -> bool:
        return self.due_at is not None and self.due_at < timezone.now()


def waiting(
    customer: Customer, user: User, rights: frozenset[Action], policy: ModelPolicy, *, has_proposals: bool
) -> dict[str, list[Ask]]:
    """The reader's own decisions and those of others, the gravest first, then those whose time is up the soonest."""
    found: dict[str, list[Ask]] = {"yours": [], "others": []}
    alerts = list(_alerts(customer))
    barred = set() if policy.allow_self_approval else _approved_by(user, customer, alerts)
    for alert in alerts:
        right, is_barred = _right(alert), alert.action_url in barred
        ask = _of_alert(alert, right)
        if is_barred and right in rights:
            ask = replace(ask, able=f"{ask.able} other than you")
        _add(found["yours" if right in rights and not is_barred else "others"], ask)
    found = {name: asks[:MOST] for name, asks in found.items()}
    for experiment in _proposals(customer) if has_proposals else ():
        is_own = experiment.proposed_by_id == user.pk and not policy.allow_self_approval
        may = Action.DECIDE_PROPOSAL in rights and not is_own
        found["yours" if may else "others"].append(_of_proposal(experiment))
    return found


def _approved_by(user: User, customer: Customer, alerts: Iterable[MLAlert]) -> set[str]:
    """The pages of experiments that the reader has approved, so that another person completes them."""
    if not any(_right(alert) is Action.COMPLETE_EXPERIMENT for alert in alerts):
        return set()
    in_shadow = ModelExperiment.Status.SHADOW_TESTING
    own = ModelExperiment.objects.filter(customer=customer, approved_by=user, status=in_shadow)
    return {reverse("experiment", args=[pk]) for pk in own.values_list("pk", flat=True)}


def _add(asks: list[Ask], ask: Ask) -> None:
    """Versions of one experiment that are decided about on one page are one decision."""
    for at, other in enumerate(asks):
        if (other.kind, other.url) == (ask.kind, ask.url):
            asks[at] = replace(other, also=(*other.also, ask.title))
            return
    asks.append(ask)


def _alerts(customer: Customer) -> Iterable[MLAlert]:
    gravity = Case(
        *(When(severity=severity, then=Value(at)) for at, severity in enumerate(TONES)), output_field=IntegerField()
    )
    asking = MLAlert.objects.open().filter(customer=customer, requires_action=True)
    known = asking.annotate(from_drift=ABOUT_ONE_FROM_DRIFT).defer("message", "metadata")
    return known.order_by(gravity, F("due_at").asc(nulls_last=True), "-created_at")[:MOST_LOOKED_AT]


def _right(alert: Any) -> Action:
    """What it takes to decide about it."""
    if alert.action_url.startswith("/experiments/"):
        return Action.COMPLETE_EXPERIMENT
    if not alert.version and alert.alert_type == Type.DRIFT_DETECTED:
        return Action.RETRAIN
    if alert.from_drift and alert.alert_type in REVIEWED:
        return Action.REVIEW_DRIFT
    return RIGHTS.get(Type(alert.alert_type), Action.DISMISS_ALERT)


def _of_alert(alert: MLAlert, right: Action) -> Ask:
    return Ask(
        title=alert.title,
        kind=alert.get_alert_type_display(),
        severity=alert.severity,
        label=alert.get_severity_display(),
        since=alert.created_at,
        due_at=alert.due_at,
        url=alert.action_url if alert.action_label else reverse("admin:alerts_mlalert_change", args=[alert.pk]),
        button=alert.action_label or "See the alert",
        able=_able(right),
    )


def _proposals(customer: Customer) -> Iterable[ModelExperiment]:
    """Experiments that wait for a manager, the oldest first."""
    proposed = ModelExperiment.objects.filter(customer=customer, status=ModelExperiment.Status.PROPOSED)
    return proposed.select_related("proposed_by").order_by("created_at")[:MOST]


def _of_proposal(experiment: ModelExperiment) -> Ask:
    return Ask(
        title=str(experiment),
        kind=experiment.get_experiment_type_display(),
        severity="info",
        label="Proposal",
        since=experiment.created_at,
        url=reverse("experiment", args=[experiment.pk]),
        button="Read the proposal",
        by=str(experiment.proposed_by),
        able=_able(Action.DECIDE_PROPOSAL),
    )


def _able(right: Action) -> str:
    return " or ".join(role.label for role, rights in tenancy.MATRIX.items() if right in rights)
