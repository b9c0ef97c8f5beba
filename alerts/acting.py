"""What people and rules do about an alert: approve or dismiss it, settle it by a review, or overtake it."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from alerts.models import MLAlert
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.refusals import Refusal
from shelfops.tenancy import Action, NotAllowed

Answer = Literal["approve", "dismiss"]
Decision = MLAlert.Decision
Status = MLAlert.Status
REVIEWED = (MLAlert.Type.DRIFT_DETECTED, MLAlert.Type.PROMOTION_PENDING, MLAlert.Type.SHADOW_TEST_COMPLETE)

EXPERIMENT = "experiment_id"  # in the metadata of what is told about an experiment's version


class Conflict(Refusal):
    """The alert does not allow it; `allowed` are the actions that it does allow."""

    def __init__(self, message: str, allowed: Sequence[Answer] = ()) -> None:
        self.allowed = list(allowed)
        super().__init__(message)


class NotesRequired(Refusal):
    """Whoever decides has to say why."""


class Handler(Protocol):
    """Does what an approval promises, or raises; called inside the transaction that marks the alert."""

    def __call__(self, alert: MLAlert, *, by: User, notes: str, expected_champion: str | None) -> None: ...


class Right(Protocol):
    """Whether the person may approve this alert, asked before a button is shown."""

    def __call__(self, alert: MLAlert, by: User) -> bool: ...


class Way(NamedTuple):
    """Something else that a person can do about an alert, with the page that asks for it."""

    label: str
    url: str


Ways = Callable[[MLAlert, User], list[Way]]


def may_act(alert: MLAlert, by: User) -> bool:
    """Whether the person's role lets them decide about alerts at all; what they approve has its own rule."""
    return tenancy.allowed(by, alert.customer, Action.DISMISS_ALERT)


_handlers: dict[MLAlert.Type, tuple[Handler, Right]] = {}
_ways: dict[MLAlert.Type, Ways] = {}


def on_approve(alert_type: MLAlert.Type, handler: Handler, *, may: Right = may_act) -> None:
    """Says what approving alerts of a type does; called in `AppConfig.ready()`.

    The handler checks its own rights and locks its own rows, and may `settle` the alert itself. `may` tells pages
    whether to offer it.
    """
    _handlers[alert_type] = handler, may


def offer(alert_type: MLAlert.Type, ways: Ways) -> None:
    """Says what else can be done about alerts of a type; called in `AppConfig.ready()`."""
    _ways[alert_type] = ways


def ways_for(alert: MLAlert, by: User) -> list[Way]:
    """What else this person can do about what the alert tells."""
    ways = _ways.get(MLAlert.Type(alert.alert_type))
    return ways(alert, by) if ways else []


def answers(alert: MLAlert) -> list[Answer]:
    """What can still be done about it, whoever asks."""
    if not alert.is_open:
        return []
    return ["approve", "dismiss"] if _is_approvable(alert) else ["dismiss"]


def answers_for(alert: MLAlert, by: User) -> list[Answer]:
    """What this person can do about it."""
    if not may_act(alert, by):
        return []
    return [answer for answer in answers(alert) if answer == "dismiss" or _may_approve(alert, by)]


def act(alert: MLAlert, action: Answer, *, by: User, notes: str, expected_champion: str | None = None) -> MLAlert:
    """Approves or dismisses an alert and returns it as it is then; what answers “approved” has been done.

    The same decision again answers the same, Conflict tells who decided otherwise. `expected_champion` is handed to
    the handler: the champion that the person was shown, "" for none, None for not asked.

    Locks go from versions to alerts, as in a review: the handler locks what it works on before this locks the alert.
    """
    wanted = {"approve": Decision.APPROVED, "dismiss": Decision.DISMISSED}[action]
    _check_rights(alert, by)
    if not (notes := notes.strip()):
        raise NotesRequired(f"Say in the notes why you {action} “{alert}”: they are kept with it.")
    with transaction.atomic():
        found = MLAlert.objects.select_related("customer").get(pk=alert.pk)
        if _is_decided(found, wanted):
            return found
        if wanted is Decision.APPROVED:
            _approve(found, by=by, notes=notes, expected_champion=expected_champion)
        locked = _locked(pk=alert.pk)[0]
        if not _is_decided(locked, wanted):  # else the handler settled it, or somebody who decided the same was faster
            _close(locked, wanted, by=by, notes=notes)
        return locked


def settle(
    customer: Customer,
    *,
    version: str,
    model_name: str,
    decision: MLAlert.Decision,
    by: User,
    notes: str,
    types: Sequence[MLAlert.Type] | None = None,
) -> list[MLAlert]:
    """Marks the open alerts about a version as actioned: approved or rejected. Call it in the reviewing transaction,
    after the versions are locked; `types` is all that ask for a review of a version, where it is left out."""
    if decision not in (Decision.APPROVED, Decision.REJECTED):
        raise ValueError(f"A review approves or rejects, it is not {decision}.")
    return _close_all(customer, version, model_name, types, decision, by=by, notes=notes)


def overtake(
    customer: Customer,
    *,
    version: str,
    model_name: str,
    reason: str,
    types: Sequence[MLAlert.Type] | None = None,
    segment: str | None = None,
) -> list[MLAlert]:
    """Closes the open alerts about a version as dismissed by the system: events have decided. Locks as `settle` does.

    `segment` narrows it for alerts about no version (""), such as those of a retrain that failed.
    """
    narrowed = {} if segment is None else {"segment": segment}
    return _close_all(customer, version, model_name, types, Decision.OVERTAKEN, by=None, notes=reason, **narrowed)


# --- How it is done


def _check_rights(alert: MLAlert, by: User) -> None:
    if not may_act(alert, by):
        able = tenancy.able(Action.DISMISS_ALERT)
        raise NotAllowed(f"You may not act on alerts at {alert.customer}. Who may: {able}.")


def _is_approvable(alert: MLAlert) -> bool:
    """There is something to approve, and somebody who does it.

    A drift alert whose retrain failed has no version, and an experiment's versions are decided by completing it.
    """
    is_about_nothing = alert.alert_type in REVIEWED and (not alert.version or EXPERIMENT in alert.metadata)
    return alert.alert_type in _handlers and not is_about_nothing


def _may_approve(alert: MLAlert, by: User) -> bool:
    _, may = _handlers[MLAlert.Type(alert.alert_type)]
    return may(alert, by)


def _approve(alert: MLAlert, *, by: User, notes: str, expected_champion: str | None) -> None:
    if not _is_approvable(alert):
        raise Conflict(f"“{alert}”: there is nothing to approve, {_what_else(alert)}.", ["dismiss"])
    handler, _ = _handlers[MLAlert.Type(alert.alert_type)]
    handler(alert, by=by, notes=notes, expected_champion=expected_champion)


def _what_else(alert: MLAlert) -> str:
    match MLAlert.Type(alert.alert_type):
        case MLAlert.Type.DRIFT_DETECTED:
            return "train again or close the incident with a note"
        case MLAlert.Type.BACKTEST_DEGRADATION:
            return "dismiss it or retrain"
        case MLAlert.Type.SHADOW_TEST_COMPLETE:
            return f"complete its experiment (/experiments/{alert.metadata[EXPERIMENT]}/complete) or dismiss it"
    return "dismiss it"


def _is_decided(alert: MLAlert, wanted: MLAlert.Decision) -> bool:
    """Whether it was decided so already; Conflict where it was decided otherwise."""
    if alert.is_open:
        return False
    if alert.decision == wanted:
        return True
    raise Conflict(f"“{alert}” {how_decided(alert)}{_what_next(alert)}")


def how_decided(alert: MLAlert) -> str:
    """Such as: was approved by bob@acme.example on 2026-03-02 at 14:05 (better in every department)."""
    is_actioned = alert.status == Status.ACTIONED
    by, at = (alert.actioned_by, alert.actioned_at) if is_actioned else (alert.dismissed_by, alert.dismissed_at)
    when = f" on {at.astimezone(ZoneInfo(alert.customer.timezone)):%Y-%m-%d at %H:%M}" if at else ""
    return f"was {alert.get_decision_display().lower()} by {by or 'the system'}{when} ({alert.notes})."


def _what_next(alert: MLAlert) -> str:
    """A dismissed alert has decided nothing about the model."""
    if alert.decision == Decision.DISMISSED and alert.alert_type in REVIEWED and alert.version:
        return f" That rejected no model: {alert.version} can still be reviewed on its page."
    return ""


def _locked(**which: Any) -> list[MLAlert]:
    """Open or not, in key order. `no_key`, or a receipt that is being written would wait for us."""
    rows = MLAlert.objects.select_for_update(no_key=True, of=("self",)).select_related("customer")
    return list(rows.filter(**which).order_by("pk"))


def _close_all(
    customer: Customer,
    version: str,
    model_name: str,
    types: Sequence[MLAlert.Type] | None,
    decision: MLAlert.Decision,
    *,
    by: User | None,
    notes: str,
    **narrowed: str,
) -> list[MLAlert]:
    with transaction.atomic():
        alerts = _locked(
            customer=customer,
            version=version,
            model_name=model_name,
            alert_type__in=REVIEWED if types is None else types,
            status__in=MLAlert.OPEN,
            **narrowed,
        )
        for alert in alerts:
            _close(alert, decision, by=by, notes=notes)
        return alerts


def _close(alert: MLAlert, decision: MLAlert.Decision, *, by: User | None, notes: str) -> None:
    """The one place where an alert stops being open."""
    fields: dict[str, Any] = {"decision": decision, "notes": notes}
    if decision in (Decision.APPROVED, Decision.REJECTED):
        fields |= {"status": Status.ACTIONED, "actioned_by": by, "actioned_at": timezone.now()}
    else:
        fields |= {"status": Status.DISMISSED, "dismissed_by": by, "dismissed_at": timezone.now()}
    for name, value in fields.items():
        setattr(alert, name, value)
    alert.save(update_fields=list(fields))
