"""Workers have ready what pages would take long to work out."""

import pytest

from mlops.models import KeptAnswer
from shelfops import tasks
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db


def test_a_worker_prepares_when_its_run_is_done(acme):
    run = JobRun.objects.create(
        customer=acme, job="score", slot="x", status="queued", arguments={"as_of": "2026-03-02"}
    )
    tasks.perform_run(run.pk)
    assert set(KeptAnswer.objects.values_list("name", flat=True)) == {"advice", "clusters"}


def test_told_twice_a_worker_leaves_that_to_who_is_at_work(acme):
    run = JobRun.objects.create(customer=acme, job="score", slot="x", status="running")
    tasks.perform_run(run.pk)
    assert not KeptAnswer.objects.exists()


def test_what_no_run_has_changed_is_prepared_from_time_to_time(acme, globex):
    tasks.prepare_pages()
    assert KeptAnswer.objects.filter(customer=globex).count() == 2
