"""An incident is opened once, closed once, and never outlives the champion that drifted."""

import datetime as dt

import pytest
from django.db import IntegrityError
from django.urls import reverse

from alerts import facts
from alerts.acting import act
from alerts.models import MLAlert
from mlops import drift_page, incidents, promotion, shadow
from mlops.audit import audit
from mlops.incidents import AlreadyClosed
from mlops.models import DriftIncident, ModelRetrainingLog, ModelVersion, ShadowTest
from mlops.review import review
from mlops.tests.drifted import NIGHT, NUMBERS, a_check, answered
from mlops.tests.ledger import a_version
from shelfops.tests.reader import Words

pytestmark = pytest.mark.django_db
Outcome, Verdict = DriftIncident.Outcome, DriftIncident.Verdict


@pytest.fixture
def champion(acme):
    acme.clock = NIGHT
    acme.save()
    return a_version(acme, "champion")


# --- Opening


def test_drift_opens_one_incident_with_its_numbers(champion):
    check = a_check(champion)
    incident = incidents.detected(check)

    assert incidents.detected(check) == incident == DriftIncident.objects.get()
    assert (incident.champion, incident.opened_on, incident.drift_pct) == (champion, NIGHT, 44.53125)
    assert incidents.evidence(incident) == {
        "baseline_mae": 12.8,
        "recent_mae": 18.5,
        "drift_pct": 44.531,
        "incident_id": incident.pk,
    }


def test_a_later_night_updates_an_open_incident(champion):
    first = incidents.detected(a_check(champion))
    later = incidents.detected(a_check(champion, NIGHT + dt.timedelta(days=3), recent_mae=20.0))

    assert later == first
    assert (later.recent_mae, later.last_seen_on) == (20.0, NIGHT + dt.timedelta(days=3))


def test_an_earlier_night_does_not_undo_the_evidence(champion):
    incidents.detected(a_check(champion))
    incident = incidents.detected(a_check(champion, NIGHT - dt.timedelta(days=1), recent_mae=99.0))

    assert (incident.recent_mae, incident.last_seen_on) == (18.5, NIGHT)


def test_segments_and_customers_have_incidents_of_their_own(champion, acme, globex):
    others = [a_version(acme, "champion", segment="department:Dairy"), a_version(globex, "champion")]
    found = {incidents.detected(a_check(one)) for one in (champion, *others)}

    assert len(found) == 3


def test_two_open_incidents_of_one_segment_are_impossible(champion):
    incident = incidents.detected(a_check(champion))
    with pytest.raises(IntegrityError):
        DriftIncident.objects.create(
            customer=incident.customer,
            segment="global",
            champion=champion,
            opened_on=NIGHT,
            last_seen_on=NIGHT,
            **NUMBERS,
        )


def test_what_a_former_champion_did_opens_nothing(champion, acme):
    check = a_check(champion)
    a_version(acme, "champion")

    assert incidents.detected(check) is None
    assert not DriftIncident.objects.exists()


# --- Answering


def test_an_incident_is_answered_once(champion, acme):
    incident = answered(champion)

    assert incidents.unanswered(acme) == []
    assert incidents.answer(incident, None, dossier={}, suggested=Verdict.REAL, failure="again") is None
    incident.refresh_from_db()
    assert (incident.challenger.version, incident.suggested_verdict, incident.dossier) == (
        "v2",
        "real",
        {"why": "Because."},
    )
    assert MLAlert.objects.get().message.endswith("What the data suggest: The model has become worse. Because.")


def test_the_page_of_its_alert_is_in_words_and_asks_no_more_once_it_is_decided(champion, alice, client_of):
    incident = answered(champion)
    alert = MLAlert.objects.get()
    address = reverse("admin:alerts_mlalert_change", args=[alert.pk])
    page = client_of(alice).get(address).content.decode()
    assert "Approve or reject it within 2 hours." in page
    link = reverse("admin:mlops_driftincident_change", args=[incident.pk])
    assert f'<a href="{link}" class="text-link">{incident.pk}</a>' in page
    assert dict(facts.facts(alert))["Suggested verdict"] == "The model has become worse"

    review(incident.challenger, "approve", by=alice, notes="steady")
    page = client_of(alice).get(address).content.decode()
    assert "Approve or reject" not in page
    assert "The emergency retrain has produced v2. What the data suggest" in page
    assert "It was approved by alice@acme.example" in page


def test_its_page_tells_each_step_and_each_night(champion, charlie, client_of):
    incident = incidents.detected(a_check(champion))
    page = client_of(charlie).get(reverse("admin:mlops_driftincident_change", args=[incident.pk])).content.decode()
    words = " | ".join(Words(page).texts)
    assert "Steps | Day | Step | By | Why | Written down" in words
    assert f"{NIGHT} | Opened | the system, by rule" in words
    assert "Nights | Night | Verdict | Recent MAE, units | Before | Change | Forecasts scored | Reason" in words
    assert f"{NIGHT} | Drift | 18.5 | 12.8 | +44.5 %" in words


def test_its_page_says_that_it_shows_the_last_nights(champion, monkeypatch):
    incident = incidents.detected(a_check(champion))
    monkeypatch.setattr(drift_page, "NIGHTS", 2)
    assert drift_page.nights(incident).title == "Nights"
    for night in (1, 2):
        incidents.detected(a_check(champion, NIGHT + dt.timedelta(days=night)))
    assert drift_page.nights(incident).title == "The last 2 nights"
    assert [row[0] for row in drift_page.nights(incident).rows] == [
        NIGHT + dt.timedelta(days=2),
        NIGHT + dt.timedelta(days=1),
    ]


def test_a_failed_answer_is_an_answer(champion, acme):
    incident = answered(champion, failure="There are 20 days and a fit needs 37.")

    assert incidents.unanswered(acme) == []
    alert = MLAlert.objects.get()
    assert (incident.status, incident.challenger, alert.version) == ("open", None, "")
    assert alert.action_url == f"/admin/mlops/driftincident/{incident.pk}/change/"
    assert "v1 still serves: There are 20 days and a fit needs 37. Remove the cause" in alert.message


def test_an_incident_without_alert_waits_for_an_answer(champion, acme, globex):
    incident = incidents.detected(a_check(champion))

    assert (incidents.unanswered(acme), incidents.unanswered(globex)) == ([incident], [])


# --- Closing


def test_approving_the_challenger_closes_it_as_replaced(champion, alice):
    incident = answered(champion)
    review(incident.challenger, "approve", by=alice, notes="seen", verdict="real")

    incident.refresh_from_db()
    assert (incident.status, incident.outcome, incident.verdict) == ("closed", "replaced", "real")
    assert (incident.closed_by, incident.closed_on) == (alice, NIGHT)
    assert MLAlert.objects.get().status == "actioned"


def test_rejecting_the_challenger_keeps_the_champion(champion, alice):
    incident = answered(champion)
    review(incident.challenger, "reject", by=alice, notes="a price change", verdict="calendar_or_level")

    incident.refresh_from_db()
    champion.refresh_from_db()
    assert (incident.outcome, incident.verdict, champion.status) == ("no_replacement", "calendar_or_level", "champion")
    assert (incident.closed_by, MLAlert.objects.get().status) == (alice, "actioned")


@pytest.mark.parametrize("failure", ["", "The disk was full."])
def test_any_other_promotion_overtakes_it_and_its_alert(champion, acme, failure):
    incident = answered(champion, failure=failure)
    winner = a_version(acme, "candidate")
    promotion.promote(winner, by=None, reason="6 % better", as_of=NIGHT)

    incident.refresh_from_db()
    alert = MLAlert.objects.get()
    assert (incident.status, incident.outcome, incident.closed_by) == ("closed", "overtaken", None)
    assert incident.reason == f"{winner} became champion: 6 % better"
    assert (alert.status, alert.decision, alert.notes) == ("dismissed", "overtaken", incident.reason)


def test_a_rollback_overtakes_it(champion, acme, bob):
    newer = a_version(acme, "champion")
    incident = answered(newer)
    promotion.roll_back(champion, by=bob, reason="the old one did better", as_of=NIGHT)

    incident.refresh_from_db()
    assert incident.outcome == "overtaken"


def test_a_promotion_in_another_segment_changes_nothing(champion, acme):
    incident = answered(champion)
    a_version(acme, "champion", segment="department:Dairy")

    incident.refresh_from_db()
    assert (incident.status, MLAlert.objects.get().status) == ("open", "unread")


def test_a_promotion_that_is_undone_leaves_the_incident_open(champion, acme, monkeypatch):
    incident = answered(champion)
    monkeypatch.setattr(incidents.acting, "overtake", lambda *_a, **_o: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        promotion.promote(a_version(acme), by=None, reason="better", as_of=NIGHT)

    incident.refresh_from_db()
    champion.refresh_from_db()
    assert (incident.status, champion.status) == ("open", "champion")


def test_it_is_closed_once(champion, bob):
    incident = answered(champion)
    incidents.close(incident, Outcome.NO_REPLACEMENT, by=bob, reason="as usual", as_of=NIGHT, verdict=Verdict.REAL)

    with pytest.raises(AlreadyClosed, match=f"was closed on {NIGHT} by {bob}: the champion stays \\(as usual\\)"):
        incidents.close(incident, Outcome.REPLACED, by=None, reason="late", as_of=NIGHT)
    with pytest.raises(AlreadyClosed):
        incidents.judge(incident, Verdict.DATA_FAULT)


def test_only_an_open_incident_waits_for_a_decision_about_its_challenger(champion, bob):
    incident = answered(champion)
    version = ModelVersion.objects.get(version="v2")

    assert incidents.of_challenger(version) == incident
    assert incidents.of_challenger(champion) is None
    incidents.close(incident, Outcome.NO_REPLACEMENT, by=bob, reason="as usual", as_of=NIGHT)
    assert incidents.of_challenger(version) is None
    assert ModelRetrainingLog.objects.get().drift_incidents.get() == incident


def test_a_dismissed_challenger_that_is_superseded_closes_it(champion, acme, alice):
    incident = answered(champion)
    act(MLAlert.objects.get(), "dismiss", by=alice, notes="later")
    shadow.start(acme, NIGHT)
    ShadowTest.objects.update(status="completed", verdict="keep", completed_on=NIGHT)
    newcomer = promotion.hold(a_version(acme), by=None, reason="by rule", as_of=NIGHT)

    incident.refresh_from_db()
    assert (incident.status, incident.outcome, incident.closed_by) == ("closed", "no_replacement", None)
    assert incident.reason == f"v2 was superseded by {newcomer}: its shadow found no case"
    assert incident.events.last().kind == "closed"
    assert audit(acme).faults == ()
    incident.challenger.events.filter(to_status="archived").update(as_of=NIGHT - dt.timedelta(days=1))
    assert "incident_without_decision" in {fault.name for fault in audit(acme).faults}
