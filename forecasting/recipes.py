"""What a retrain trains: for each of its segments the recipe, whose it is, and the days that teach and judge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from forecasting import sales
from forecasting.features import tier_for
from forecasting.orders import Order, Trigger, was_emergency
from forecasting.panel import Panel
from forecasting.tiers import TIERS
from forecasting.train import Recipe
from mlops import backtests
from mlops.models import GLOBAL, ModelPolicy, ModelVersion
from shelfops.models import Customer


@dataclass(frozen=True)
class Task:
    """One segment of a retrain.

    `champion` is who serves its series so far, by whose recipe it is trained and with whom it is compared: its own
    champion, or the global one where it has none yet.
    """

    segment: str
    champion: ModelVersion | None
    split: backtests.Split

    @property
    def first_day(self) -> dt.date:
        """The first day that teaches anything that is compared."""
        first, champion = self.split.evaluation_start, self.champion
        if champion and champion.evaluation_end > self.split.cutoff:
            first = min(first, champion.train_start - dt.timedelta(days=self.split.holdout_days))
        return first


def tasks(customer: Customer, last_day: dt.date, order: Order, policy: ModelPolicy) -> list[Task]:
    """What the order means on this day, global first. Raises backtests.TooShort."""
    champions = {one.segment: one for one in ModelVersion.objects.of(customer).champions().select_related("run")}
    first_day = sales.first_day(customer)
    found = []
    for segment in sorted(_segments(order, champions), key=lambda one: (one != GLOBAL, one)):
        champion = champions.get(segment) or champions.get(GLOBAL)
        found.append(Task(segment, champion, _split(first_day, last_day, order, champion, policy)))
    return found


def since(tasks: Iterable[Task], policy: ModelPolicy) -> dt.date:
    """The first day whose sales any fit or feature can need."""
    lookback = max(policy.active_days, *(tier.lookback_days for tier in TIERS.values()))
    return min(task.first_day for task in tasks) - dt.timedelta(days=lookback)


def recipe_for(order: Order, task: Task, panel: Panel, policy: ModelPolicy) -> Recipe:
    """The champion's recipe, or the richest tier that the data feed, with what the order overrides."""
    champion = task.champion
    usual: dict[str, Any] = champion.recipe if champion else {"tier": tier_for(panel), "params": {}}
    params = usual["params"] if order.tier in (None, usual["tier"]) else {}
    return Recipe(
        tier=order.tier or usual["tier"],
        params={**params, **order.params},
        window_days=window_of(order, champion, policy),
        segment=task.segment,
    )


def window_of(order: Order, champion: ModelVersion | None, policy: ModelPolicy) -> int:
    """Days of targets: 30 in an emergency, else the order's or the champion's; an emergency's are not passed on."""
    if order.rule.emergency:
        return policy.emergency_train_days
    if order.window_days:
        return order.window_days
    return champion.recipe["window_days"] if champion and not was_emergency(champion) else policy.train_days


def _segments(order: Order, champions: Iterable[str]) -> set[str]:
    if order.segments:
        return set(order.segments)
    return {GLOBAL} if order.trigger == Trigger.EXPERIMENT else {GLOBAL, *champions}


def _split(
    first_day: dt.date, last_day: dt.date, order: Order, champion: ModelVersion | None, policy: ModelPolicy
) -> backtests.Split:
    if order.rule.emergency:
        return backtests.emergency_split(first_day, last_day, policy)
    return backtests.split(first_day, last_day, policy, train_days=window_of(order, champion, policy))
