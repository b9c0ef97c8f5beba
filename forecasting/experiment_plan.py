"""What an experiment's plan says to train: read once, refused in plain words where it could not be trained.

A plan is a mapping with any of: tier (a feature tier, or department_tiered, store_cluster_tiered, lifecycle_tiered),
segmentation (department, store_cluster, lifecycle), segments (Electronics or department:Electronics; all where none is
named), params (of the booster), window_days, top_products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forecasting.catalogue import segments_of
from forecasting.orders import check_window
from forecasting.segments import TIERED, name_of
from forecasting.tiers import TIERS, production
from forecasting.train import check_params
from mlops.experiments import TOP_PRODUCTS, BadProposal
from mlops.routing import Kind
from shelfops.models import Customer
from shelfops.refusals import Refusal

DEFAULT_TIER = production.TIER.name  # whose parameters a plan without a tier is checked beside


class BadPlan(BadProposal):
    """The plan could not be trained."""


@dataclass(frozen=True)
class Plan:
    """What to train; None and empty are as the champion's recipe has it."""

    tier: str | None = None
    segmentation: Kind | None = None
    segments: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    window_days: int | None = None
    top_products: int | None = None

    @property
    def is_empty(self) -> bool:
        return self == Plan()

    @property
    def label(self) -> str:
        """The tier as a retrain's metadata name it: department_tiered, else the feature tier, else ""."""
        return f"{self.segmentation.value}_tiered" if self.segmentation else self.tier or ""

    def options(self) -> dict[str, Any]:
        """As a retrain takes it."""
        return {
            "tier": self.tier,
            "segments": list(self.segments),
            "params": dict(self.params),
            "window_days": self.window_days,
            TOP_PRODUCTS: self.top_products,
        }


def read(customer: Customer, plan: Mapping[str, Any]) -> Plan:
    """Raises BadPlan where it says something that is unknown or cannot be."""
    known = {"tier", "segmentation", "segments", "params", "window_days", TOP_PRODUCTS}
    if unknown := sorted(set(plan) - known):
        raise BadPlan(f"The plan knows no {', '.join(unknown)}. It may say: {', '.join(sorted(known))}.")
    tier, kind = _tier(plan.get("tier")), _kind(plan)
    params, window = plan.get("params") or {}, plan.get("window_days")
    if not isinstance(params, Mapping):
        raise BadPlan("The plan's params are names with values, such as {“num_boost_round”: 200}.")
    if window is not None and not is_count(window):
        raise BadPlan("The plan's window_days is a whole number of days.")
    try:
        check_window(window)
        check_params(tier or DEFAULT_TIER, params)
    except Refusal as refusal:
        raise BadPlan(f"The plan cannot be trained: {refusal}") from refusal
    segments = _segments(customer, kind, plan.get("segments"))
    return Plan(tier, kind, segments, params, window, limit(plan))


def check(customer: Customer, plan: Mapping[str, Any]) -> None:
    """What a proposal is checked with: an empty plan may be completed when it is started."""
    read(customer, plan)


def limit(said: Mapping[str, Any]) -> int | None:
    """The number of best-selling products that a plan or the conditions of an approval limit the run to."""
    wanted = said.get(TOP_PRODUCTS)
    if wanted is not None and not (is_count(wanted) and wanted > 0):
        raise BadPlan(f"{TOP_PRODUCTS} is a whole number of products from 1 on, such as 500.")
    return wanted


def is_count(value: object) -> bool:
    """Whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _tier(wanted: object) -> str | None:
    if wanted is None or wanted in TIERED:
        return None
    if wanted not in TIERS:
        raise BadPlan(f"There is no tier “{wanted}”. There are: {', '.join([*TIERS, *TIERED])}.")
    return str(wanted)


def _kind(plan: Mapping[str, Any]) -> Kind | None:
    by_tier, named = TIERED.get(str(plan.get("tier"))), plan.get("segmentation")
    if named is not None and named not in list(Kind):
        raise BadPlan(f"There is no segmentation “{named}”. There are: {', '.join(Kind)}.")
    kind = by_tier if named is None else Kind(named)
    if by_tier and by_tier is not kind:
        raise BadPlan(f"The tier {plan['tier']} and the segmentation {named} contradict each other. Leave one out.")
    return kind


def _segments(customer: Customer, kind: Kind | None, wanted: object) -> tuple[str, ...]:
    """The keys of the segments; all that there are where none is named."""
    if kind is None:
        if wanted:
            raise BadPlan("Say by what the segments are made: segmentation is department, store_cluster or lifecycle.")
        return ()
    there_are = segments_of(customer, kind)
    if not wanted:
        if not there_are:
            raise BadPlan(f"{customer} has no {kind.value.replace('_', ' ')} yet. {_HOW_TO_GET[kind]}")
        return tuple(there_are)
    if not isinstance(wanted, Sequence) or isinstance(wanted, str):
        raise BadPlan("The plan's segments are a list of names, such as [“Electronics”].")
    by_name = {name: key for key in there_are for name in (key, name_of(key))}
    if lost := [str(name) for name in wanted if name not in by_name]:
        names = ", ".join(map(name_of, there_are)) or "none yet"
        raise BadPlan(f"There is no {kind.value.replace('_', ' ')} {', '.join(lost)}. There are: {names}.")
    return tuple(dict.fromkeys(by_name[name] for name in wanted))


_HOW_TO_GET = {
    Kind.DEPARTMENT: "Load sales with a department, or give the categories one.",
    Kind.STORE_CLUSTER: "Give its stores a cluster.",
}
