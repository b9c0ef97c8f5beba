"""The life of an experiment: proposed, approved, trained, in shadow, decided; each step has one door here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from alerts.acting import overtake
from alerts.alerting import raise_alert
from alerts.models import MLAlert
from mlops import promotion
from mlops.experiment_results import improvement_of, results_of, versions_of
from mlops.models import GLOBAL, ExperimentEvent, ModelExperiment, ModelPolicy, ModelVersion
from mlops.routing import parts
from shelfops import tenancy
from shelfops.models import MODEL_NAME_DEFAULT, Customer, User
from shelfops.refusals import Refusal
from shelfops.tenancy import Action

Status = ModelExperiment.Status
Decision = ModelExperiment.Decision
ALLOWED: dict[Status, frozenset[Status]] = {
    Status.PROPOSED: frozenset({Status.APPROVED, Status.REJECTED, Status.CANCELLED}),
    Status.APPROVED: frozenset({Status.IN_PROGRESS, Status.CANCELLED}),
    Status.REJECTED: frozenset(),
    Status.IN_PROGRESS: frozenset({Status.SHADOW_TESTING, Status.CANCELLED}),
    Status.SHADOW_TESTING: frozenset({Status.COMPLETED, Status.CANCELLED}),
    Status.COMPLETED: frozenset({Status.ROLLED_BACK}),
    Status.CANCELLED: frozenset(),
    Status.ROLLED_BACK: frozenset(),
}
TOP_PRODUCTS = "top_products"
PlanCheck = Callable[[Customer, Mapping[str, Any]], None]
_plan_checks: list[PlanCheck] = []


class WrongStep(Refusal):
    """The experiment's status does not allow the step; `allowed` are the statuses it may go to."""

    def __init__(self, experiment: ModelExperiment, wish: str) -> None:
        self.allowed = sorted(status.value for status in ALLOWED[Status(experiment.status)])
        event = experiment.events.select_related("by").last()
        since = f" since {event.as_of} by {event.by or 'the system'} ({event.reason})" if event else ""
        super().__init__(f"“{experiment}” cannot {wish}: it is {experiment.get_status_display().lower()}{since}.")


class FourEyes(Refusal):
    """One person may not take both steps."""


class BadProposal(Refusal):
    """Something of what was handed in cannot be."""


class NothingAdopted(Refusal):
    """A rollback of what changed nothing; `allowed` are the statuses it may go to: none."""

    allowed: tuple[str, ...] = ()


def check_plans_with(check: PlanCheck) -> None:
    """Sets what refuses a plan that could not be trained; called in `AppConfig.ready()`."""
    _plan_checks[:] = [check]


# --- From the proposal to the start


def propose(
    customer: Customer,
    *,
    by: User,
    name: str,
    hypothesis: str,
    experiment_type: str,
    model_name: str = MODEL_NAME_DEFAULT,
    target_improvement_pct: float | None = None,
    plan: Mapping[str, Any] | None = None,
) -> ModelExperiment:
    """A new experiment, which waits for a manager."""
    tenancy.require(by, customer, Action.PROPOSE_EXPERIMENT)
    if not name.strip() or not hypothesis.strip():
        raise BadProposal("Give the experiment a name and a hypothesis: a manager decides by them.")
    if experiment_type not in ModelExperiment.Type.values:
        raise BadProposal(f"“{experiment_type}” is no type. There are: {', '.join(ModelExperiment.Type.values)}.")
    if target_improvement_pct is not None and not 0 < target_improvement_pct < 100:
        raise BadProposal("The target improvement is a number of percent between 0 and 100.")
    if model_name != MODEL_NAME_DEFAULT:
        raise BadProposal(f"There is no model “{model_name}”. There is: {MODEL_NAME_DEFAULT}.")
    _check_plan(customer, plan or {})
    with transaction.atomic():
        experiment = ModelExperiment.objects.create(
            customer=customer,
            experiment_name=name.strip(),
            hypothesis=hypothesis.strip(),
            experiment_type=experiment_type,
            model_name=model_name,
            target_improvement_pct=target_improvement_pct,
            plan=dict(plan or {}),
            proposed_by=by,
        )
        _event(experiment, "", by=by, reason="proposed")
    return experiment


def _check_plan(customer: Customer, plan: Mapping[str, Any]) -> None:
    for check in _plan_checks:
        check(customer, plan)


def approve(
    experiment: ModelExperiment, *, by: User, rationale: str, conditions: Mapping[str, Any] | None = None
) -> ModelExperiment:
    """A manager other than the proposer allows it; `top_products` binds the run, other conditions are shown."""
    if TOP_PRODUCTS in (conditions or {}):
        _check_plan(experiment.customer, {TOP_PRODUCTS: (conditions or {})[TOP_PRODUCTS]})
    return _decide_proposal(experiment, Status.APPROVED, by=by, rationale=rationale, conditions=conditions or {})


def reject(experiment: ModelExperiment, *, by: User, rationale: str) -> ModelExperiment:
    """A manager does not allow it."""
    return _decide_proposal(experiment, Status.REJECTED, by=by, rationale=rationale, conditions={})


@transaction.atomic
def _decide_proposal(
    experiment: ModelExperiment, to: Status, *, by: User, rationale: str, conditions: Mapping[str, Any]
) -> ModelExperiment:
    tenancy.require(by, experiment.customer, Action.DECIDE_PROPOSAL)
    rationale = _given(rationale, f"why it is {to.label.lower()}")
    locked = _locked(experiment, to, f"be {to.label.lower()}")
    locked.rationale = rationale
    if to is Status.APPROVED:
        locked.self_approved = _own_proposal(locked, by)
        locked.approved_by, locked.approved_at, locked.conditions = by, timezone.now(), dict(conditions)
    return _move(locked, to, by=by, reason=rationale)


def _own_proposal(experiment: ModelExperiment, by: User) -> bool:
    """Whether the proposer approves; FourEyes where the policy does not let them."""
    if experiment.proposed_by_id != by.pk:
        return False
    if not ModelPolicy.of(experiment.customer).allow_self_approval:
        raise FourEyes(
            f"You proposed “{experiment}”, so another manager has to approve it. "
            "A one-person team can allow self-approval in the policy."
        )
    return True


@transaction.atomic
def begin(experiment: ModelExperiment, *, by: User | None) -> ModelExperiment:
    """Its training is asked for: for the first time, or again after one that failed."""
    if by is not None:
        tenancy.require(by, experiment.customer, Action.PROPOSE_EXPERIMENT)
    locked = _relocked(experiment)
    if locked.status == Status.IN_PROGRESS and locked.error:
        locked.error = ""
        locked.save()
        _event(locked, locked.status, by=by, reason="started again")
        return locked
    _check(locked, Status.IN_PROGRESS, "be started")
    baseline = ModelVersion.objects.champion_for(locked.customer, model_name=locked.model_name)
    locked.baseline_version = baseline.version if baseline else ""
    locked.started_on = locked.customer.today()
    return _move(locked, Status.IN_PROGRESS, by=by, reason="started")


def check_in_progress(experiment: ModelExperiment) -> None:
    """Locks it; WrongStep where it was cancelled during its training. Call it before any version is locked."""
    _locked(experiment, Status.SHADOW_TESTING, "go into shadow")


@transaction.atomic
def trained(experiment: ModelExperiment, versions: Sequence[ModelVersion], *, note: str = "") -> ModelExperiment:
    """Its versions are there and go into shadow; each one's parent is who serves its segment so far."""
    locked = _locked(experiment, Status.SHADOW_TESTING, "go into shadow")
    ModelVersion.objects.filter(pk__in=[version.pk for version in versions]).update(experiment=locked)
    locked.experimental_version, locked.error = _names(versions), ""
    locked.baseline_version = _names([version.parent for version in versions]) or locked.baseline_version
    reason = f"trained {locked.experimental_version}" + (f"; {note}" if note else "")
    return _move(locked, Status.SHADOW_TESTING, by=None, reason=reason)


@transaction.atomic
def failed(experiment: ModelExperiment, error: str) -> ModelExperiment:
    """Its training failed: it stays in progress, with the error, and can be started again."""
    locked = _relocked(experiment)
    if locked.status == Status.IN_PROGRESS:
        locked.error = error
        locked.save()
        _event(locked, locked.status, by=None, reason=f"training failed: {error}")
    return locked


@transaction.atomic
def cancel(experiment: ModelExperiment, *, by: User, rationale: str) -> ModelExperiment:
    """Ends it before its completion; what was trained for it is archived."""
    tenancy.require(by, experiment.customer, Action.PROPOSE_EXPERIMENT)
    rationale = _given(rationale, "why it is cancelled")
    locked = _locked(experiment, Status.CANCELLED, "be cancelled")
    versions, reason = _locked_versions(locked), f"“{locked}” was cancelled: {rationale}"
    _archive(locked, versions, by=by, reason=reason)
    _close_alerts(versions, reason)
    return _move(locked, Status.CANCELLED, by=by, reason=rationale)


# --- Completion


@transaction.atomic
def complete(
    experiment: ModelExperiment,
    *,
    by: User,
    decision: str,
    rationale: str,
    segments: Sequence[str] | None = None,
    reported: Mapping[str, Any] | None = None,
    expected_champion: str | None = None,
) -> ModelExperiment:
    """Adopts all versions, those of the named `segments` only, or none, in one transaction; the same again answers it.

    `segments` are keys (department:Electronics), their values (Electronics) or versions; a partial adoption that names
    none takes those that reach their target. The numbers are computed
    here; `reported` ones are kept beside them. Where others serve than those that the versions were compared with,
    StaleChampion, unless `expected_champion` names who does, several joined by ", ".
    """
    _may_complete(experiment, by)
    rationale = _given(rationale, "why")
    if decision not in Decision.values:
        raise BadProposal(f"“{decision}” is no decision. There are: {', '.join(Decision.values)}.")
    locked = _relocked(experiment)
    versions = _locked_versions(locked)
    results = results_of(locked)
    if decision == Decision.PARTIAL_ADOPT and not segments:
        segments = [one["segment"] for one in results["segments"] if one["reaches_target"]]
    if locked.status == Status.COMPLETED and locked.decision == decision:
        return _same_again(locked, versions, segments)
    _check(locked, Status.COMPLETED, f"be completed ({decision})")
    if decision != Decision.REJECT and not versions:
        raise WrongStep(locked, "be adopted, because no version of it is there")
    chosen = _chosen(Decision(decision), versions, segments)
    _check_baseline(chosen, expected_champion)
    del results["status"]  # which goes on
    locked.results, locked.reported_results = results, dict(reported or {})
    locked.adopted = [_adopt(version, by=by, reason=f"“{locked}”: {rationale}") for version in chosen]
    rest = [version for version in versions if version not in chosen]
    _archive(locked, rest, by=by, reason=f"not adopted by “{locked}”: {rationale}")
    _close_alerts(versions, f"“{locked}” was completed: {rationale}")
    locked.decision, locked.decision_rationale = decision, rationale
    locked.completed_by, locked.completed_at = by, timezone.now()
    done = _move(locked, Status.COMPLETED, by=by, reason=f"{Decision(decision).label.lower()}: {rationale}")
    _tell(done)
    return done


def _may_complete(experiment: ModelExperiment, by: User) -> None:
    tenancy.require(by, experiment.customer, Action.COMPLETE_EXPERIMENT)
    is_own = experiment.approved_by_id == by.pk
    if is_own and not ModelPolicy.of(experiment.customer).allow_self_approval:
        raise FourEyes(f"You approved “{experiment}”, so another person has to complete it.")


def _chosen(
    decision: ModelExperiment.Decision, versions: Sequence[ModelVersion], segments: Sequence[str] | None
) -> list[ModelVersion]:
    """The versions that become champions. Raises BadProposal where the segments do not fit the decision."""
    if decision is Decision.REJECT:
        return []
    if decision is Decision.ADOPT:
        if segments:
            raise BadProposal("Adopting takes all segments; to take some of them, decide partial_adopt.")
        return list(versions)
    by_name = {name: one for one in versions for name in (one.segment, parts(one.segment)[1], one.version) if name}
    wanted = list(dict.fromkeys(segments or ()))
    if not wanted or (unknown := [name for name in wanted if name not in by_name]):
        known = ", ".join(one.segment for one in versions)
        found = f"unknown: {', '.join(unknown)}" if wanted else "none is named and none reaches its target"
        raise BadProposal(f"Name the segments to adopt in `segments` ({found}). There are: {known}.")
    chosen = {by_name[name].pk for name in wanted}
    return [one for one in versions if one.pk in chosen]


def _same_again(
    experiment: ModelExperiment, versions: Sequence[ModelVersion], segments: Sequence[str] | None
) -> ModelExperiment:
    """The completed experiment, where the decision is the same one; WrongStep where it names other segments."""
    chosen = _chosen(Decision(experiment.decision), versions, segments)
    if {version.version for version in chosen} != {one["version"] for one in experiment.adopted}:
        raise WrongStep(experiment, "be completed in other segments")
    return experiment


def _check_baseline(chosen: Sequence[ModelVersion], expected: str | None) -> None:
    """Who serves now is whom the versions were compared with, or the caller knows who does."""
    compared = _names([version.parent for version in chosen]) if expected is None else expected
    if chosen:
        promotion.check_serving(chosen[0], [promotion.serving_beside(version) for version in chosen], compared)


def _adopt(version: ModelVersion, *, by: User, reason: str) -> dict[str, str]:
    former = promotion.champion_of(version)
    promotion.promote(version, by=by, reason=reason, as_of=version.customer.today())
    return {"version": version.version, "segment": version.segment, "former": former.version if former else ""}


def _close_alerts(versions: Sequence[ModelVersion], reason: str) -> None:
    for version in versions:
        overtake(
            version.customer,
            version=version.version,
            model_name=version.model_name,
            reason=reason,
            types=[MLAlert.Type.SHADOW_TEST_COMPLETE],
        )


def _archive(experiment: ModelExperiment, versions: Sequence[ModelVersion], *, by: User | None, reason: str) -> None:
    for version in versions:
        if version.status == ModelVersion.Status.EXPERIMENTAL:
            promotion.archive(version, by=by, reason=reason, as_of=experiment.customer.today())


def _tell(experiment: ModelExperiment) -> None:
    adopted = [one["version"] for one in experiment.adopted]
    improvement = improvement_of(experiment.results, adopted)
    found = "MAE could not be compared." if improvement is None else f"MAE {_compared(improvement)} in shadow."
    done = {Decision.ADOPT: "Adopted", Decision.PARTIAL_ADOPT: "Partially adopted", Decision.REJECT: "Not adopted"}
    which = f": {', '.join(adopted)}" if adopted else ""
    raise_alert(
        experiment.customer,
        MLAlert.Type.EXPERIMENT_COMPLETE,
        title=f"Experiment complete: {experiment}"[:200],
        message=f"{found} {done[Decision(experiment.decision)]}{which}. {experiment.decision_rationale}",
        metadata={
            "experiment_id": str(experiment.pk),
            "decision": experiment.decision,
            "improvement_pct": improvement,
            "baseline_version": experiment.baseline_version,
            "adopted": ", ".join(adopted),
        },
        action_url=f"/experiments/{experiment.pk}/results",
        dedupe=str(experiment.pk),
        model_name=experiment.model_name,
    )


def _compared(improvement: float) -> str:
    return f"{abs(improvement):.1f} % {'better' if improvement >= 0 else 'worse'}"


# --- Undoing


@transaction.atomic
def roll_back(
    experiment: ModelExperiment, *, by: User, rationale: str, expected_champion: str | None = None
) -> ModelExperiment:
    """Who served before the adoption serves again; a segment that nobody had served falls to the wider one.

    `expected_champion` names who serves in the adopted segments, several joined by ", ": StaleChampion where others do.
    """
    tenancy.require(by, experiment.customer, Action.ROLL_BACK)
    rationale = _given(rationale, "why it is rolled back")
    locked = _locked(experiment, Status.ROLLED_BACK, "be rolled back")
    if not locked.adopted:
        raise NothingAdopted(f"Nothing of “{locked}” was adopted, so there is nothing to roll back.")
    _locked_versions(locked)
    versions = {one.version: one for one in ModelVersion.objects.of(locked.customer, locked.model_name)}
    if expected_champion is not None:
        promotion.check_serving(None, _serving_adopted(locked), expected_champion)
    for one in locked.adopted:
        _restore(versions[one["version"]], versions.get(one["former"]), by=by, reason=f"“{locked}”: {rationale}")
    return _move(locked, Status.ROLLED_BACK, by=by, reason=rationale)


def serving_adopted(experiment: ModelExperiment) -> str:
    """Who serves now in the segments where it was adopted, as `roll_back` expects it."""
    return _names(_serving_adopted(experiment))


def _serving_adopted(experiment: ModelExperiment) -> list[ModelVersion | None]:
    segments = [one["segment"] for one in experiment.adopted]
    beside = ModelVersion.objects.of(experiment.customer, experiment.model_name)
    champions = {one.segment: one for one in beside.champions().filter(segment__in=segments)}
    return [champions.get(segment) for segment in segments]


def _restore(adopted: ModelVersion, former: ModelVersion | None, *, by: User, reason: str) -> None:
    """Whoever has followed the adopted version in its segment goes too: the segment is as it was before."""
    as_of, champion = adopted.customer.today(), promotion.champion_of(adopted)
    if former is None:
        if champion is not None:
            promotion.retire(champion, by=by, reason=reason, as_of=as_of)
    elif former != champion:
        promotion.roll_back(former, by=by, reason=reason, as_of=as_of)


# --- What every step does


def _given(text: str, what: str) -> str:
    if not text.strip():
        raise BadProposal(f"Say {what}: it is kept with the experiment.")
    return text.strip()


def _relocked(experiment: ModelExperiment) -> ModelExperiment:
    rows = ModelExperiment.objects.select_for_update(no_key=True, of=("self",)).select_related("customer")
    return rows.get(pk=experiment.pk)


def _locked_versions(experiment: ModelExperiment) -> list[ModelVersion]:
    """The experiment's versions. Locks them and all who may serve their segments in one go, as promotions do."""
    segments = {GLOBAL, *experiment.versions.values_list("segment", flat=True)}
    beside = ModelVersion.objects.of(experiment.customer, experiment.model_name).filter(segment__in=segments)
    list(beside.locked())
    return versions_of(experiment)


def _locked(experiment: ModelExperiment, to: Status, wish: str) -> ModelExperiment:
    locked = _relocked(experiment)
    _check(locked, to, wish)
    return locked


def _check(experiment: ModelExperiment, to: Status, wish: str) -> None:
    if to not in ALLOWED[Status(experiment.status)]:
        raise WrongStep(experiment, wish)


def _names(versions: Sequence[ModelVersion | None]) -> str:
    """Each once, in order, joined by commas."""
    return ", ".join(dict.fromkeys(version.version for version in versions if version))


def _move(experiment: ModelExperiment, to: Status, *, by: User | None, reason: str) -> ModelExperiment:
    """The one place where an experiment's status changes."""
    before, experiment.status = experiment.status, to
    experiment.save()
    _event(experiment, before, by=by, reason=reason)
    return experiment


def _event(experiment: ModelExperiment, before: str, *, by: User | None, reason: str) -> None:
    ExperimentEvent.objects.create(
        experiment=experiment,
        from_status=before,
        to_status=experiment.status,
        by=by,
        reason=reason,
        as_of=experiment.customer.today(),
    )


def of_customer(customer: Customer, experiment_id: UUID | str) -> ModelExperiment:
    """Raises ModelExperiment.DoesNotExist for another customer's."""
    return ModelExperiment.objects.select_related("customer").get(customer=customer, pk=experiment_id)
