"""Drift is found on what served, on the rows of each segment, and answered once."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import acting
from alerts.models import MLAlert
from forecasting import scoring
from forecasting.drift import detect_drift
from forecasting.models import Forecast, ForecastRun, Product, Series, Store
from forecasting.tests.emergencies import served_so_far, tonight, trained_by_nobody
from forecasting.tests.served_days import (
    AS_OF,
    BASELINE_DAYS,
    BASELINE_MAE,
    BEGUN,
    LAST,
    LEVEL,
    RECENT_DAYS,
    RECENT_MAE,
    a_champion,
    day,
    serve,
    stock,
    windows,
)
from mlops import incidents
from mlops.models import (
    BacktestResult,
    DegradationCheck,
    DriftCheck,
    DriftIncident,
    ModelPolicy,
    ModelVersion,
)
from mlops.tests.ledger import a_version
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db
DRIFTED = windows(RECENT_MAE, BASELINE_MAE)
BEGUN_LATER = day(3)
DAYS = [day(back) for back in range(RECENT_DAYS + BASELINE_DAYS)]


@pytest.fixture
def champion(acme):
    return served_so_far(acme)


@pytest.fixture
def trained(monkeypatch):
    """The emergency retrains that were asked for."""
    return trained_by_nobody(monkeypatch)


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


def test_halved_demand_is_caught_by_degradation_in_the_nights_scoring(champion, acme):
    usual = 0.1 * LEVEL
    BacktestResult.objects.create(
        customer=acme, version=champion, kind="holdout", origin=BEGUN, first_day=BEGUN, day=day(40), lead_band="1",
        n=100, units=100 * LEVEL, mae=usual, wape=0.1,
    )  # fmt: skip
    serve(champion, level=windows(LEVEL / 2, LEVEL), off=windows(0.8 * usual, usual))
    ModelVersion.objects.update(champion_since=BEGUN)
    Forecast.objects.update(actual=None)

    found = scoring.score(acme, AS_OF)

    night = tonight(acme)
    assert (night.verdict, night.drift_pct) == ("stable", pytest.approx(-20, abs=0.1))
    check = DegradationCheck.objects.get()
    assert (check.degraded, check.increase_pct) == (True, pytest.approx(60, abs=5))
    assert found.alerts == ["v1 forecasts worse than in its hold-out"]
    assert scoring.score(acme, AS_OF).alerts == []


def test_without_a_champion_there_is_nothing_to_check(acme):
    assert detect_drift(acme, AS_OF) == []


def test_with_one_champion_one_statement_reads_the_forecasts(champion, acme):
    serve(champion)
    with CaptureQueriesContext(connection) as queries:
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
