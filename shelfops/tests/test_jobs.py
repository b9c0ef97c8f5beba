"""One run per slot, whoever asks how often; and how a run ends."""

import pytest

from shelfops import jobs
from shelfops.models import JobRun, Lease
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db
Status = JobRun.Status


@pytest.fixture
def job(monkeypatch):
    """Registers what it is given as the job “count”, for this test only."""
    monkeypatch.setattr(jobs, "_jobs", {})
    monkeypatch.setattr(jobs, "_senders", [])

    def register(work=lambda run, progress: {"n": 1}, **options):
        jobs.register("count", work, **{"resource": "shelf", **options})

    register()
    return register


def ask(customer, **options):
    return jobs.request(customer, "count", **{"slot": "2026-11-22", **options})


def test_it_does_the_work_once_and_answers_its_result(acme, job):
    run = jobs.perform(ask(acme, arguments={"tier": "production"}).pk)
    assert (run.status, run.result, run.percent, run.attempt) == (Status.COMPLETED, {"n": 1}, 100, 1)
    assert run.started_at <= run.completed_at
    assert not Lease.objects.exists()
    assert ask(acme).result == {"n": 1}
    assert jobs.perform(run.pk).attempt == 1


def test_a_refusal_is_the_error_in_its_own_words(acme, job):
    def refuse(run, progress):
        raise Refusal("Load sales first.")

    job(refuse)
    assert jobs.perform(ask(acme).pk).error == "Load sales first."
    with pytest.raises(Refusal, match=r"^Load sales first\.$"):
        jobs.run_now(acme, "count", slot="2026-11-22")


def test_a_fault_of_the_program_is_one_line_and_logged(acme, job, caplog):
    job(lambda run, progress: {}["tier"])
    run = jobs.perform(ask(acme).pk)
    assert (run.status, run.error.count("\n")) == (Status.FAILED, 0)
    assert run.error.startswith("KeyError: 'tier'.")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("result", [{"mae": float("nan")}, {"run": object()}])
def test_a_result_that_cannot_be_stored_is_a_failure(result, acme, job):
    job(lambda run, progress: result)
    assert jobs.perform(ask(acme).pk).status == Status.FAILED


def test_nothing_to_do_is_skipped_with_its_reason(acme, job):
    def skip(run, progress):
        raise jobs.Skip("There is no champion yet.")

    job(skip)
    run = jobs.run_now(acme, "count", slot="2026-11-22")
    assert (run.status, run.error) == (Status.SKIPPED, "There is no champion yet.")


@pytest.mark.parametrize("ended", [Status.FAILED, Status.SKIPPED])
def test_a_slot_that_came_to_nothing_may_be_taken_again(ended, acme, job):
    run = ask(acme)
    JobRun.objects.update(status=ended, error="no")
    assert ask(acme, again=False).status == ended
    assert ask(acme, arguments={"n": 2}).status == Status.QUEUED
    assert jobs.perform(run.pk).status == Status.COMPLETED
    assert JobRun.objects.get().arguments == {"n": 2}


def test_a_job_that_nobody_registered_is_a_mistake_of_the_caller(acme, job):
    with pytest.raises(LookupError, match="No app has registered"):
        jobs.request(acme, "cuont", slot="1")


def test_stages_are_shown_with_their_seconds(acme, job):
    seen = []

    def work(run, progress):
        progress.stage("Reading", 10)
        progress.stage("Fitting", 30)
        seen.append(list(progress.seconds))
        return {}

    job(work)
    run = jobs.perform(ask(acme).pk)
    assert [stage["stage"] for stage in run.stages] == ["Reading", "Fitting"]
    assert seen == [["Reading", "Fitting"]]
