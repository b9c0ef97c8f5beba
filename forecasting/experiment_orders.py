"""What a retrain does for the experiment that asks for it: its plan as an order, and each step of its life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from forecasting import experiment_plan
from forecasting.experiment_plan import BadPlan, Plan
from forecasting.orders import BadOrder
from mlops import experiments
from mlops.models import ModelExperiment, ModelRetrainingLog, ModelVersion
from shelfops.models import Customer, JobRun, User

JOB = "retrain"
CHANGES_DATA = (ModelExperiment.Type.DATA_SOURCE, ModelExperiment.Type.OTHER)


def named_in(customer: Customer, metadata: Mapping[str, Any]) -> ModelExperiment:
    """The experiment that a retrain's metadata name. Raises BadOrder."""
    named = str(metadata.get("experiment_id") or "")
    try:
        return experiments.of_customer(customer, UUID(named))
    except (ValueError, ModelExperiment.DoesNotExist):
        found = f"there is no experiment “{named}”" if named else "none is named"
        raise BadOrder(
            f"A retrain for an experiment needs its experiment_id, and {found} at {customer}. Copy it from its page."
        ) from None


def plan_of(experiment: ModelExperiment, *, tier: str | None = None) -> Plan:
    """What is trained: the plan, with the tier where it leaves that open, within the limits of the approval."""
    said = dict(experiment.plan)
    if tier is not None and not {"tier", "segmentation"} & set(said):
        said["tier"] = tier
    plan = experiment_plan.read(experiment.customer, said)
    if tier is not None and plan.label != tier:
        raise BadPlan(f"“{experiment}” was approved for {plan.label}, not for {tier}. Propose another experiment.")
    limits = [one for one in (plan.top_products, experiment_plan.limit(experiment.conditions)) if one is not None]
    return Plan(plan.tier, plan.segmentation, plan.segments, plan.params, plan.window_days, min(limits, default=None))


def arguments(experiment: ModelExperiment, metadata: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What the retrain is asked for. `options` complete the plan; they may not contradict it. Raises BadPlan."""
    plan = plan_of(experiment, tier=metadata.get("tier") or options.get("tier"))
    planned = plan.options()
    given = {name: value for name, value in options.items() if name in planned and name != "tier" and value}
    if clash := sorted(name for name, value in given.items() if planned[name] and planned[name] != value):
        raise BadPlan(f"“{experiment}” was approved with another {', '.join(clash)}. Leave it out.")
    if plan.is_empty and not given and experiment.experiment_type not in CHANGES_DATA:
        raise BadPlan(f"The plan of “{experiment}” says nothing to train. Name a tier, such as department_tiered.")
    named = {"experiment_id": str(experiment.pk)} | ({"tier": plan.label} if plan.label else {})
    return planned | given | {"metadata": {**metadata, **named}, "reason": experiment.experiment_name}


def begin(experiment: ModelExperiment, *, by: User | None) -> None:
    """Puts it in progress; one whose run has ended without telling is closed as failed before."""
    run = JobRun.objects.filter(customer=experiment.customer, job=JOB, slot=slot_of(experiment)).first()
    is_stuck = experiment.status == ModelExperiment.Status.IN_PROGRESS and not experiment.error
    if is_stuck and (run is None or run.status in (JobRun.Status.FAILED, JobRun.Status.SKIPPED)):
        experiments.failed(experiment, run.error if run else "its training was never queued")
    experiments.begin(experiment, by=by)


def slot_of(experiment: ModelExperiment) -> str:
    """The key of its training: one run, taken again where it failed."""
    return f"experiment:{experiment.pk}"


def of_run(run: JobRun) -> ModelExperiment | None:
    """The experiment that a run trains for."""
    metadata = run.arguments.get("metadata") or {}
    if run.arguments.get("trigger") != ModelRetrainingLog.Trigger.EXPERIMENT:
        return None
    return named_in(run.customer, metadata)


def conclude(experiment: ModelExperiment, log: ModelRetrainingLog, versions: Sequence[ModelVersion]) -> None:
    """Its versions go into shadow; called in the transaction that decides on them."""
    experiments.trained(experiment, versions, note="; ".join(log.notes))


def fail_dead(run: JobRun) -> None:
    """Its worker died: it can be started again."""
    if experiment := of_run(run):
        experiments.failed(experiment, "The worker died during the training. Start it again.")
