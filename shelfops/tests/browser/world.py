"""A customer who has every state that a screen can be in: real rows, no training."""

import datetime as dt
from pathlib import Path

from django.utils import timezone

from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from forecasting.tests.nights import load
from forecasting.tests.synthetic import shop
from mlops import experiments
from mlops.models import ModelExperiment, ModelVersion, ShadowTest
from mlops.review import review
from mlops.tests.ledger import a_version
from mlops.tests.trials import a_trained, approved, proposed, shown
from shelfops.models import Customer, JobRun, User
from shelfops.tests.decisions import TODAY

Status = JobRun.Status
BETTER = {"department:Electronics": 22, "department:Grocery": 2}
DAYS_OF_SALES = 91


def every_state(customer: Customer, alice: User, bob: User, folder: Path) -> None:
    """Of runs, reviews, alerts and experiments, beside what waits already."""
    first, last = (TODAY - dt.timedelta(days=days) for days in (DAYS_OF_SALES, 1))
    load(customer, folder, shop(stores=6, products=6, first=first, last=last))
    for status in (Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.QUEUED):
        a_run(customer, status)
    a_decided(customer, bob)
    an_alert(customer, MLAlert.Type.BACKTEST_DEGRADATION, "v1", action_url="/models/v1")
    an_alert(customer, MLAlert.Type.SHADOW_TEST_COMPLETE, "v2")
    one_of_each_experiment(customer, alice, bob)


def a_run(customer: Customer, status: str) -> JobRun:
    now = timezone.now()
    ended = {"completed_at": now, "percent": 100, "stages": [{"stage": "reading sales", "seconds": 1.25}]}
    told = {
        Status.COMPLETED: {**ended, "result": {"version": "v2", "status": "challenger", "mae": 1.84}},
        Status.FAILED: {**ended, "percent": 40, "error": "There are no sales of the last 28 days. Load them first."},
        Status.SKIPPED: {**ended, "error": "The feed is not complete."},
    }.get(status, {})
    return JobRun.objects.create(
        customer=customer, job="retrain", slot=f"manual:{status}", status=status, started_at=now,
        arguments={"trigger": "manual", "reason": "new prices"}, **told,
    )  # fmt: skip


def a_decided(customer: Customer, bob: User) -> ModelVersion:
    version = a_version(customer, "challenger", trigger="manual", as_of=TODAY)
    an_alert(customer, version=version.version)
    return review(version, "reject", by=bob, notes="No better where it matters.")


def one_of_each_experiment(customer: Customer, alice: User, bob: User) -> None:
    """From proposed to rolled back, each by the doors that people use."""
    named = {name: f"Tiers, {name}" for name in ModelExperiment.Status.values}
    planned = {"plan": {"segmentation": "department"}}
    proposed(customer, alice, name=named["proposed"], **planned)
    experiments.reject(proposed(customer, alice, name=named["rejected"]), by=bob, rationale="Too early.")
    experiments.cancel(proposed(customer, alice, name=named["cancelled"]), by=alice, rationale="Asked for twice.")
    approved(customer, alice, bob, name=named["approved"], **planned)
    experiments.begin(approved(customer, alice, bob, name=named["in_progress"]), by=alice)
    broken = experiments.begin(approved(customer, alice, bob, name="Tiers, failed", **planned), by=alice)
    experiments.failed(broken, "There are no sales of Electronics.")
    undone = adopted(customer, alice, bob, name=named["rolled_back"])
    experiments.roll_back(undone, by=bob, rationale="Stores complained.")
    adopted(customer, alice, bob, name=named["completed"])
    in_shadow(customer, alice, bob, name=named["shadow_testing"])


def in_shadow(customer: Customer, alice: User, bob: User, *, name: str) -> ModelExperiment:
    """Trained and forecast for two weeks beside those that serve."""
    started = experiments.begin(approved(customer, alice, bob, name=name), by=alice)
    trial = experiments.trained(started, [a_trained(customer, segment) for segment in BETTER])
    tests = shown(trial, *BETTER.values())
    ShadowTest.objects.filter(pk__in=[test.pk for test in tests]).update(days=14, samples=560)
    return trial


def adopted(customer: Customer, alice: User, bob: User, *, name: str) -> ModelExperiment:
    trial = in_shadow(customer, alice, bob, name=name)
    return experiments.complete(
        trial, by=alice, decision="partial_adopt", rationale="Electronics gain.", segments=["Electronics"]
    )
