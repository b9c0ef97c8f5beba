"""Drift is found on what served, answered once, and what a crash cut short is taken up."""

import datetime as dt
import json
import time
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from alerts import acting
from alerts.models import MLAlert
from forecasting import dossier, drift
from forecasting.drift import detect_drift, detect_here
from forecasting.models import Forecast, ForecastRun, Product, Series, Store
from forecasting.tests.served_days import (
    AS_OF,
    BASELINE_DAYS,
    BASELINE_MAE,
    LAST,
    RECENT_DAYS,
    RECENT_MAE,
    a_champion,
    day,
    serve,
    stock,
    windows,
)
from mlops import incidents, promotion
from mlops.models import DriftCheck, DriftIncident, ModelPolicy, ModelRetrainingLog, ModelVersion
from mlops.tests.ledger import a_version
from shelfops.heartbeat import Lost
from shelfops.models import JobRun
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db
DRIFTED = windows(RECENT_MAE, BASELINE_MAE)
BEGUN_LATER = day(3)
DAYS = [day(back) for back in range(RECENT_DAYS + BASELINE_DAYS)]


@pytest.fixture
def champion(acme):
    acme.clock = AS_OF
    acme.save()
    return a_champion(acme)


@pytest.fixture
def trained(monkeypatch):
    """Emergency retrains that are logged and registered as ever, but trained by nobody."""
    asked = []

    def quick(customer, order, *, job_run=None, **_):
        asked.append(order)
        log = ModelRetrainingLog.objects.create(
            customer=customer,
            trigger_type=order.trigger,
            trigger_metadata=dict(order.metadata),
            as_of=order.as_of,
            job_run=job_run,
        )
        version = a_version(customer, "challenger", as_of=order.as_of, segment=order.segments[0])
        ModelVersion.objects.filter(pk=version.pk).update(run=log)
        ModelRetrainingLog.objects.filter(pk=log.pk).update(status="completed", version_produced=version.version)
        return ModelRetrainingLog.objects.get(pk=log.pk)

    monkeypatch.setattr(drift, "retrain", quick)
    return asked


def tonight(customer, as_of=AS_OF):
    return detect_drift(customer, as_of)[0]


# --- What is measured


def test_a_night_with_drift_opens_an_incident_trains_and_tells_people(champion, acme, trained):
    run = JobRun.objects.create(customer=acme, job="detect_drift", slot="1")
    serve(champion, off=DRIFTED)
    check = detect_drift(acme, AS_OF, job_run=run)[0]

    incident, alert = DriftIncident.objects.get(), MLAlert.objects.get()
    assert (check.verdict, check.incident, check.champion) == ("drift", incident, champion)
    assert (incident.status, incident.opened_on, incident.challenger.version) == ("open", AS_OF, "v2")
    assert incident.retraining.job_run == run
    assert trained[0].metadata == {
        "baseline_mae": 12.8,
        "recent_mae": 18.5,
        "drift_pct": 44.531,
        "incident_id": incident.pk,
    }
    assert alert.metadata == {
        "baseline_mae": 12.8,
        "recent_mae": 18.5,
        "drift_pct": 44.531,
        "new_version": "v2",
        "champion": "v1",
        "incident": incident.pk,
        "suggested_verdict": "real",
    }


def test_the_alert_is_critical_due_in_two_hours_and_leads_to_the_review(champion, acme, trained):
    serve(champion, off=DRIFTED)
    tonight(acme)

    alert = MLAlert.objects.get()
    assert (alert.alert_type, alert.severity, alert.requires_action) == ("drift_detected", "critical", True)
    assert (alert.title, alert.action_url) == ("Model drift detected: MAE 45 % worse", "/models/review/v2")
    assert abs(alert.due_at - timezone.now() - dt.timedelta(hours=2)) < dt.timedelta(minutes=1)
    assert "The emergency retrain has produced v2. Approve or reject it within 2 hours." in alert.message
    assert "None" not in alert.message


def test_a_night_without_drift_leaves_a_check_and_nothing_else(champion, acme):
    serve(champion)
    check = tonight(acme)

    assert (check.verdict, check.recent_rows, check.baseline_rows) == ("stable", 7 * 80, 30 * 80)
    assert (check.first_day, check.last_day) == (day(36), LAST)
    assert not DriftIncident.objects.exists()
    assert not MLAlert.objects.exists()


def test_the_rows_count_whichever_version_made_them(champion, acme, trained):
    serve(champion, off=BASELINE_MAE, days=DAYS[7:])
    newer = a_version(acme, "champion", as_of=day(8))
    serve(newer, off=RECENT_MAE, days=DAYS[:7])

    check = tonight(acme)
    assert (check.verdict, check.champion, round(check.drift_pct, 1)) == ("drift", newer, 44.5)


def test_only_what_served_and_is_known_counts(champion, acme, globex):
    serve(champion)
    lead, unknown, unpublished = (
        [(Store.objects.first(), Product.objects.create(customer=acme, code=code))] for code in "XYZ"
    )
    serve(champion, off=1000, keys=lead, lead=2)
    serve(champion, off=1000, keys=unknown, feed=dict.fromkeys(DAYS, "missing"))
    serve(champion, off=1000, keys=unpublished)
    ForecastRun.objects.filter(forecasts__product=unpublished[0][1]).update(status="writing")
    serve(a_champion(globex), off=1000)

    check = tonight(acme)
    assert (check.recent_mae, check.recent_rows) == (pytest.approx(12.8), 7 * 80)


def test_a_day_that_the_version_was_trained_on_is_not_scored(champion, acme):
    serve(champion, off=windows(RECENT_MAE, BASELINE_MAE))
    ModelVersion.objects.update(train_end=day(3))

    check = tonight(acme)
    assert (check.verdict, check.recent_days, check.baseline_days) == ("insufficient_data", 3, 0)


def test_a_holiday_week_raises_nothing(champion, acme):
    acme.country = "US"
    acme.save()
    as_of = dt.date(2026, 7, 7)  # Independence Day was a Saturday, and observed on the Friday
    holidays = (dt.date(2026, 7, 3), dt.date(2026, 7, 4))
    days = [as_of - dt.timedelta(days=back) for back in range(1, 38)]
    serve(champion, off=lambda date: 60.0 if date in holidays else BASELINE_MAE, days=days)

    check = tonight(acme, as_of)
    assert (check.verdict, check.recent_days) == ("stable", 5)
    assert check.recent_mae == pytest.approx(BASELINE_MAE)


def test_a_gap_in_the_feed_is_named_and_trains_nothing(champion, acme):
    serve(champion, off=DRIFTED, feed={day(1): "missing", day(2): "missing"})

    check = tonight(acme)
    assert (check.verdict, check.incident) == ("insufficient_data", None)
    assert f"Feed gap: sales are not in for {day(2)}, {day(1)}." in check.reason


def test_days_on_which_all_stores_were_closed_leave_the_windows(champion, acme):
    serve(champion, feed={day(1): "closed", day(2): "closed", day(12): "closed"})

    check = tonight(acme)
    assert (check.verdict, check.recent_days, check.baseline_days) == ("stable", 5, 29)


def test_a_store_that_opened_lately_makes_no_gap_of_the_days_before(champion, acme):
    old, new = stock(acme, stores=1, products=80), Store.objects.create(customer=acme, code="new")
    serve(champion, keys=old)
    Store.objects.get(pk=new.pk).feed_days.filter(date__lt=day(3)).delete()

    assert tonight(acme).baseline_days == 30


def test_halved_demand_is_not_drift_by_mae(champion, acme):
    serve(champion, off=windows(BASELINE_MAE / 2, BASELINE_MAE), level=windows(20, 40))

    check = tonight(acme)
    assert check.verdict == "stable"
    assert check.drift_pct == pytest.approx(-50)


def test_without_a_champion_there_is_nothing_to_check(acme):
    assert detect_drift(acme, AS_OF) == []


def test_with_one_champion_one_statement_reads_the_forecasts(champion, acme):
    serve(champion)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        tonight(acme)

    assert sum('FROM "forecasts"' in query["sql"] for query in queries) == 1


# --- Segments


def test_a_segments_champion_is_checked_on_its_rows_and_global_on_the_rest(champion, acme, trained):
    serve(champion)
    grocery = a_version(acme, "champion", segment="department:Grocery", as_of=BEGUN_LATER)
    Forecast.objects.filter(department="Grocery", date__gt=day(7)).update(prediction=1000)

    whole, groceries = detect_drift(acme, AS_OF)
    assert (whole.segment, whole.verdict, whole.recent_rows) == ("global", "stable", 7 * 40)
    assert (groceries.champion, groceries.recent_rows) == (grocery, 7 * 40)
    assert whole.recent_mae == pytest.approx(BASELINE_MAE)


def test_a_segment_drifts_on_its_second_night_and_people_are_told(champion, acme, trained):
    a_version(acme, "champion", segment="department:Grocery", as_of=BEGUN_LATER)
    serve(champion, days=[day(-1), *DAYS], off=lambda date: BASELINE_MAE + (6 if date > day(7) else 0))
    Forecast.objects.filter(department="Electronics").update(prediction=30)

    assert [check.verdict for check in detect_drift(acme, AS_OF)] == ["stable", "stable"]
    second = detect_drift(acme, AS_OF + dt.timedelta(days=1))[1]

    assert (second.segment, second.verdict) == ("department:Grocery", "drift")
    alert = MLAlert.objects.get()
    assert alert.title == "Model drift detected in department Grocery: MAE 45 % worse"
    assert (alert.version, alert.segment) == ("v3_grocery", "department:Grocery")
    assert [order.segments for order in trained] == [("department:Grocery",)]


@pytest.mark.parametrize(
    ("segment", "rows"), [("store_cluster:Urban", 40), ("lifecycle:new", 4), ("department:Home", 8)]
)
def test_each_kind_of_segment_gets_the_series_that_routing_gives_it(champion, acme, segment, rows):
    keys = stock(acme)
    Store.objects.filter(code="S0").update(cluster="Urban")
    Product.objects.filter(code__in=["P0", "P1", "P2", "P3"]).update(department="Home")
    newest = Series.objects.filter(product__code__in=["P4", "P5"])
    newest.update(first_sold=AS_OF - dt.timedelta(days=29))
    serve(champion, keys=keys)
    a_version(acme, "champion", segment=segment, as_of=BEGUN_LATER)

    whole, part = detect_drift(acme, AS_OF)
    assert (part.segment, part.recent_rows, whole.recent_rows) == (segment, 7 * rows, 7 * (80 - rows))


# --- Once, and only once


def test_the_same_night_twice_changes_nothing_and_trains_nothing(champion, acme, trained):
    serve(champion, off=DRIFTED)
    first = tonight(acme)
    Forecast.objects.update(prediction=0)
    before = list(DriftIncident.objects.values())

    assert tonight(acme) == first
    assert list(DriftIncident.objects.values()) == before
    assert (len(trained), MLAlert.objects.count(), DriftCheck.objects.count()) == (1, 1, 1)


def test_the_next_night_updates_the_evidence_and_trains_nothing(champion, acme, trained):
    serve(champion, off=DRIFTED, days=[day(-1), *DAYS])
    tonight(acme)
    check = tonight(acme, AS_OF + dt.timedelta(days=1))

    incident = DriftIncident.objects.get()
    assert (check.incident, incident.opened_on) == (incident, AS_OF)
    assert incident.last_seen_on == AS_OF + dt.timedelta(days=1)
    assert incident.baseline_mae == check.baseline_mae > BASELINE_MAE
    assert (len(trained), MLAlert.objects.count()) == (1, 1)


def test_an_alert_that_was_dismissed_is_not_raised_again(champion, acme, alice, trained):
    serve(champion, off=DRIFTED)
    tonight(acme)
    acting.act(MLAlert.objects.get(), "dismiss", by=alice, notes="known")
    DriftIncident.objects.update(challenger=None)
    tonight(acme)

    assert (len(trained), MLAlert.objects.count()) == (1, 1)


@pytest.mark.parametrize(("days_later", "trains"), [(6, 1), (7, 2)])
def test_after_an_incident_nothing_is_trained_for_a_week(champion, acme, bob, trained, days_later, trains):
    later = AS_OF + dt.timedelta(days=days_later)
    serve(champion, off=DRIFTED, days=[day(-n) for n in range(1, days_later + 1)] + DAYS)
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"drift_baseline_days": 10})
    tonight(acme)
    incident = DriftIncident.objects.get()
    incidents.close(incident, DriftIncident.Outcome.NO_REPLACEMENT, by=bob, reason="as usual", as_of=AS_OF)
    Forecast.objects.filter(date__gt=LAST).update(prediction=200)
    check = tonight(acme, later)

    assert (check.verdict, len(trained)) == ("drift", trains)
    incident.refresh_from_db()
    assert (check.incident == incident) is (trains == 1)
    assert incident.last_seen_on == (later if trains == 1 else AS_OF)


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
@pytest.mark.parametrize("nights_later", [0, 1])
def test_what_a_crash_cut_short_is_taken_up(champion, acme, trained, monkeypatch, step, nights_later):
    serve(champion, off=DRIFTED, days=[day(-1), *DAYS])

    def die(*_args, **_options):
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(*STEPS[step], die)
        with pytest.raises(Killed):
            tonight(acme)
    assert DriftIncident.objects.get().challenger is None
    assert not MLAlert.objects.exists()
    tonight(acme, AS_OF + dt.timedelta(days=nights_later))

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


# --- The command


def command(*arguments):
    out = StringIO()
    call_command("detect_drift", "--customer", "acme", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_verdict_and_what_came_of_it(champion, acme, trained):
    serve(champion, off=DRIFTED)
    text = command("--as-of", str(AS_OF))

    assert "all products (v1): Drift. MAE 18.5 over the last 7 days against 12.8" in text
    assert "open; the emergency retrain produced v2" in text


def test_the_command_reports_as_json(champion, acme, trained):
    serve(champion, off=DRIFTED)
    report = json.loads(command("--json"))["segments"][0]

    assert (report["verdict"], report["suggested_verdict"], report["new_version"]) == ("drift", "real", "v2")
    assert round(report["drift_pct"], 1) == 44.5


def test_the_command_says_when_there_is_nothing_to_check_and_refuses_the_future(acme):
    assert "There is no champion yet" in command()
    with pytest.raises(CommandError, match="has not come yet"):
        command("--as-of", "2999-01-01")


# --- The pages


def test_an_incidents_page_shows_the_dossier_to_people(champion, acme, trained, bob, client_of):
    serve(champion, off=DRIFTED)
    incident = tonight(acme).incident
    page = client_of(bob).get(reverse("admin:mlops_driftincident_change", args=[incident.pk])).content.decode()

    for text in ("What the data suggest", "The model has become worse.", "Departments that carry it", "+44.5 %"):
        assert text in page
    assert "without_suspects_pct" not in page
    assert "&#x27;mae&#x27;" not in page
    listing = client_of(bob).get(reverse("admin:mlops_driftcheck_changelist")).content.decode()
    assert "v1 drifted by 45 %" in listing
