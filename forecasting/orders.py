"""What a retrain can be asked for: the table of triggers, and an order with all that it may say."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forecasting.tiers import tier_named
from mlops.models import ModelRetrainingLog, ModelVersion
from shelfops.refusals import Refusal

LEAST_WINDOW_DAYS, MOST_WINDOW_DAYS = 28, 730
Trigger = ModelRetrainingLog.Trigger
Status = ModelVersion.Status


@dataclass(frozen=True)
class Rule:
    """What a trigger means: the version's first status, whether it may promote itself, and how it is judged."""

    first_status: ModelVersion.Status
    may_promote: bool
    why_held: str = "promoting it was not wanted"
    emergency: bool = False
    asks_a_person: bool = False


TRIGGERS: dict[Trigger, Rule] = {
    Trigger.SCHEDULED: Rule(Status.CANDIDATE, may_promote=True),
    Trigger.MANUAL: Rule(Status.CANDIDATE, may_promote=True),
    Trigger.DRIFT: Rule(
        Status.CHALLENGER, may_promote=False, why_held="a person reviews what drift asked for", emergency=True
    ),
    Trigger.EXPERIMENT: Rule(Status.EXPERIMENTAL, may_promote=False, why_held="the experiment decides"),
    Trigger.NEW_DATA: Rule(
        Status.CHALLENGER, may_promote=False, why_held="a person decides on a new data source", asks_a_person=True
    ),
}


class BadOrder(Refusal):
    """The retrain was asked for in a way that cannot be carried out."""


@dataclass(frozen=True)
class Order:
    """What was asked for. Tier, window and parameters override the champion's recipe.

    Without `segments` each one that has a champion is trained, and by an experiment the global one. `top_products`
    limits all of it to the products that sell most.
    """

    trigger: Trigger
    as_of: dt.date
    reason: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tier: str | None = None
    window_days: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    promote: bool = True
    segments: tuple[str, ...] = ()
    top_products: int | None = None

    def __post_init__(self) -> None:
        if self.trigger == Trigger.MANUAL and not self.reason.strip():
            raise BadOrder("A manual retrain needs a reason: who reads the log later wants to know why. Use --reason.")
        if self.tier is not None:
            tier_named(self.tier)
        check_window(self.window_days)
        if self.window_days is not None and self.rule.emergency:
            raise BadOrder("A retrain that drift asked for trains the policy's emergency window; leave --window out.")

    @property
    def rule(self) -> Rule:
        return TRIGGERS[self.trigger]


def check_window(days: int | None) -> None:
    """Raises BadOrder for a training window that is too short or too long."""
    if days is not None and not LEAST_WINDOW_DAYS <= days <= MOST_WINDOW_DAYS:
        raise BadOrder(f"The training window must be {LEAST_WINDOW_DAYS} to {MOST_WINDOW_DAYS} days long.")


def was_emergency(version: ModelVersion) -> bool:
    """Whether drift asked for the version, so that it was trained on a short window."""
    return version.run is not None and TRIGGERS[Trigger(version.run.trigger_type)].emergency
