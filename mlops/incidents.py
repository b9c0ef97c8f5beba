"""The life of a drift incident: opened by a detection, answered by a challenger and an alert, closed by a decision."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from alerts import acting, facts
from alerts.alerting import raise_alert
from alerts.models import MLAlert
from mlops.models import (
    GLOBAL,
    DriftCheck,
    DriftIncident,
    IncidentEvent,
    ModelPolicy,
    ModelRetrainingLog,
    ModelVersion,
)
from shelfops.models import Customer, User
from shelfops.refusals import Refusal

Status, Outcome, Verdict = DriftIncident.Status, DriftIncident.Outcome, DriftIncident.Verdict
Kind = IncidentEvent.Kind
NUMBERS = ("baseline_mae", "recent_mae", "drift_pct")


class AlreadyClosed(Refusal):
    """Somebody or something has closed the incident before."""

    def __init__(self, incident: DriftIncident) -> None:
        outcome = incident.get_outcome_display().lower()
        by = incident.closed_by or "the system"
        super().__init__(
            f"The incident of {incident.opened_on} was closed on {incident.closed_on} by {by}: {outcome} "
            f"({incident.reason}). Look at its page."
        )


# --- Opening


def detected(check: DriftCheck) -> DriftIncident | None:
    """The incident that this night's drift belongs to; answered again, it changes nothing.

    One that is open, or was closed less than `drift_cooldown_days` ago, takes the new evidence; else one is opened.
    None where another version has become champion since the check: what drifted does not serve any more.
    """
    with transaction.atomic():
        champion = next((one for one in locked_versions(check.champion) if _serves(one)), None)
        check.refresh_from_db(fields=["incident"])
        if check.incident is not None or champion != check.champion:
            return check.incident
        check.incident = _open_or_cooling(check) or DriftIncident(
            customer_id=check.customer_id,
            model_name=check.model_name,
            segment=check.segment,
            champion=check.champion,
            opened_on=check.as_of,
            last_seen_on=check.as_of,
        )
        if check.as_of >= check.incident.last_seen_on:
            check.incident.last_seen_on = check.as_of
            for name in NUMBERS:
                setattr(check.incident, name, getattr(check, name))
        is_new = check.incident.pk is None
        check.incident.save()
        check.save(update_fields=["incident"])
        if is_new:
            note(check.incident, Kind.OPENED, by=None, reason=check.reason, as_of=check.as_of)
        return check.incident


def _open_or_cooling(check: DriftCheck) -> DriftIncident | None:
    found = DriftIncident.objects.filter(
        customer_id=check.customer_id, model_name=check.model_name, segment=check.segment
    )
    if incident := found.filter(status=Status.OPEN).first():
        return incident
    cooldown = dt.timedelta(days=ModelPolicy.of(check.customer).drift_cooldown_days)
    return found.filter(closed_on__gt=check.as_of - cooldown).order_by("-closed_on", "-pk").first()


# --- Answering


def unanswered(customer: Customer) -> list[DriftIncident]:
    """Open incidents that nobody was told of: new ones, and those whose answer a crash has cut short."""
    waiting = DriftIncident.objects.filter(customer=customer, status=Status.OPEN, challenger=None)
    found = waiting.select_related("customer", "champion").order_by("pk")
    return [incident for incident in found if not alerts_of(incident).exists()]


def evidence(incident: DriftIncident) -> dict[str, Any]:
    """The numbers as the retraining log keeps them."""
    return {name: round(getattr(incident, name), 3) for name in NUMBERS} | {"incident_id": incident.pk}


def answer(
    incident: DriftIncident,
    log: ModelRetrainingLog | None,
    *,
    dossier: Mapping[str, Any],
    suggested: DriftIncident.Verdict,
    failure: str = "",
    run_url: str = "",
    confirm: Callable[[], None] = lambda: None,
) -> MLAlert | None:
    """Records what the emergency retrain came to, with the dossier, and tells people, all at once and once only.

    `failure` says why there is no new version; `run_url` is the page of the run that tried. None where the incident
    was closed meanwhile, or people were told already.
    """
    with transaction.atomic():
        confirm()
        locked = locked_one(incident)
        if alerts_of(locked).exists():
            return None
        if locked.retraining is None:
            locked.dossier, locked.suggested_verdict = dict(dossier), suggested
            _record(locked, log, failure)
        return _tell(locked, failure, run_url) if locked.status == Status.OPEN else None


def answer_again(
    incident: DriftIncident,
    log: ModelRetrainingLog | None,
    *,
    failure: str = "",
    run_url: str = "",
    confirm: Callable[[], None] = lambda: None,
) -> MLAlert | None:
    """What a retrain that a person asked for after a failed one came to; its alert follows the former one.

    None where the incident was closed or answered meanwhile.
    """
    with transaction.atomic():
        confirm()
        locked = locked_one(incident)
        if not locked.is_unreplaced:
            return None
        _record(locked, log, failure)
        acting.overtake(
            locked.customer,
            version="",
            model_name=locked.model_name,
            reason="The emergency retrain was done again.",
            types=[MLAlert.Type.DRIFT_DETECTED],
            segment=locked.segment,
        )
        return _tell(locked, failure, run_url)


def _record(incident: DriftIncident, log: ModelRetrainingLog | None, failure: str) -> None:
    incident.retraining = log
    incident.challenger = None if failure or log is None else log.versions.first()
    incident.save(update_fields=["retraining", "dossier", "suggested_verdict", "challenger"])
    as_of = log.as_of if log else incident.customer.today()
    if incident.challenger:
        note(incident, Kind.TRAINED, by=None, reason=f"{incident.challenger} is trained", as_of=as_of)
    else:
        note(incident, Kind.FAILED, by=None, reason=failure or "It brought no version.", as_of=as_of)


def _tell(incident: DriftIncident, failure: str, run_url: str) -> MLAlert:
    version = incident.challenger.version if incident.challenger else ""
    hours = ModelPolicy.of(incident.customer).review_due_hours
    return raise_alert(
        incident.customer,
        MLAlert.Type.DRIFT_DETECTED,
        title=f"Model drift detected{_where(incident)}: MAE {incident.drift_pct:.0f} % worse",
        message=_message(incident, failure, hours),
        metadata={
            **{name: round(getattr(incident, name), 3) for name in NUMBERS},
            "new_version": version,
            "champion": incident.champion.version,
            "incident": incident.pk,
            "suggested_verdict": incident.suggested_verdict,
        },
        action_url=f"/models/review/{version}" if version else run_url or _page(incident),
        dedupe=_dedupe(incident),
        model_name=incident.model_name,
        version=version,
        segment=incident.segment,
        due_at=timezone.now() + dt.timedelta(hours=hours),
    )


def _where(incident: DriftIncident) -> str:
    """Such as: in department Grocery."""
    kind, _, value = incident.segment.partition(":")
    return "" if incident.segment == GLOBAL else f" in {kind.replace('_', ' ')} {value}"


def _message(incident: DriftIncident, failure: str, hours: int) -> str:
    found = (
        f"One day ahead, the forecasts that serve are off by {incident.recent_mae:#.3g} units a day, against "
        f"{incident.baseline_mae:#.3g} in the month before."
    )
    if incident.challenger:
        then = f"The emergency retrain has produced {incident.challenger}. Approve or reject it within {hours} hours."
    else:
        then = (
            f"There is no new version, and {incident.champion} still serves: {failure.rstrip('.')}. Remove the cause, "
            "then train again, or close the incident with a note."
        )
    suggested = Verdict(incident.suggested_verdict).label
    return f"{found} {then} What the data suggest: {suggested}. {incident.dossier.get('why', '')}".strip()


def _page(incident: DriftIncident) -> str:
    return reverse("admin:mlops_driftincident_change", args=[incident.pk])


def _dedupe(incident: DriftIncident) -> str:
    return f"incident:{incident.pk}"


def register() -> None:
    """Says how alerts tell of incidents; called once, when the apps are ready."""
    facts.tell({"suggested_verdict": _verdict_in_words, "incident": _linked})


def _verdict_in_words(verdict: str) -> str:
    return str(Verdict(verdict).label) if verdict in Verdict else verdict


def _linked(pk: int) -> str:
    page = reverse("admin:mlops_driftincident_change", args=[pk])
    return format_html('<a href="{}" class="text-link">{}</a>', page, pk)


def alerts_of(incident: DriftIncident) -> "QuerySet[MLAlert]":
    """Of this incident, open or not: one is open at most."""
    key = f"{MLAlert.Type.DRIFT_DETECTED.value}:{_dedupe(incident)}"
    return MLAlert.objects.filter(customer_id=incident.customer_id, dedupe_key=key)


# --- Closing


def of_challenger(version: ModelVersion) -> DriftIncident | None:
    """The open incident that waits for a decision about this version."""
    return DriftIncident.objects.filter(challenger=version, status=Status.OPEN).first()


def judge(incident: DriftIncident, verdict: DriftIncident.Verdict) -> DriftIncident:
    """Keeps what the reviewer takes to be the cause. Raises AlreadyClosed."""
    with transaction.atomic():
        locked = _locked_open(incident)
        locked.verdict = verdict
        locked.save(update_fields=["verdict"])
        return locked


def close(
    incident: DriftIncident,
    outcome: DriftIncident.Outcome,
    *,
    by: User | None,
    reason: str,
    as_of: dt.date,
    verdict: DriftIncident.Verdict | None = None,
) -> DriftIncident:
    """Closes it, once. `verdict` is the reviewer's, None keeps what there is. Raises AlreadyClosed.

    Call it in the transaction of what closes it, after the versions are locked.
    """
    with transaction.atomic():
        locked = _locked_open(incident)
        locked.status, locked.outcome, locked.reason = Status.CLOSED, outcome, reason
        locked.closed_by, locked.closed_on = by, as_of
        locked.verdict = verdict or locked.verdict
        locked.save()
        note(locked, Kind.CLOSED, by=by, reason=f"{outcome.label.lower()}: {reason}", as_of=as_of)
        return locked


def note(incident: DriftIncident, kind: IncidentEvent.Kind, *, by: User | None, reason: str, as_of: dt.date) -> None:
    """Leaves the event of a step, in the step's transaction."""
    IncidentEvent.objects.create(incident=incident, kind=kind, by=by, reason=reason, as_of=as_of)


def promoted(version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date) -> None:
    """Closes the segment's open incident, in the promotion's transaction: what drifted does not serve any more.

    The incident's own challenger has replaced it; any other version overtakes the incident and its alert.
    """
    incident = _open_of(version)
    if incident is None:
        return
    if incident.challenger_id == version.pk:
        close(incident, Outcome.REPLACED, by=by, reason=reason, as_of=as_of)
        return
    _overtaken(incident, by=by, why=f"{version} became champion: {reason}", as_of=as_of)


def retired(version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date) -> None:
    """Closes the segment's open incident where its champion is retired: nothing of it serves any more."""
    if incident := _open_of(version):
        _overtaken(incident, by=by, why=f"{version} was retired: {reason}", as_of=as_of)


def put_away(challenger: ModelVersion, *, why: str, as_of: dt.date) -> None:
    """Closes the open incident that the challenger was trained for: nobody took it up, and the champion stays.

    Drift that is still found later opens a new one. Its alert needs nothing: a challenger that still awaits a decision
    is never put away.
    """
    if incident := of_challenger(challenger):
        close(incident, Outcome.NO_REPLACEMENT, by=None, reason=f"{challenger} was {why}", as_of=as_of)


def _open_of(version: ModelVersion) -> DriftIncident | None:
    return DriftIncident.objects.filter(
        customer_id=version.customer_id, model_name=version.model_name, segment=version.segment, status=Status.OPEN
    ).first()


def _overtaken(incident: DriftIncident, *, by: User | None, why: str, as_of: dt.date) -> None:
    close(incident, Outcome.OVERTAKEN, by=by, reason=why, as_of=as_of)
    acting.overtake(
        incident.customer,
        version=incident.challenger.version if incident.challenger else "",
        model_name=incident.model_name,
        reason=why,
        types=[MLAlert.Type.DRIFT_DETECTED],
        segment=incident.segment,
    )


# --- Locks: versions first, then incidents, then alerts


def locked_versions(version: ModelVersion) -> "QuerySet[ModelVersion]":
    return ModelVersion.objects.segment_of(version).locked()


def _serves(version: ModelVersion) -> bool:
    return version.status == ModelVersion.Status.CHAMPION


def locked_one(incident: DriftIncident) -> DriftIncident:
    """As it is now, open or not."""
    rows = DriftIncident.objects.select_for_update(no_key=True, of=("self",))
    return rows.select_related("customer", "champion", "challenger", "retraining", "closed_by").get(pk=incident.pk)


def _locked_open(incident: DriftIncident) -> DriftIncident:
    locked = locked_one(incident)
    if locked.status != Status.OPEN:
        raise AlreadyClosed(locked)
    return locked
