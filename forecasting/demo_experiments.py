"""What the demo's people try: an experiment that has had its days in shadow, and a proposal that waits."""

import datetime as dt

from forecasting.orders import Trigger
from forecasting.retraining_job import retrain_here
from mlops import experiments
from mlops.models import ModelExperiment
from shelfops.models import Customer, User

DEPARTMENTS = ("DRUG GM", "PRODUCE", "MEAT")
TIERED = "Models of their own for three departments"
LONGER = "Twice the training window"
PROPOSED_ON, STARTED_ON, ASKED_ON = dt.date(2017, 12, 9), dt.date(2017, 12, 10), dt.date(2017, 12, 30)


def take_steps(retailer: Customer, day: dt.date, *, scientist: User, manager: User) -> None:
    """The steps of this day, as people would take them; done again, it changes nothing."""
    if day == PROPOSED_ON and not _known(retailer, TIERED):
        _propose_tiered(retailer, scientist)
    if day == STARTED_ON and (tiered := _known(retailer, TIERED)):
        _start(tiered, scientist=scientist, manager=manager)
    if day == ASKED_ON and not _known(retailer, LONGER):
        _propose_longer(retailer, scientist)


def _propose_tiered(retailer: Customer, scientist: User) -> None:
    experiments.propose(
        retailer,
        by=scientist,
        name=TIERED,
        hypothesis="Drugstore and general merchandise, produce and meat each sell by a calendar of their own before "
        "Christmas. A model that sees nothing else will make the error of each smaller by 3 %.",
        experiment_type=ModelExperiment.Type.SEGMENTATION,
        target_improvement_pct=3,
        plan={"segmentation": "department", "segments": list(DEPARTMENTS)},
    )


def _start(tiered: ModelExperiment, *, scientist: User, manager: User) -> None:
    if tiered.status == ModelExperiment.Status.PROPOSED:
        experiments.approve(tiered, by=manager, rationale="Small departments, so that the models are cheap to keep.")
        tiered.refresh_from_db()
    if tiered.status == ModelExperiment.Status.APPROVED or tiered.error:
        metadata = {"experiment_id": str(tiered.pk)}
        retrain_here(tiered.customer, trigger=Trigger.EXPERIMENT, trigger_metadata=metadata, by=scientist)


def _propose_longer(retailer: Customer, scientist: User) -> None:
    experiments.propose(
        retailer,
        by=scientist,
        name=LONGER,
        hypothesis="Half a year of sales shows more of each slow seller than three months: the error falls by 3 %.",
        experiment_type=ModelExperiment.Type.TRAINING_WINDOW,
        target_improvement_pct=3,
        plan={"window_days": 180},
    )


def _known(retailer: Customer, name: str) -> ModelExperiment | None:
    found = ModelExperiment.objects.select_related("customer").filter(customer=retailer, experiment_name=name)
    return found.first()
