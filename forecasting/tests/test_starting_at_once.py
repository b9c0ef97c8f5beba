"""Two people start one experiment at the same moment: it is begun once, and one run trains it."""

from functools import partial

import pytest

from forecasting import experiment_runs
from mlops import experiments
from mlops.models import ModelExperiment
from mlops.tests.ledger import a_version
from mlops.tests.races import at_once
from mlops.tests.trials import approved
from shelfops.models import JobRun
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def experiment(acme, alice, bob):
    a_version(acme, "champion")
    return approved(acme, alice, bob, plan={"tier": "cold_start"})


def _events(experiment):
    return list(experiment.events.order_by("pk").values_list("to_status", "reason"))


def test_of_two_who_start_one_begins_it_and_the_other_is_told(acme, experiment, alice, bob):
    told = at_once(lambda who: experiment_runs.start(acme, experiment, who), [alice, bob])

    [run] = [one for one in told if isinstance(one, JobRun)]
    [refused] = [one for one in told if isinstance(one, Refusal)]
    assert str(run.requested_by) in str(refused)
    assert JobRun.objects.filter(job="retrain").count() == 1
    assert [to for to, _ in _events(experiment)].count("in_progress") == 1


def test_a_start_and_a_cancellation_leave_no_run_for_a_cancelled_experiment(acme, experiment, alice, bob):
    start = partial(experiment_runs.start, acme, experiment, alice)
    cancel = partial(experiments.cancel, experiment, by=bob, rationale="no longer needed")
    at_once(lambda work: work(), [start, cancel])

    experiment.refresh_from_db()
    begun = [to for to, _ in _events(experiment)].count("in_progress")
    assert experiment.status == ModelExperiment.Status.CANCELLED
    assert JobRun.objects.filter(job="retrain").count() == begun
