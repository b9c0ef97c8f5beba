"""Drift that the emergency retrain has not answered: a person has it trained again, or closes it with a note."""

from collections.abc import Callable

from django.db import transaction
from django.urls import reverse

from alerts import acting
from alerts.acting import NotesRequired, Way
from alerts.models import MLAlert
from mlops import incidents
from mlops.models import DriftIncident, IncidentEvent
from shelfops import tenancy
from shelfops.models import JobRun, User
from shelfops.refusals import Refusal
from shelfops.tenancy import Action

Retrain = Callable[[DriftIncident, str, User, str], JobRun]
_retrains: list[Retrain] = []


class NotUnreplaced(Refusal):
    """The incident waits for nobody, or for a review; `allowed` are the decisions that are left: none."""

    def __init__(self, incident: DriftIncident) -> None:
        self.allowed: list[str] = []
        super().__init__(why_not(incident))


def retrain_with(retrain: Retrain) -> None:
    """Sets what asks for an emergency retrain, given the incident, its slot, who asks and why."""
    _retrains[:] = [retrain]


def why_not(incident: DriftIncident) -> str:
    """A sentence on why neither can be done; empty where both can."""
    if incident.is_unreplaced:
        return ""
    if incident.status != DriftIncident.Status.OPEN:
        return str(incidents.AlreadyClosed(incident))
    if incident.challenger:
        return f"{incident.challenger} was trained for it and awaits a review: approve or reject that."
    return "The emergency retrain for it has not ended yet. Look again when people were told of it."


def train_again(incident: DriftIncident, *, by: User, reason: str) -> JobRun:
    """Asks for another emergency retrain and returns its run; whoever asks while one is at work gets that one.

    Raises NotUnreplaced, NotesRequired and tenancy.NotAllowed.
    """
    tenancy.require(by, incident.customer, Action.RETRAIN)
    reason = _given(reason, "why it is trained again")
    with transaction.atomic():
        locked = _locked(incident)
        failures = locked.events.filter(kind=IncidentEvent.Kind.FAILED).count()
        slot = f"incident:{locked.pk}:{failures}"
        asked = JobRun.objects.filter(customer=locked.customer, slot=slot).first()
        if asked is not None and not asked.is_over:
            return asked
        as_of = locked.customer.today()
        incidents.note(locked, IncidentEvent.Kind.ASKED_AGAIN, by=by, reason=reason, as_of=as_of)
        return _retrains[0](locked, slot, by, reason)


def close(
    incident: DriftIncident, *, by: User, notes: str, verdict: DriftIncident.Verdict | None = None
) -> DriftIncident:
    """The champion stays, and nobody looks for another: the incident and its open alert are closed with the notes.

    The same again answers the same. Raises NotUnreplaced, NotesRequired and tenancy.NotAllowed.
    """
    tenancy.require(by, incident.customer, Action.REVIEW_DRIFT)
    notes = _given(notes, "why it is closed without a new version")
    with transaction.atomic():
        list(incidents.locked_versions(incident.champion))
        found = incidents.locked_one(incident)
        if _is_closed_so(found):
            return found
        closed = incidents.close(
            _locked(found),
            DriftIncident.Outcome.NO_REPLACEMENT,
            by=by,
            reason=notes,
            as_of=found.customer.today(),
            verdict=verdict,
        )
        for alert in incidents.alerts_of(closed).filter(status__in=MLAlert.OPEN):
            acting.act(alert, "dismiss", by=by, notes=notes)
        return closed


def _is_closed_so(incident: DriftIncident) -> bool:
    return incident.outcome == DriftIncident.Outcome.NO_REPLACEMENT and incident.challenger is None


def _locked(incident: DriftIncident) -> DriftIncident:
    locked = incidents.locked_one(incident)
    if not locked.is_unreplaced:
        raise NotUnreplaced(locked)
    return locked


def _given(text: str, what: str) -> str:
    if not text.strip():
        raise NotesRequired(f"Say {what}: it is kept with the incident.")
    return text.strip()


# --- What people are offered


def ways(incident: DriftIncident, by: User) -> list[Way]:
    """What this person can do about it, each with the page that asks for it."""
    if not incident.is_unreplaced:
        return []
    pages = {
        Action.RETRAIN: ("Train again …", "admin:mlops_driftincident_retrain"),
        Action.REVIEW_DRIFT: ("Close without a new version …", "admin:mlops_driftincident_close"),
    }
    return [
        Way(label, reverse(name, args=[incident.pk]))
        for action, (label, name) in pages.items()
        if tenancy.allowed(by, incident.customer, action)
    ]


def ways_of_alert(alert: MLAlert, by: User) -> list[Way]:
    """The same, of the incident that a drift alert is about."""
    incidents_of = DriftIncident.objects.filter(customer=alert.customer, pk=alert.metadata.get("incident") or 0)
    incident = incidents_of.select_related("customer").first()
    return ways(incident, by) if incident else []


def register() -> None:
    """Called once, when the apps are ready."""
    acting.offer(MLAlert.Type.DRIFT_DETECTED, ways_of_alert)
