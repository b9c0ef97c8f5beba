"""Experiments for tests, at any step of their life, without any training."""

from typing import Any

from mlops import experiments, shadow
from mlops.models import ModelExperiment, ModelVersion, ShadowTest
from mlops.tests.ledger import DAY, a_version
from mlops.tests.nights import shadow_nights
from shelfops.models import Customer, User

ELECTRONICS, GROCERY = "department:Electronics", "department:Grocery"


def proposed(customer: Customer, by: User, **changes: Any) -> ModelExperiment:
    asked = {"name": "Department tiers", "hypothesis": "Electronics differ.", "experiment_type": "segmentation"}
    return experiments.propose(customer, by=by, **(asked | changes))


def approved(customer: Customer, alice: User, bob: User, **changes: Any) -> ModelExperiment:
    return experiments.approve(proposed(customer, alice, **changes), by=bob, rationale="High variability.")


def in_shadow(
    customer: Customer, alice: User, bob: User, *, segments: tuple[str, ...] = (ELECTRONICS, GROCERY), **changes: Any
) -> ModelExperiment:
    """Approved, started and trained: one version a segment, each compared with who serves it."""
    started = experiments.begin(approved(customer, alice, bob, **changes), by=alice)
    return experiments.trained(started, [a_trained(customer, segment) for segment in segments])


def a_trained(customer: Customer, segment: str) -> ModelVersion:
    champions = ModelVersion.objects
    serving = champions.champion_for(customer, segment) or champions.champion_for(customer)
    return a_version(customer, "experimental", segment=segment, parent=serving)


def shown(experiment: ModelExperiment, *better: float, days: int = 14) -> list[ShadowTest]:
    """Scored nights of each version, so many percent better than who served; the tests have not ended."""
    tests = sorted(shadow.start(experiment.customer, DAY), key=lambda test: test.version.segment)
    for test, percent in zip(tests, better, strict=True):
        shadow_nights(test, days, better=percent, seed=test.version.number)
    return tests
