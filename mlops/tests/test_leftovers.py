"""What a retrain that died has left among the artefacts is removed; what serves, or is being written, never is."""

import datetime as dt
import os
from pathlib import Path

import pytest
from django.utils import timezone

from mlops import registry
from mlops.models import ModelRetrainingLog
from mlops.tests.ledger import a_version

pytestmark = pytest.mark.django_db
NOW = timezone.now()
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def store(settings, tmp_path: Path) -> Path:
    settings.ARTEFACT_DIR = tmp_path
    return tmp_path


@pytest.fixture
def died(acme) -> ModelRetrainingLog:
    """A retrain that was at work from ten to five minutes ago."""
    return a_retrain(acme, "failed", completed_at=NOW - 5 * MINUTE)


def a_retrain(customer, status, **values) -> ModelRetrainingLog:
    log = ModelRetrainingLog.objects.create(customer=customer, trigger_type="scheduled", as_of=NOW.date())
    ModelRetrainingLog.objects.filter(pk=log.pk).update(status=status, started_at=NOW - 10 * MINUTE, **values)
    return log


def a_folder(store, customer, name, *, minutes_ago) -> Path:
    folder = store / str(customer.pk) / name
    folder.mkdir(parents=True)
    (folder / "model.ubj").write_bytes(b"half of it")
    written = (NOW - minutes_ago * MINUTE).timestamp()
    os.utime(folder, (written, written))
    return folder


@pytest.mark.parametrize("name", [".writing-x7f", "9c0ffee"])
def test_what_was_written_while_a_retrain_was_at_work_that_died_is_removed(name, store, acme, died):
    left = a_folder(store, acme, name, minutes_ago=7)
    assert registry.discard_leftovers(acme) == [f"{acme.pk}/{name}"]
    assert not left.exists()
    assert registry.discard_leftovers(acme) == []


@pytest.mark.parametrize("minutes_ago", [0, 12])
def test_what_was_written_at_any_other_time_stays(minutes_ago, store, acme, died):
    other = a_folder(store, acme, ".writing-x7f", minutes_ago=minutes_ago)
    assert registry.discard_leftovers(acme) == []
    assert other.exists()


@pytest.mark.parametrize("status", ["running", "completed"])
def test_what_a_retrain_writes_that_did_not_fail_stays(status, store, acme):
    a_retrain(acme, status, completed_at=None if status == "running" else NOW - 5 * MINUTE)
    a_folder(store, acme, "9c0ffee", minutes_ago=7)
    assert registry.discard_leftovers(acme) == []


def test_what_a_version_refers_to_stays_whenever_it_was_written(store, acme, died):
    version = a_version(acme)
    folder = store / version.artefact
    written = (NOW - 7 * MINUTE).timestamp()
    os.utime(folder, (written, written))
    assert registry.discard_leftovers(acme) == []
    assert registry.files_of(version)


def test_another_customers_files_stay(store, acme, globex, died):
    a_folder(store, globex, "9c0ffee", minutes_ago=7)
    assert registry.discard_leftovers(acme) == registry.discard_leftovers(globex) == []
