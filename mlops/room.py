"""Who takes up room in shadow, who waits for it, and who has had their turn: one segment's versions at one moment."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from alerts.models import MLAlert
from mlops.models import ModelPolicy, ModelRetrainingLog, ModelVersion, ShadowTest

BESIDE_THE_CHAMPION = (ModelVersion.Status.CHALLENGER, ModelVersion.Status.EXPERIMENTAL)
DECISIONS = (MLAlert.Type.PROMOTION_PENDING, MLAlert.Type.DRIFT_DETECTED)
WHY_SUPERSEDED = {
    ShadowTest.Verdict.PROMOTE: "nobody took up the case that its shadow made",
    ShadowTest.Verdict.REFRESH: "nobody took up the case that its shadow made",
    ShadowTest.Verdict.KEEP: "its shadow found no case",
    ShadowTest.Verdict.EXTEND: "its shadow had too few days to tell",
}


@dataclass(frozen=True)
class Room:
    """A segment's challengers and experimental versions; each is in one of the four, in the order of their turn.

    `running` are in shadow, `deciding` have been and await a person, `waiting` have not begun (what drift asked for
    comes first, then the oldest), `done` have been and await nothing.
    """

    limit: int
    running: tuple[ModelVersion, ...]
    deciding: tuple[ModelVersion, ...]
    waiting: tuple[ModelVersion, ...]
    done: tuple[ModelVersion, ...]

    @classmethod
    def beside(cls, version: ModelVersion) -> "Room":
        """Of the version's segment, as the tables are now."""
        versions = ModelVersion.objects.segment_of(version).filter(status__in=BESIDE_THE_CHAMPION)
        limit = ModelPolicy.of(version.customer).max_shadowing
        found = list(versions.select_related("customer", "shadow_test", "run").order_by("pk"))
        return cls.sorted(found, awaiting=_open_decisions(version), limit=limit)

    @classmethod
    def sorted(cls, versions: Iterable[ModelVersion], *, awaiting: set[str], limit: int) -> "Room":
        """The versions by what they do; `awaiting` names those with an open decision."""
        places: dict[str, list[ModelVersion]] = {"running": [], "deciding": [], "waiting": [], "done": []}
        for version in versions:
            places[_place(version, awaiting)].append(version)
        places["waiting"].sort(key=lambda one: (not asked_by_drift(one), one.pk))
        return cls(limit=limit, **{name: tuple(those) for name, those in places.items()})

    @property
    def next(self) -> tuple[ModelVersion, ...]:
        """Those that may begin now."""
        return self.waiting[: max(0, self.limit - len(self.running) - len(self.deciding))]

    def before(self, newcomer: ModelVersion) -> list[ModelVersion]:
        """Those that are in shadow, await a decision or stand in line already."""
        return [one for one in (*self.running, *self.deciding, *self.waiting) if one.pk != newcomer.pk]

    def in_words(self, versions: Iterable[ModelVersion]) -> str:
        """Such as: v2 is in it, v3 awaits a decision, v4 is next."""
        words = {"is in it": self.running, "awaits a decision": self.deciding, "is next": self.waiting}
        return ", ".join(f"{one} {does}" for one in versions for does, those in words.items() if one in those)

    def superseded_by(self, newcomer: ModelVersion) -> list[ModelVersion]:
        """The challengers that have nothing more to wait for now that this one has come."""
        return [
            one for one in self.done if one.status == ModelVersion.Status.CHALLENGER and one.number < newcomer.number
        ]


def why_superseded(version: ModelVersion) -> str:
    """What its shadow test came to, for one that is put away for a newer one."""
    return WHY_SUPERSEDED[ShadowTest.Verdict(version.shadow_test.verdict)]


def asked_by_drift(version: ModelVersion) -> bool:
    """Whether an emergency retrain has made it."""
    return version.run is not None and version.run.trigger_type == ModelRetrainingLog.Trigger.DRIFT


def leave(version: ModelVersion, *, as_of: dt.date) -> None:
    """Cancels the version's running test: it is no longer beside the champion."""
    ShadowTest.objects.filter(version=version, status=ShadowTest.Status.RUNNING).update(
        status=ShadowTest.Status.CANCELLED, completed_on=as_of
    )


def _place(version: ModelVersion, awaiting: set[str]) -> str:
    test: ShadowTest | None = getattr(version, "shadow_test", None)
    if test is None:
        return "waiting"
    if test.status == ShadowTest.Status.RUNNING:
        return "running"
    return "deciding" if version.version in awaiting else "done"


def _open_decisions(version: ModelVersion) -> set[str]:
    about = MLAlert.objects.open().filter(
        customer_id=version.customer_id, model_name=version.model_name, alert_type__in=DECISIONS
    )
    return set(about.values_list("version", flat=True))
