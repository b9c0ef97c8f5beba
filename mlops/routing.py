"""Who serves what: the rule of a segment, and which segment's rule a series falls under, on any date."""

import datetime as dt
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd
from django.db import transaction
from django.db.models import Max, Min

from mlops.models import GLOBAL, ModelVersion, RoutingRule
from mlops.models.routing import RoutingRuleQuerySet
from shelfops.models import MODEL_NAME_DEFAULT, Customer, User
from shelfops.refusals import Refusal

UNROUTED = -1


class Kind(StrEnum):
    """What segments are made by, the strongest first: a series is served by the first rule that it falls under."""

    LIFECYCLE = "lifecycle"
    DEPARTMENT = "department"
    STORE_CLUSTER = "store_cluster"


class Lifecycle(StrEnum):
    """A product in a store is new for its first days there, then mature."""

    NEW = "new"
    MATURE = "mature"


class NobodyServes(Refusal):
    """No version serves the customer on this day."""


def segment_key(kind: Kind, value: str) -> str:
    """Such as department:Electronics."""
    return f"{kind.value}:{value}"


def parts(segment: str) -> tuple[Kind | None, str]:
    """The kind and the value of a segment's key; None and "" for global."""
    if segment == GLOBAL:
        return None, ""
    kind, _, value = segment.partition(":")
    return Kind(kind), value


def in_words(segment: str) -> str:
    """Such as: all products, department Electronics, store cluster Urban, new products."""
    kind, value = parts(segment)
    if kind is None:
        return "all products"
    return f"{value} products" if kind is Kind.LIFECYCLE else f"{kind.value.replace('_', ' ')} {value}"


def rules_on(customer: Customer, day: dt.date, *, model_name: str = MODEL_NAME_DEFAULT) -> list[RoutingRule]:
    """The rules that hold on the day, one per segment, with their versions."""
    rules = RoutingRule.objects.of(customer, model_name).valid_on(day).select_related("version", "by", "customer")
    return list({rule.segment: rule for rule in rules.order_by("valid_from", "id")}.values())


def why_nobody(customer: Customer, day: dt.date) -> str:
    """In words, where no rule holds on the day, and what to do: an earlier day is not helped by a retrain."""
    first = RoutingRule.objects.of(customer).aggregate(day=Min("valid_from"))["day"]
    if first is not None and day < first:
        return f"No version served {customer} on {day}: the first one serves since {first}. Ask for that day or later."
    return f"No version serves {customer} on {day}. Retrain first: one that becomes champion serves from that day on."


def lifecycle(age_days: pd.Series, new_item_days: int) -> pd.Series:
    """new or mature, by days since the first sale in the store; unknown, because never sold there, is new."""
    is_mature = age_days.fillna(-1) >= new_item_days
    return is_mature.map({True: Lifecycle.MATURE.value, False: Lifecycle.NEW.value})


def resolve(segments: Sequence[str], items: pd.DataFrame) -> npt.NDArray[np.int64]:
    """For each item the place in `segments` of the rule that serves it; UNROUTED where not even a global one is there.

    `items` has department, store_cluster and lifecycle, as text.
    """
    chosen = np.full(len(items), segments.index(GLOBAL) if GLOBAL in segments else UNROUTED, dtype=np.int64)
    for kind in reversed(Kind):
        places = {value: place for place, (of, value) in enumerate(map(parts, segments)) if of is kind}
        if places:
            found = items[kind.value].astype(str).map(places)
            chosen = np.where(found.notna(), found.fillna(UNROUTED), chosen).astype(np.int64)
    return chosen


@transaction.atomic
def switch(version: ModelVersion, *, by: User | None, reason: str, as_of: dt.date) -> RoutingRule:
    """From this day on the version serves its segment; the rule that held so far ends.

    A day in the past does not rewrite who has served: the rule begins when those before it have ended.
    """
    stop(version, as_of=as_of)
    before = _of_segment(version).aggregate(begun=Max("valid_from"), ended=Max("valid_to"))
    return RoutingRule.objects.create(
        customer_id=version.customer_id,
        model_name=version.model_name,
        segment=version.segment,
        version=version,
        experiment_id=version.experiment_id,
        valid_from=max(day for day in (as_of, *before.values()) if day),
        by=by,
        reason=reason,
    )


def stop(version: ModelVersion, *, as_of: dt.date) -> None:
    """Ends the open rule of the version's segment, if there is one: the next wider segment serves from this day on."""
    for rule in _of_segment(version).open().select_for_update():
        rule.valid_to = max(as_of, rule.valid_from)
        rule.save(update_fields=["valid_to"])


def _of_segment(version: ModelVersion) -> RoutingRuleQuerySet:
    return RoutingRule.objects.filter(
        customer_id=version.customer_id, model_name=version.model_name, segment=version.segment
    )
