"""A whole ledger passes; each fault that is planted is found and named."""

import datetime as dt
import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from mlops.audit import audit
from mlops.models import ModelRetrainingLog, ModelVersion, VersionEvent
from mlops.promotion import promote, roll_back
from mlops.tests.ledger import DAY, a_version
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db
LONG_AGO = dt.timedelta(hours=2)


@pytest.fixture
def ledger(acme):
    """A champion after a rollback, and one version of every other status."""
    system = {"by": None, "reason": "by rule", "as_of": DAY}
    champion = a_version(acme, "champion")
    promote(a_version(acme), **system)
    roll_back(champion, **system)
    for status in ("candidate", "challenger", "experimental"):
        a_version(acme, status)
    return champion


def found(customer):
    return [(fault.name, fault.subject) for fault in audit(customer).faults]


def a_run(customer, *, silent_for=dt.timedelta(0), status="running"):
    now = timezone.now()
    return JobRun.objects.create(
        customer=customer,
        job="retrain",
        slot=f"s{JobRun.objects.count()}",
        status=status,
        heartbeat_at=now - silent_for,
    )


def a_retraining(customer, *, run=None, started=LONG_AGO, status="running"):
    made = ModelRetrainingLog.objects.create(
        customer=customer, trigger_type="scheduled", as_of=DAY, status=status, job_run=run
    )
    ModelRetrainingLog.objects.filter(pk=made.pk).update(started_at=timezone.now() - started)
    return made


def test_a_whole_ledger_has_no_fault(acme, ledger):
    a_retraining(acme, run=a_run(acme))
    a_retraining(acme, run=a_run(acme, silent_for=LONG_AGO, status="completed"), status="completed")
    result = audit(acme)
    assert result.faults == ()
    assert {name: number for name, number in result.checked.items() if number} == {
        "versions": 5, "champions": 1, "events": 12, "retrainings": 2, "runs": 2, "routing rules": 3,
    }  # fmt: skip


def test_a_champion_without_its_files_is_named(acme, ledger):
    shutil.rmtree(Path(settings.ARTEFACT_DIR, ledger.artefact))
    assert found(acme) == [("champion_artefact", "v1")]
    assert "roll back to a former champion at once" in audit(acme).faults[0].advice


def test_changed_files_are_named(acme, ledger):
    other = ModelVersion.objects.get(customer=acme, version="v3")
    Path(settings.ARTEFACT_DIR, other.artefact, "model.json").write_bytes(b"{1}")
    assert found(acme) == [("artefact", "v3")]


def test_a_hash_that_was_changed_is_named(acme, ledger):
    ModelVersion.objects.filter(pk=ledger.pk).update(artefact_sha256="0" * 64)
    assert found(acme) == [("champion_artefact", "v1")]


def test_two_champions_of_one_segment_are_named(acme, ledger):
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX one_champion_per_segment")
    rival = a_version(acme, "challenger")
    ModelVersion.objects.filter(pk=rival.pk).update(status="champion")
    VersionEvent.objects.create(
        version=rival, from_status="challenger", to_status="champion", reason="sleight of hand", as_of=DAY
    )
    assert found(acme) == [("rival_champions", "demand_forecast global"), ("champion_without_rule", "v6")]


def test_a_status_that_no_event_explains_is_named(acme, ledger):
    ModelVersion.objects.filter(version="v4").update(status="archived")
    assert found(acme) == [("status_without_event", "v4")]
    assert audit(acme).faults[0].message == "It is archived, but its last event made it challenger."


def test_a_version_without_events_is_named(acme, ledger):
    VersionEvent.objects.filter(version__version="v3").delete()
    assert found(acme) == [("no_events", "v3")]


def test_a_missing_first_event_is_named(acme, ledger):
    VersionEvent.objects.filter(version__version="v4", from_status="").delete()
    assert found(acme) == [("broken_chain", "v4")]
    assert "starts from candidate, not nothing" in audit(acme).faults[0].message


def test_a_gap_in_the_chain_is_named(acme, ledger):
    VersionEvent.objects.filter(version=ledger, to_status="archived").delete()
    assert found(acme) == [("broken_chain", "v1")]


def test_a_run_without_a_sign_of_life_is_named(acme, ledger):
    run = a_run(acme, silent_for=LONG_AGO)
    assert found(acme) == [("silent_run", f"run {run.pk} (retrain s0)")]


def test_a_retraining_that_nobody_works_on_is_named(acme, ledger):
    left = [a_retraining(acme), a_retraining(acme, run=a_run(acme, status="failed"))]
    assert [name for name, _ in found(acme)] == ["retraining_left_open"] * 2
    assert {subject.split()[1] for _, subject in found(acme)} == {str(one.pk) for one in left}


def test_a_retraining_that_has_just_begun_is_no_fault(acme, ledger):
    a_retraining(acme, started=dt.timedelta(seconds=5))
    assert found(acme) == []


def test_another_customers_faults_are_not_told(acme, ledger, globex):
    shutil.rmtree(Path(settings.ARTEFACT_DIR, a_version(globex, "champion").artefact))
    a_run(globex, silent_for=LONG_AGO)
    a_retraining(globex)
    assert found(acme) == []
    assert [name for name, _ in found(globex)] == ["champion_artefact", "silent_run", "retraining_left_open"]


def test_the_command_counts_what_it_looked_at(acme, ledger):
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert out.getvalue() == (
        "Checked at acme: 5 versions, 1 champions, 12 events, 0 retrainings, 0 runs, 0 alerts, 0 reviews, "
        "0 incidents, 3 routing rules, 0 forecast runs, 0 forecasts. Faults: 0.\n"
    )


def test_the_command_lists_each_fault_and_fails(acme, ledger):
    a_run(acme, silent_for=LONG_AGO)
    ModelVersion.objects.filter(version="v4").update(status="archived")
    out = StringIO()
    with pytest.raises(CommandError, match=r"The audit found 2 faults\.") as caught:
        call_command("verify_audit", "--json", stdout=out)
    assert caught.value.returncode == 1
    assert [fault["name"] for fault in json.loads(out.getvalue())["faults"]] == ["status_without_event", "silent_run"]
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", stdout=out)
    assert "status_without_event: v4. It is archived, but its last event made it challenger." in out.getvalue()
