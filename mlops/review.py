"""A person's decision about a challenger: the one door behind the page, the alert's action and the API."""

import datetime as dt

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from alerts import acting
from alerts.acting import NotesRequired
from alerts.models import MLAlert
from mlops import incidents, promotion
from mlops.models import DriftIncident, ModelRetrainingLog, ModelReview, ModelVersion
from mlops.promotion import StaleChampion
from shelfops import tenancy
from shelfops.models import User
from shelfops.refusals import Refusal
from shelfops.tenancy import Action as Right

Action = ModelReview.Action
Status = ModelVersion.Status
DECISIONS = {Action.APPROVE: MLAlert.Decision.APPROVED, Action.REJECT: MLAlert.Decision.REJECTED}
AWAITS_REVIEW = Q(status=Status.CHALLENGER) & Exists(
    MLAlert.objects.open().filter(
        customer=OuterRef("customer"),
        model_name=OuterRef("model_name"),
        version=OuterRef("version"),
        alert_type__in=acting.REVIEWED,
    )
)
"""Of versions: a challenger about which an alert asks for a decision."""
ABOUT_ONE_FROM_DRIFT = Exists(
    ModelVersion.objects.filter(
        customer=OuterRef("customer"),
        model_name=OuterRef("model_name"),
        version=OuterRef("version"),
        run__trigger_type=ModelRetrainingLog.Trigger.DRIFT,
    )
)
"""Of alerts: what they are about `is_from_drift`."""
ADVICE = {
    Action.APPROVE: "To undo it, roll back to the version that served before.",
    Action.REJECT: "If it was wrong, ask for a new retrain.",
}


class NotReviewable(Refusal):
    """The version's status does not wait for a review; `allowed` are the decisions that are left: none."""

    def __init__(self, version: ModelVersion) -> None:
        self.allowed: list[str] = []
        super().__init__(f"{version} cannot be reviewed: {why_not_reviewable(version)}")


class Conflict(Refusal):
    """Somebody has decided otherwise; `allowed` are the decisions that are left: none."""

    def __init__(self, version: ModelVersion, reviewed: ModelReview) -> None:
        self.allowed: list[str] = []
        done = reviewed.get_action_display().lower()
        super().__init__(
            f"{version} was {done} by {reviewed.by} on {reviewed.as_of} ({reviewed.notes}). "
            f"{ADVICE[Action(reviewed.action)]}"
        )


class UnknownVerdict(Refusal):
    """The verdict on the drift is none of those there are."""


def review(
    version: ModelVersion,
    action: str,
    *,
    by: User,
    notes: str,
    expected_champion: str | None = None,
    verdict: str = "",
) -> ModelVersion:
    """Approves a challenger, which then serves its segment, or rejects it, so that the champion stays; returns it.

    In the same transaction its shadow test ends, the open alerts about it are actioned, and the drift incident that
    led to it is closed with the reviewer's `verdict` (a DriftIncident.Verdict, "" for none). The same decision again
    answers the same, whoever asks; another one raises Conflict. `expected_champion` is the champion that the person
    was shown ("" for none, None does not ask): StaleChampion where it is another by now. Raises NotReviewable where
    the version is no challenger, promotion.UnusableVersion where its files are broken, and tenancy.NotAllowed.
    """
    action = Action(action)
    tenancy.require(by, version.customer, right(version))
    if not (notes := notes.strip()):
        raise NotesRequired(f"Say in the notes why you {action} {version}: they are kept with it.")
    if verdict and verdict not in DriftIncident.Verdict.values:
        raise UnknownVerdict(f"“{verdict}” is no verdict. There are: {', '.join(DriftIncident.Verdict.values)}.")
    with transaction.atomic():
        locked, champion = _locked(version)
        if _is_decided(locked, action):
            return locked
        _check(locked, champion, expected_champion)
        return _carry_out(locked, champion, action, by=by, notes=notes, verdict=verdict)


def right(version: ModelVersion) -> Right:
    """What a person must be allowed in order to review it: those that drift asked for are the data scientists' too."""
    return Right.REVIEW_DRIFT if is_from_drift(version) else Right.REVIEW_PROMOTION


def is_from_drift(version: ModelVersion) -> bool:
    """Whether a drift incident asked for the version."""
    return version.run is not None and version.run.trigger_type == ModelRetrainingLog.Trigger.DRIFT


def review_of(version: ModelVersion) -> ModelReview | None:
    """How the version was decided about; None where nobody has reviewed it."""
    return ModelReview.objects.select_related("by", "champion").filter(version=version).first()


def why_not_reviewable(version: ModelVersion) -> str:
    """A sentence on what the version is instead of a challenger, and where it is decided; empty for a challenger."""
    match Status(version.status):
        case Status.CHALLENGER:
            return ""
        case Status.CANDIDATE:
            return "its retrain has not decided yet. Look again when the run has ended."
        case Status.EXPERIMENTAL:
            return f"it belongs to an experiment and is decided by completing that ({_completion(version)})."
    return f"it is {promotion.since(version)}. Only a challenger waits for a review."


def _completion(version: ModelVersion) -> str:
    experiment = version.run.trigger_metadata.get("experiment_id") if version.run else None
    return f"/experiments/{experiment}/complete" if experiment else "/complete"


def _locked(version: ModelVersion) -> tuple[ModelVersion, ModelVersion | None]:
    """The version and its segment's champion as they are now: a promotion takes the same locks."""
    rows = {row.pk: row for row in ModelVersion.objects.segment_of(version).locked()}
    champion = next((row for row in rows.values() if row.status == Status.CHAMPION), None)
    return rows[version.pk], champion


def _is_decided(version: ModelVersion, action: ModelReview.Action) -> bool:
    """Whether it was decided so already; Conflict where it was decided otherwise."""
    reviewed = review_of(version)
    if reviewed is not None and reviewed.action != action:
        raise Conflict(version, reviewed)
    return reviewed is not None


def _check(version: ModelVersion, champion: ModelVersion | None, expected: str | None) -> None:
    if version.status != Status.CHALLENGER:
        raise NotReviewable(version)
    if expected is not None and expected != (champion.version if champion else ""):
        raise StaleChampion(version, expected, champion)


def _carry_out(
    version: ModelVersion,
    champion: ModelVersion | None,
    action: ModelReview.Action,
    *,
    by: User,
    notes: str,
    verdict: str,
) -> ModelVersion:
    as_of = version.customer.today()
    incident = incidents.of_challenger(version)
    if incident is not None and verdict:
        incidents.judge(incident, DriftIncident.Verdict(verdict))
    done = _move(version, action, incident, by=by, reason=f"{action.label.lower()}: {notes}", as_of=as_of)
    alerts = acting.settle(
        version.customer,
        version=version.version,
        model_name=version.model_name,
        decision=DECISIONS[action],
        by=by,
        notes=notes,
    )
    ModelReview.objects.create(
        customer=version.customer,
        version=version,
        action=action,
        by=by,
        notes=notes,
        champion=champion,
        verdict=verdict,
        alert=alerts[0] if alerts else None,
        as_of=as_of,
    )
    return done


def _move(
    version: ModelVersion,
    action: ModelReview.Action,
    incident: DriftIncident | None,
    *,
    by: User,
    reason: str,
    as_of: dt.date,
) -> ModelVersion:
    if action is Action.APPROVE:  # which closes the incident, as any promotion does
        return promotion.promote(version, by=by, reason=reason, as_of=as_of)
    if incident is not None:
        incidents.close(incident, DriftIncident.Outcome.NO_REPLACEMENT, by=by, reason=reason, as_of=as_of)
    return promotion.archive(version, by=by, reason=reason, as_of=as_of)


# --- What approving an alert does


def approve(alert: MLAlert, *, by: User, notes: str, expected_champion: str | None) -> None:
    """Approves the version that the alert is about."""
    review(_version_of(alert), Action.APPROVE, by=by, notes=notes, expected_champion=expected_champion)


def may_approve(alert: MLAlert, by: User) -> bool:
    """Whether the person may, and there is something to approve."""
    version = _version_of(alert)
    return version.status == Status.CHALLENGER and tenancy.allowed(by, alert.customer, right(version))


def _version_of(alert: MLAlert) -> ModelVersion:
    versions = ModelVersion.objects.select_related("customer", "run")
    return versions.get(customer=alert.customer, model_name=alert.model_name, version=alert.version)


def register() -> None:
    """Called once, when the apps are ready."""
    for alert_type in acting.REVIEWED:
        acting.on_approve(alert_type, approve, may=may_approve)
