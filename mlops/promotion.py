"""The only place where a version's status changes: promoted, held, archived, rolled back, each with its event."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from alerts.acting import overtake
from alerts.alerting import raise_alert
from alerts.models import MLAlert
from mlops import incidents, registry, room, routing
from mlops.artefacts import BrokenArtefact
from mlops.decision import A_PERSON, Decision, Outcome, decide, decide_refresh
from mlops.models import GLOBAL, ModelPolicy, ModelVersion, VersionEvent
from shelfops.models import MODEL_NAME_DEFAULT, Customer, User
from shelfops.refusals import Refusal

__all__ = [
    "ALLOWED", "Decision", "Outcome", "Promotion", "StaleChampion", "UnusableVersion", "WrongStatus", "apply",
    "archive", "champion_of", "check_serving", "decide", "decide_refresh", "frozen_until", "hold", "on_promotion",
    "promote", "retire", "roll_back", "serving_beside", "since",
]  # fmt: skip

Status = ModelVersion.Status
ALLOWED: dict[Status, frozenset[Status]] = {
    Status.CANDIDATE: frozenset({Status.CHALLENGER, Status.EXPERIMENTAL, Status.CHAMPION, Status.ARCHIVED}),
    Status.CHALLENGER: frozenset({Status.CHAMPION, Status.ARCHIVED}),
    Status.EXPERIMENTAL: frozenset({Status.CHAMPION, Status.ARCHIVED}),
    Status.CHAMPION: frozenset({Status.ARCHIVED}),
    Status.ARCHIVED: frozenset({Status.CHAMPION}),
}


class WrongStatus(Refusal):
    """The version's status does not allow it; `allowed` are the statuses it may go to."""

    def __init__(self, version: ModelVersion, wish: str) -> None:
        self.allowed = sorted(status.value for status in ALLOWED[Status(version.status)])
        super().__init__(f"{version} cannot {wish}: it is {since(version)}.")


class StaleChampion(Refusal):
    """Another version has become champion since the decision was made: on `compared`, or on a rollback if None."""

    def __init__(self, compared: ModelVersion | None, expected: str, champion: ModelVersion | None) -> None:
        now = f"{champion} is {since(champion)}" if champion else "there is no champion now"
        seen = expected or "no champion"
        if compared is None:
            super().__init__(f"{seen} was to be rolled back, but {now}. Look at who serves now and decide again.")
        else:
            super().__init__(
                f"{compared} was compared with {seen}, but {now}. Look at how it compares now and decide again."
            )


class UnusableVersion(Refusal):
    """The version's files are not what was stored, so it may not serve."""


@dataclass(frozen=True)
class Promotion:
    """What `on_promotion` callables are told: who serves now, and who did before."""

    version: ModelVersion
    former: ModelVersion | None
    by: User | None
    reason: str
    as_of: dt.date


_followers: list[Callable[[Promotion], None]] = []


def on_promotion(follow: Callable[[Promotion], None]) -> Callable[[Promotion], None]:
    """Has `follow` called in the transaction of each promotion, rollback or retirement.

    What it writes comes with the promotion or not at all, however the process ends; what it raises undoes both.
    """
    if follow not in _followers:
        _followers.append(follow)
    return follow


# --- Doing


def promote(
    version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date, expected_champion: str | None = None
) -> ModelVersion:
    """Makes the version champion of its segment and archives the former one.

    `expected_champion` is the name of the champion that the decision was made against, "" for none; StaleChampion
    where it is another by now, and None does not ask. An archived version is refused: `roll_back` is its way.
    """
    _usable(version)
    with transaction.atomic():
        locked, champion = _locked(version)
        if locked.status == Status.ARCHIVED or Status.CHAMPION not in ALLOWED[Status(locked.status)]:
            raise WrongStatus(locked, "be promoted")
        if expected_champion is not None and expected_champion != _name(champion):
            raise StaleChampion(locked, expected_champion, champion)
        return _crown(locked, champion, by=by, reason=reason, as_of=as_of)


def hold(
    version: ModelVersion, status: Status = Status.CHALLENGER, *, by: User | None, reason: str, as_of: dt.date
) -> ModelVersion:
    """Keeps a candidate beside the champion, as challenger or experimental."""
    if status not in (Status.CHALLENGER, Status.EXPERIMENTAL):
        raise ValueError(f"A candidate is held as challenger or experimental, not as {status}.")
    with transaction.atomic():
        locked, _ = _locked(version)
        if status not in ALLOWED[Status(locked.status)]:
            raise WrongStatus(locked, f"become {status.value}")
        return _supersede(_set(locked, status, by=by, reason=reason, as_of=as_of), as_of=as_of)


def archive(version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date) -> ModelVersion:
    """Puts the version away; a champion is refused, because something has to serve its segment."""
    with transaction.atomic():
        locked, _ = _locked(version)
        if locked.status == Status.CHAMPION or Status.ARCHIVED not in ALLOWED[Status(locked.status)]:
            raise WrongStatus(locked, "be archived")
        return _set(locked, Status.ARCHIVED, by=by, reason=reason, as_of=as_of)


def roll_back(
    version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date, expected_champion: str | None = None
) -> ModelVersion:
    """An archived former champion serves again; for `rollback_freeze_days` nothing is promoted by itself."""
    _usable(version)
    with transaction.atomic():
        locked, champion = _locked(version)
        if not locked.is_former_champion:
            raise WrongStatus(locked, "be rolled back to, only an archived former champion can")
        if expected_champion is not None and expected_champion != _name(champion):
            raise StaleChampion(None, expected_champion, champion)
        return _crown(locked, champion, by=by, reason=reason, as_of=as_of)


def retire(version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date) -> ModelVersion:
    """A segment's champion serves no longer, and its challengers go with it: the next wider segment serves instead.

    The global champion is refused: nothing is wider.
    """
    with transaction.atomic():
        rows = list(ModelVersion.objects.segment_of(version).locked())
        locked = next(row for row in rows if row.pk == version.pk)
        if locked.status != Status.CHAMPION or locked.segment == GLOBAL:
            raise WrongStatus(locked, "be retired, only the champion of a department, cluster or lifecycle can")
        for row in rows:
            if row.status in (Status.CHAMPION, Status.CHALLENGER):
                _set(row, Status.ARCHIVED, by=by, reason=reason, as_of=as_of)
                overtake(row.customer, version=row.version, model_name=row.model_name, reason=reason)
        routing.stop(locked, as_of=as_of)
        incidents.retired(locked, by=by, reason=reason, as_of=as_of)
        if wider := ModelVersion.objects.champion_for(locked.customer, model_name=locked.model_name):
            _tell(Promotion(wider, locked, by, reason, as_of))
        return locked


def champion_of(version: ModelVersion) -> ModelVersion | None:
    """Who serves the version's segment now."""
    return ModelVersion.objects.segment_of(version).champions().first()


def serving_beside(version: ModelVersion) -> ModelVersion | None:
    """Who serves the version's series so far: its segment's champion, else the global one."""
    return champion_of(version) or ModelVersion.objects.champion_for(version.customer, model_name=version.model_name)


def check_serving(compared: ModelVersion | None, serving: Sequence[ModelVersion | None], expected: str) -> None:
    """Raises StaleChampion unless these are the `expected` ones: names joined by ", ", in any order."""
    names = set(expected.split(", ")) - {""}
    if names != {one.version for one in serving if one}:
        changed = next((one for one in serving if one is None or one.version not in names), serving[0])
        raise StaleChampion(compared, expected, changed)


def frozen_until(
    customer: Customer, as_of: dt.date, *, model_name: str = MODEL_NAME_DEFAULT, segment: str = GLOBAL
) -> dt.date | None:
    """The first day on which the segment's versions may promote themselves again; None where they may on `as_of`.

    Only a rollback leads from archived to champion, so the events say when the last one was.
    """
    last = (
        VersionEvent.objects.filter(
            version__customer=customer,
            version__model_name=model_name,
            version__segment=segment,
            from_status=Status.ARCHIVED,
            to_status=Status.CHAMPION,
        )
        .order_by("-as_of")
        .values_list("as_of", flat=True)
        .first()
    )
    if last is None:
        return None
    until = last + dt.timedelta(days=ModelPolicy.of(customer).rollback_freeze_days)
    return until if as_of < until else None


def apply(
    decision: Decision, version: ModelVersion, *, by: User | None, as_of: dt.date, scheduled: bool = False
) -> ModelVersion:
    """Carries a decision out: stores it whole with the version, moves the version, and asks a person where it says so.

    A champion that changed since the comparison turns a promotion into a question to a person. A `scheduled`
    challenger that finds the shadow full is archived; any other supersedes those that have had their turn in it.
    """
    if decision.outcome is Outcome.PROMOTE:
        _usable(version)
    with transaction.atomic():
        locked, champion = _locked(version)
        decision = _still_valid(decision, champion)
        if scheduled and decision.outcome is Outcome.CHALLENGER:
            decision = _room_in_shadow(decision, locked)
        locked.decision = decision.as_json()
        locked.save(update_fields=["decision"])
        done = _supersede(_carry_out(decision, locked, champion, by=by, as_of=as_of), as_of=as_of)
        if decision.outcome is Outcome.PENDING:
            ask_a_person(decision, done)
    return done


def ask_a_person(decision: Decision, version: ModelVersion) -> MLAlert:
    """The alert that says what keeps the version from promoting itself."""
    comparison = decision.comparison
    return raise_alert(
        version.customer,
        MLAlert.Type.PROMOTION_PENDING,
        title=f"{version} awaits a decision",
        message=decision.reason,
        metadata={
            "model_name": version.model_name,
            "version": version.version,
            "segment": version.segment,
            "champion": decision.champion,
            "rule": decision.rule,
            "improvement_pct": comparison.improvement_pct,
            "lower": comparison.lower,
            "upper": comparison.upper,
            "failed_guards": [guard.name for guard in decision.failed],
        },
        action_url=f"/models/review/{version.version}",
        dedupe=f"{version.model_name}:{version.version}",
        model_name=version.model_name,
        version=version.version,
        segment=version.segment,
    )


def _carry_out(
    decision: Decision, version: ModelVersion, champion: ModelVersion | None, *, by: User | None, as_of: dt.date
) -> ModelVersion:
    if version.status == decision.status:  # registered as what it stays
        return version
    if decision.status not in ALLOWED[Status(version.status)]:
        raise WrongStatus(version, f"become {decision.status.value}")
    if decision.status is Status.CHAMPION:
        return _crown(version, champion, by=by, reason=decision.reason, as_of=as_of)
    return _set(version, decision.status, by=by, reason=decision.reason, as_of=as_of)


def _still_valid(decision: Decision, champion: ModelVersion | None) -> Decision:
    now = _name(champion)
    if decision.outcome is not Outcome.PROMOTE or now == decision.champion:
        return decision
    found = decision.reason.removeprefix("promoted: ")
    reason = f"{found}, but meanwhile {now or 'nobody'} is champion: {A_PERSON}"
    return replace(decision, outcome=Outcome.PENDING, status=Status.CHALLENGER, reason=reason)


def _room_in_shadow(decision: Decision, version: ModelVersion) -> Decision:
    """A challenger in shadow, in line for it or with an open decision is never superseded: the newcomer gives way."""
    now = room.Room.beside(version)
    others = now.before(version)
    if len(others) < now.limit:
        return decision
    reason = f"{decision.reason}; archived, as there is no room in shadow (at most {now.limit}): {now.in_words(others)}"
    return replace(decision, status=Status.ARCHIVED, reason=reason)


def _supersede(newcomer: ModelVersion, *, as_of: dt.date) -> ModelVersion:
    """Puts away the challengers whose shadow test is over and leads to nothing, now that a newer one has come."""
    if newcomer.status != Status.CHALLENGER:
        return newcomer
    for old in room.Room.beside(newcomer).superseded_by(newcomer):
        reason = f"superseded by {newcomer}: {room.why_superseded(old)}"
        _set(old, Status.ARCHIVED, by=None, reason=reason, as_of=as_of)
        overtake(old.customer, version=old.version, model_name=old.model_name, reason=reason)
        incidents.put_away(old, why=reason, as_of=as_of)
    return newcomer


# --- The recipe of every change: lock the segment's rows in key order, re-read, refuse, write, leave an event


def _locked(version: ModelVersion) -> tuple[ModelVersion, ModelVersion | None]:
    """The version and its segment's champion as they are now, locked."""
    rows = {row.pk: row for row in ModelVersion.objects.segment_of(version).locked()}
    champion = next((row for row in rows.values() if row.status == Status.CHAMPION), None)
    return rows[version.pk], champion


def _crown(
    version: ModelVersion, champion: ModelVersion | None, *, by: User | None, reason: str, as_of: dt.date
) -> ModelVersion:
    if champion is not None:  # first: the constraint allows one champion at any moment
        _set(champion, Status.ARCHIVED, by=by, reason=f"{version} took over: {reason}", as_of=as_of)
    version.champion_since = as_of
    _set(version, Status.CHAMPION, by=by, reason=reason, as_of=as_of)
    routing.switch(version, by=by, reason=reason, as_of=as_of)
    incidents.promoted(version, by=by, reason=reason, as_of=as_of)
    _tell(Promotion(version, champion, by, reason, as_of))
    return version


def _tell(promotion: Promotion) -> None:
    for follow in _followers:
        follow(promotion)


def _set(version: ModelVersion, to: Status, *, by: User | None, reason: str, as_of: dt.date) -> ModelVersion:
    event = VersionEvent(version=version, from_status=version.status, to_status=to, by=by, reason=reason, as_of=as_of)
    version.status = to
    version.save(update_fields=["status", "champion_since"])
    event.save()
    if to not in room.BESIDE_THE_CHAMPION:
        room.leave(version, as_of=as_of)
    return version


def _usable(version: ModelVersion) -> None:
    """Reads all its files: slow, so it stands before the locks."""
    try:
        registry.files_of(version)
    except BrokenArtefact as error:
        raise UnusableVersion(
            f"{version} cannot serve: {error} Restore the folder from a backup, or retrain."
        ) from error


def _name(champion: ModelVersion | None) -> str:
    return champion.version if champion else ""


def since(version: ModelVersion) -> str:
    """Such as: champion since 2026-03-02 by bob@acme.example (better in shadow)."""
    event = version.events.select_related("by").last()
    if event is None:
        return version.status
    return f"{version.status} since {event.as_of} by {event.by or 'the system'} ({event.reason.rstrip('.')})"
