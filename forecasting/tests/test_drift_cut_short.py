"""Whatever goes wrong in the answer to drift: people are told, and what a crash cut short is taken up."""

import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from alerts.models import MLAlert
from forecasting import dossier, drift
from forecasting.drift import detect_here
from forecasting.tests.emergencies import served_so_far, tonight, trained_by_nobody
from forecasting.tests.served_days import (
    AS_OF,
    BASELINE_DAYS,
    BASELINE_MAE,
    RECENT_DAYS,
    RECENT_MAE,
    day,
    serve,
    windows,
)
from mlops import incidents, promotion
from mlops.models import (
    DriftCheck,
    DriftIncident,
    ModelRetrainingLog,
)
from mlops.tests.ledger import a_version
from shelfops.heartbeat import Lost
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db
DRIFTED = windows(RECENT_MAE, BASELINE_MAE)
DAYS = [day(back) for back in range(RECENT_DAYS + BASELINE_DAYS)]


@pytest.fixture
def champion(acme):
    return served_so_far(acme)


@pytest.fixture
def trained(monkeypatch):
    """The emergency retrains that were asked for."""
    return trained_by_nobody(monkeypatch)


# --- When the retrain fails


def test_a_failed_emergency_retrain_still_alerts_and_leads_to_its_run(champion, acme):
    serve(champion, off=DRIFTED)
    run = detect_here(acme)

    incident, alert, log = DriftIncident.objects.get(), MLAlert.objects.get(), ModelRetrainingLog.objects.get()
    assert (run.status, log.status, log.job_run) == ("completed", "failed", run)
    assert (incident.status, incident.challenger, incident.retraining) == ("open", None, log)
    assert (alert.action_url, alert.version, alert.metadata["new_version"]) == (f"/runs/{run.pk}", "", "")
    assert "There is no new version, and v1 still serves: " in alert.message
    detect_here(acme)
    assert (ModelRetrainingLog.objects.count(), MLAlert.objects.count()) == (1, 1)


def test_a_refusal_is_told_in_its_own_words(champion, acme, monkeypatch):
    def refuse(*_args, **_options):
        raise Refusal("There are 20 days of sales and a fit needs 37.")

    monkeypatch.setattr(drift, "retrain", refuse)
    serve(champion, off=DRIFTED)
    tonight(acme)

    assert "v1 still serves: There are 20 days of sales and a fit needs 37." in MLAlert.objects.get().message


def test_a_run_that_was_given_up_for_dead_tells_nobody(champion, acme, monkeypatch):
    def lost(*_args, **_options):
        raise Lost

    monkeypatch.setattr(drift, "retrain", lost)
    serve(champion, off=DRIFTED)
    with pytest.raises(Lost):
        tonight(acme)
    assert not MLAlert.objects.exists()


# --- Crashes


class Killed(BaseException):
    """As by a signal."""


STEPS = {
    "before the retrain": (drift, "respond"),
    "in the retrain": (drift, "retrain"),
    "after the retrain": (dossier, "of_incident"),
    "before the alert": (incidents, "raise_alert"),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_a_crash_cut_short_is_taken_up_by_the_next_night(champion, acme, trained, monkeypatch, step):
    serve(champion, off=DRIFTED, days=[day(-1), *DAYS])

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(*STEPS[step], die)
        with pytest.raises(Killed):
            tonight(acme)
    assert DriftIncident.objects.get().challenger is None
    assert not MLAlert.objects.exists()
    tonight(acme, AS_OF + dt.timedelta(days=1))

    incident = DriftIncident.objects.get()
    assert (incident.challenger.version, MLAlert.objects.get().version) == ("v2", "v2")
    assert len(trained) == 1


def test_a_retrain_whose_worker_keeps_dying_is_told_after_the_second(champion, acme, trained, monkeypatch):
    serve(champion, off=DRIFTED)

    def die(customer, order, **_):
        log = ModelRetrainingLog.objects.create(
            customer=customer, trigger_type=order.trigger, trigger_metadata=dict(order.metadata), as_of=AS_OF
        )
        ModelRetrainingLog.objects.filter(pk=log.pk).update(status="failed")
        raise Killed

    monkeypatch.setattr(drift, "retrain", die)
    for _ in range(2):
        with pytest.raises(Killed):
            tonight(acme)
    tonight(acme)

    assert "It was tried 2 times, and each time the worker died." in MLAlert.objects.get().message


def test_an_incident_that_a_promotion_overtook_meanwhile_tells_nobody(champion, acme, trained, monkeypatch):
    serve(champion, off=DRIFTED)
    compile_dossier = dossier.of_incident

    def meanwhile(incident):
        promotion.promote(a_version(acme, "challenger"), by=None, reason="better in shadow", as_of=AS_OF)
        return compile_dossier(incident)

    monkeypatch.setattr(dossier, "of_incident", meanwhile)
    tonight(acme)

    incident = DriftIncident.objects.get()
    assert (incident.status, incident.outcome, incident.challenger.version) == ("closed", "overtaken", "v2")
    assert not MLAlert.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_processes_at_once_answer_once(champion, acme, trained, monkeypatch, settings):
    settings.JOB_LEASE_SECONDS = 2
    serve(champion, off=DRIFTED)
    quick = drift.retrain

    def slow(*args, **options):
        time.sleep(0.5)
        return quick(*args, **options)

    monkeypatch.setattr(drift, "retrain", slow)

    def one(_number):
        try:
            return detect_here(acme).result["segments"][0]["new_version"]
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(2))) == ["v2", "v2"]
    assert (len(trained), MLAlert.objects.count(), DriftCheck.objects.count()) == (1, 1, 1)
