"""Whether what people decided was done: alerts, reviews and drift incidents against each other and the events."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat

from alerts.acting import REVIEWED
from alerts.models import MLAlert
from mlops.faults import Fault, each
from mlops.models import DriftIncident, IncidentEvent, ModelReview, ModelVersion, VersionEvent
from shelfops.models import Customer

SAME_MOMENT = dt.timedelta(minutes=5)  # an alert and its review are written in one transaction, however slow it is
Alert, Review, Outcome, Status = MLAlert.Status, ModelReview.Action, DriftIncident.Outcome, ModelVersion.Status
SAID = {MLAlert.Decision.APPROVED: Review.APPROVE, MLAlert.Decision.REJECTED: Review.REJECT}
ENDED = {Review.APPROVE: Outcome.REPLACED, Review.REJECT: Outcome.NO_REPLACEMENT}
LED_TO = {Review.APPROVE: Status.CHAMPION, Review.REJECT: Status.ARCHIVED}
TAMPERED = "A row was written past the rules: look at who did, and restore it from a backup."


def faults(customer: Customer) -> Iterator[Fault]:
    """Of all that people decided at the customer."""
    alerts = MLAlert.objects.filter(customer=customer).order_by("pk")
    yield from _unsigned(alerts)
    yield from _of_nothing(alerts)
    yield from _unreviewed(alerts)
    yield from _left_open(alerts)
    yield from _against_incident(alerts)
    yield from _reviews(customer)
    yield from _incidents(customer)


# --- Alerts


def _unsigned(alerts: "QuerySet[MLAlert]") -> Iterator[Fault]:
    """A decision has its person, its moment and its reason; only what events overtook has no person."""
    actioned = Q(actioned_by=None) | Q(actioned_at=None) | Q(notes="")
    dismissed = Q(dismissed_at=None) | Q(notes="") | (Q(dismissed_by=None) & ~Q(decision=MLAlert.Decision.OVERTAKEN))
    unsigned = (Q(status=Alert.ACTIONED) & actioned) | (Q(status=Alert.DISMISSED) & dismissed)

    def tell(alert: MLAlert) -> Fault:
        message = f"It is {alert.decision}, and who did that, when or why is missing."
        return Fault("decision_unsigned", _name(alert), message, TAMPERED)

    yield from each(alerts.filter(unsigned), tell)


def _of_nothing(alerts: "QuerySet[MLAlert]") -> Iterator[Fault]:
    """Of the types that nothing approves, or about no version."""
    no_type = ~Q(alert_type__in=[*REVIEWED, MLAlert.Type.NEW_DATA_SOURCE_READY])
    about_nothing = no_type | Q(alert_type__in=REVIEWED, version="")

    def tell(alert: MLAlert) -> Fault:
        message = f"It is {alert.decision}, but there was nothing to decide: it could only be dismissed."
        return Fault("approval_of_nothing", _name(alert), message, TAMPERED)

    yield from each(alerts.filter(about_nothing, status=Alert.ACTIONED), tell)


def _unreviewed(alerts: "QuerySet[MLAlert]") -> Iterator[Fault]:
    """An alert that says approved or rejected has the review that did it: the same person, moment, notes, outcome."""
    reviews = _review_of_its_version()
    told = {name: Subquery(reviews.values(name)[:1]) for name in ("action", "by", "notes", "created_at")}
    reviewed = alerts.filter(status=Alert.ACTIONED, alert_type__in=REVIEWED).exclude(version="")
    actioned: QuerySet[Any] = reviewed.annotate(**{f"review_{name}": value for name, value in told.items()})

    def missing(alert: MLAlert) -> Fault:
        message = f"It says that {alert.version} was {alert.decision}, and there is no review of {alert.version}."
        return Fault("alert_without_review", _name(alert), message, TAMPERED)

    yield from each(actioned.filter(review_action=None), missing)
    agrees = Q(*(Q(decision=decision, review_action=action) for decision, action in SAID.items()), _connector=Q.OR) & Q(
        review_by=F("actioned_by"),
        review_notes=F("notes"),
        review_created_at__lte=F("actioned_at") + SAME_MOMENT,
        review_created_at__gte=F("actioned_at") - SAME_MOMENT,
    )

    def differs(alert: MLAlert) -> Fault:
        message = f"It says that {alert.version} was {alert.decision}, but its review differs in {_difference(alert)}."
        return Fault("alert_against_review", _name(alert), message, TAMPERED)

    signed = Q(actioned_by__isnull=False, actioned_at__isnull=False)
    yield from each(actioned.filter(signed, review_action__isnull=False).exclude(agrees), differs)


def _difference(alert: MLAlert) -> str:
    review = {name: getattr(alert, f"review_{name}") for name in ("action", "by", "notes", "created_at")}
    differs = {
        "the decision": SAID[MLAlert.Decision(alert.decision)] != review["action"],
        "the person": alert.actioned_by_id != review["by"],
        "the notes": alert.notes != review["notes"],
        "the time": alert.actioned_at is None or abs(alert.actioned_at - review["created_at"]) > SAME_MOMENT,
    }
    return ", ".join(name for name, is_so in differs.items() if is_so)


def _left_open(alerts: "QuerySet[MLAlert]") -> Iterator[Fault]:
    """Nobody is asked about a version that was reviewed."""

    def tell(alert: MLAlert) -> Fault:
        message = f"It still asks about {alert.version}, which was reviewed."
        return Fault("alert_left_open", _name(alert), message, "Dismiss it: the decision stands.")

    yield from each(alerts.open().filter(Exists(_review_of_its_version()), alert_type__in=REVIEWED), tell)  # type: ignore[attr-defined]  # typed as a plain query


def _against_incident(alerts: "QuerySet[MLAlert]") -> Iterator[Fault]:
    """A drift alert and its incident say the same."""
    key = Concat(Value(f"{MLAlert.Type.DRIFT_DETECTED.value}:incident:"), Cast("pk", CharField()))
    incidents = DriftIncident.objects.filter(customer=OuterRef("customer"))
    incidents = incidents.annotate(key=key).filter(key=OuterRef("dedupe_key"))
    told = {name: Subquery(incidents.values(name)[:1]) for name in ("status", "outcome")}
    of_drift = alerts.filter(alert_type=MLAlert.Type.DRIFT_DETECTED)
    of_drift = of_drift.annotate(**{f"incident_{name}": value for name, value in told.items()})
    closed = Q(incident_status=DriftIncident.Status.CLOSED)
    differs = (
        Q(incident_status=None)
        | (Q(status__in=MLAlert.OPEN) & closed)
        | (Q(decision=MLAlert.Decision.OVERTAKEN) & ~Q(version="") & ~closed)
        | _any(*(Q(decision=said) & ~Q(incident_outcome=ENDED[action]) for said, action in SAID.items()))
    )

    def tell(alert: MLAlert) -> Fault:
        found = alert.incident_outcome or alert.incident_status or "unknown"  # type: ignore[attr-defined]  # annotated above
        message = f"It is {alert.decision or 'open'}, and its incident is {found.replace('_', ' ')}."
        return Fault("alert_against_incident", _name(alert), message, TAMPERED)

    yield from each(of_drift.filter(differs), tell)


def _review_of_its_version() -> "QuerySet[ModelReview]":
    """Of an alert, inside a query."""
    return ModelReview.objects.filter(
        customer=OuterRef("customer"),
        version__model_name=OuterRef("model_name"),
        version__version=OuterRef("version"),
    )


def _name(alert: MLAlert) -> str:
    return f"alert {alert.pk} ({alert})"


# --- Reviews


def _reviews(customer: Customer) -> Iterator[Fault]:
    """Each review moved its version, and each person's promotion of a challenger has its review."""
    reviews = ModelReview.objects.filter(customer=customer).select_related("version", "by").order_by("pk")
    moved = VersionEvent.objects.filter(
        version=OuterRef("version"), from_status=Status.CHALLENGER, by=OuterRef("by"), as_of=OuterRef("as_of")
    )
    unmoved = _any(*(Q(~Exists(moved.filter(to_status=to)), action=action) for action, to in LED_TO.items()))

    def without_event(review: ModelReview) -> Fault:
        to = LED_TO[Review(review.action)]
        message = f"{review.by} {review.action}d it on {review.as_of}, but no event of that day made it {to}."
        return Fault("review_without_event", f"review of {review.version}", message, TAMPERED)

    yield from each(reviews.filter(unmoved), without_event)
    approved = ModelReview.objects.filter(version=OuterRef("version"), action=Review.APPROVE)
    crowned = VersionEvent.objects.filter(
        version__customer=customer, from_status=Status.CHALLENGER, to_status=Status.CHAMPION, by__isnull=False
    ).select_related("version", "by")

    def without_review(event: VersionEvent) -> Fault:
        message = f"{event.by} made it champion on {event.as_of}, and there is no review that approves it."
        return Fault("promotion_without_review", str(event.version), message, TAMPERED)

    yield from each(crowned.filter(~Exists(approved)).order_by("pk"), without_review)


# --- Incidents


def _incidents(customer: Customer) -> Iterator[Fault]:
    incidents = DriftIncident.objects.filter(customer=customer).select_related("champion").order_by("pk")
    closed = incidents.filter(status=DriftIncident.Status.CLOSED)

    def undecided(incident: DriftIncident) -> Fault:
        outcome = incident.get_outcome_display().lower() or "without an outcome"
        message = f"It was closed on {incident.closed_on or 'an unknown day'} ({outcome}), and no decision led to that."
        return Fault("incident_without_decision", _title(incident), message, TAMPERED)

    yield from each(closed.exclude(_was_decided()), undecided)
    steps = IncidentEvent.objects.filter(incident=OuterRef("pk"))
    opened = Exists(steps.filter(kind=IncidentEvent.Kind.OPENED, as_of=OuterRef("opened_on")))
    ended = Exists(steps.filter(kind=IncidentEvent.Kind.CLOSED, as_of=OuterRef("closed_on")))

    def untold(incident: DriftIncident) -> Fault:
        message = "No event says on which day and why it was opened or closed."
        return Fault("incident_without_event", _title(incident), message, TAMPERED)

    yield from each(incidents.filter(Q(~opened) | Q(~ended, status=DriftIncident.Status.CLOSED)), untold)
    reviewed = Exists(ModelReview.objects.filter(version=OuterRef("challenger")))
    replaced = ~Q(champion__status=Status.CHAMPION)

    def left_open(incident: DriftIncident) -> Fault:
        message = f"It is open, but {incident.champion} does not serve any more or its challenger was reviewed."
        return Fault("incident_left_open", _title(incident), message, TAMPERED)

    yield from each(incidents.filter(replaced | reviewed, status=DriftIncident.Status.OPEN), left_open)


def _was_decided() -> Q:
    """Of a closed incident: the review, the note, the rule or the promotion that its outcome names is there."""
    review = ModelReview.objects.filter(version=OuterRef("challenger"), by=OuterRef("closed_by"))
    by_review = _any(
        *(
            Q(Exists(review.filter(action=action, as_of=OuterRef("closed_on"))), outcome=outcome)
            for action, outcome in ENDED.items()
        )
    )
    noted = IncidentEvent.objects.filter(
        incident=OuterRef("pk"), kind=IncidentEvent.Kind.CLOSED, by=OuterRef("closed_by"), as_of=OuterRef("closed_on")
    )
    by_note = Q(Exists(noted), outcome=Outcome.NO_REPLACEMENT, challenger=None) & ~Q(reason="")
    superseded = VersionEvent.objects.filter(
        version=OuterRef("challenger"), to_status=Status.ARCHIVED, by=None, as_of=OuterRef("closed_on")
    )
    by_rule = Q(Exists(superseded), outcome=Outcome.NO_REPLACEMENT, closed_by=None)
    switched = VersionEvent.objects.filter(
        Q(to_status=Status.CHAMPION) | Q(from_status=Status.CHAMPION),
        version__customer=OuterRef("customer"),
        version__model_name=OuterRef("model_name"),
        version__segment=OuterRef("segment"),
        as_of=OuterRef("closed_on"),
    )
    overtaken = Q(Exists(switched), outcome=Outcome.OVERTAKEN)
    return by_review | by_note | by_rule | overtaken


def _title(incident: DriftIncident) -> str:
    return f"incident {incident.pk} ({incident})"


def _any(*conditions: Q) -> Q:
    return Q(*conditions, _connector=Q.OR)
