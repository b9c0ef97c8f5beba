"""The start of an experiment: its plan is trained by a retrain, and what comes of it goes into shadow."""

from forecasting.orders import Trigger
from forecasting.retraining_job import retrain_forecast_model
from mlops.models import ModelExperiment
from shelfops import tenancy
from shelfops.models import Customer, JobRun, User
from shelfops.tenancy import Action


def start(customer: Customer, experiment: ModelExperiment, user: User, *, tier: str | None = None) -> JobRun:
    """Puts it in progress and asks a worker to train it; again, where its training failed.

    `tier` completes a plan that leaves it open. Raises experiments.WrongStep, experiment_plan.BadPlan.
    """
    tenancy.require(user, customer, Action.PROPOSE_EXPERIMENT)
    metadata = {"experiment_id": str(experiment.pk)} | ({"tier": tier} if tier else {})
    return retrain_forecast_model(customer.pk, trigger=Trigger.EXPERIMENT, trigger_metadata=metadata, by=user)
