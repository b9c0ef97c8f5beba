"""Where the emergency retrain brought nothing, a person has it done again or closes the incident with a note."""

import datetime as dt

import pytest
from django.urls import reverse

from alerts import acting
from alerts.acting import NotesRequired
from alerts.models import MLAlert
from mlops import incidents, promotion, unreplaced
from mlops.audit import audit
from mlops.incidents import AlreadyClosed
from mlops.models import DriftIncident, ModelVersion
from mlops.tests.drifted import NIGHT, a_check, answered
from mlops.tests.ledger import a_version
from mlops.tests.races import at_once
from mlops.unreplaced import NotUnreplaced
from shelfops.models import JobRun
from shelfops.tenancy import NotAllowed

pytestmark = pytest.mark.django_db
NOTES = "two days were loaded twice, and are put right"
WHY = "the missing days are in"


@pytest.fixture
def champion(acme):
    acme.clock = NIGHT
    acme.save()
    return a_version(acme, "champion")


@pytest.fixture
def failed(champion):
    """An incident of whose failed retrain people were told."""
    return shown(answered(champion, "There are 20 days of sales and a fit needs 37."))


def shown(incident):
    """Its page has no dossier to draw."""
    incident.dossier = {}
    incident.save()
    return incident


def events(incident):
    return [(event.kind, str(event.by or "system")) for event in incident.events.all()]


def again(incident):
    return DriftIncident.objects.select_related("customer", "champion", "challenger").get(pk=incident.pk)


# --- Closing it


def test_a_note_closes_the_incident_and_its_alert_and_the_champion_stays(failed, champion, alice):
    closed = unreplaced.close(failed, by=alice, notes=f" {NOTES} ", verdict=DriftIncident.Verdict.DATA_FAULT)
    alert = MLAlert.objects.get()
    assert (closed.status, closed.outcome, closed.closed_by, closed.closed_on) == (
        "closed", "no_replacement", alice, NIGHT,
    )  # fmt: skip
    assert (closed.reason, closed.verdict) == (NOTES, "data_fault")
    assert (alert.status, alert.decision, alert.dismissed_by, alert.notes) == ("dismissed", "dismissed", alice, NOTES)
    assert events(closed) == [("opened", "system"), ("failed", "system"), ("closed", "alice@acme.example")]
    assert ModelVersion.objects.champion_for(champion.customer) == champion
    assert audit(champion.customer).faults == ()


def test_an_alert_that_was_dismissed_before_stays_as_it_was(failed, alice, bob):
    acting.act(MLAlert.objects.get(), "dismiss", by=bob, notes="seen")
    unreplaced.close(failed, by=alice, notes=NOTES)
    assert (MLAlert.objects.get().dismissed_by, again(failed).closed_by) == (bob, alice)


def test_closing_it_again_answers_the_same(failed, alice, bob):
    unreplaced.close(failed, by=alice, notes=NOTES)
    assert unreplaced.close(failed, by=bob, notes="me too").closed_by == alice
    assert failed.events.filter(kind="closed").count() == 1


def test_after_it_nothing_is_trained_until_the_cooldown_is_over(failed, champion, alice):
    unreplaced.close(failed, by=alice, notes=NOTES)
    assert incidents.detected(a_check(champion, NIGHT + dt.timedelta(days=1))) == failed


# --- Having it trained again


def test_asking_again_queues_one_run_with_who_and_why(failed, alice, bob):
    run = unreplaced.train_again(failed, by=alice, reason=WHY)
    assert (run.job, run.status, run.requested_by, run.arguments["reason"]) == (
        "emergency_retrain", "queued", alice, WHY,
    )  # fmt: skip
    assert unreplaced.train_again(failed, by=bob, reason="me too") == run
    assert events(failed)[2:] == [("asked_again", "alice@acme.example")]
    assert (again(failed).status, MLAlert.objects.get().is_open) == ("open", True)


def test_a_run_that_died_can_be_asked_for_again(failed, alice, bob):
    run = unreplaced.train_again(failed, by=alice, reason=WHY)
    JobRun.objects.filter(pk=run.pk).update(status="failed")
    assert (unreplaced.train_again(failed, by=bob, reason=WHY).pk, run.customer.job_runs.count()) == (run.pk, 1)


@pytest.mark.django_db(transaction=True)
def test_of_many_who_ask_at_once_all_get_one_run(failed, alice, bob):
    runs = at_once(lambda by: unreplaced.train_again(failed, by=by, reason=WHY), [alice, bob] * 3)
    assert {run.pk for run in runs} == {JobRun.objects.get().pk}
    assert failed.events.filter(kind="asked_again").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_close_at_once_one_does(failed, alice, bob):
    closed = at_once(lambda by: unreplaced.close(failed, by=by, notes=f"by {by}"), [alice, bob] * 3)
    assert {one.closed_by for one in closed} == {again(failed).closed_by}
    assert failed.events.filter(kind="closed").count() == 1


# --- What is refused


def closing(incident, by, text=NOTES):
    return unreplaced.close(incident, by=by, notes=text)


def training(incident, by, text=WHY):
    return unreplaced.train_again(incident, by=by, reason=text)


DOORS = [closing, training]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["charlie", "mallory"])
def test_retail_operations_and_strangers_may_not(door, name, failed, request):
    with pytest.raises(NotAllowed, match="Who may"):
        door(failed, request.getfixturevalue(name))
    assert (again(failed).status, JobRun.objects.count()) == ("open", 0)


@pytest.mark.parametrize("door", DOORS)
def test_a_reason_is_asked_for(door, failed, alice):
    with pytest.raises(NotesRequired, match="Say why it is"):
        door(failed, alice, "  ")


@pytest.mark.parametrize("door", DOORS)
def test_a_challenger_is_reviewed_instead(door, champion, alice):
    with pytest.raises(NotUnreplaced, match="v2 was trained for it and awaits a review: approve or reject that"):
        door(answered(champion), alice)


@pytest.mark.parametrize("door", DOORS)
def test_while_the_first_retrain_is_at_work_there_is_nothing_to_decide(door, champion, alice):
    with pytest.raises(NotUnreplaced, match="has not ended yet"):
        door(incidents.detected(a_check(champion)), alice)


@pytest.mark.parametrize("door", DOORS)
def test_a_promotion_that_came_in_between_is_named(door, failed, alice, acme):
    promotion.promote(a_version(acme, "challenger"), by=None, reason="better by 6 %", as_of=NIGHT)
    with pytest.raises(NotUnreplaced, match=f"was closed on {NIGHT} by the system: overtaken by another promotion"):
        door(failed, alice)


def test_who_asks_for_a_retrain_of_what_was_closed_is_told_by_whom(failed, alice, bob):
    unreplaced.close(failed, by=alice, notes=NOTES)
    with pytest.raises(NotUnreplaced, match=r"closed on .* by alice@acme\.example: the champion stays \(two days"):
        unreplaced.train_again(failed, by=bob, reason=WHY)
    with pytest.raises(AlreadyClosed):
        incidents.close(failed, DriftIncident.Outcome.REPLACED, by=bob, reason="no", as_of=NIGHT)


# --- Through the admin and the API


def page(incident, name="change"):
    return reverse(f"admin:mlops_driftincident_{name}", args=[incident.pk])


@pytest.mark.parametrize(("name", "offered"), [("alice", True), ("bob", True), ("charlie", False)])
def test_the_pages_of_the_incident_and_its_alert_offer_both_to_those_who_may(name, offered, failed, request, client_of):
    browser = client_of(request.getfixturevalue(name))
    for url in (page(failed), reverse("admin:alerts_mlalert_change", args=[MLAlert.objects.get().pk])):
        html = browser.get(url).content.decode()
        assert (page(failed, "retrain") in html, page(failed, "close") in html) == (offered, offered)
        assert "None" not in html


def test_an_incident_with_a_challenger_offers_neither(champion, alice, client_of):
    incident = shown(answered(champion))
    assert page(incident, "close") not in client_of(alice).get(page(incident)).content.decode()


def test_the_admins_form_closes_it(failed, alice, client_of):
    browser = client_of(alice)
    assert "v1</strong> still serves" in browser.get(page(failed, "close")).content.decode()
    assert browser.post(page(failed, "close"), {"notes": "", "verdict": "real"}).status_code == 200
    browser.post(page(failed, "close"), {"notes": NOTES, "verdict": "data_fault"})
    assert (again(failed).reason, again(failed).verdict) == (NOTES, "data_fault")
    html = browser.get(page(failed)).content.decode()
    assert "Emergency retrain failed" in html
    assert f"the champion stays: {NOTES}" in html


def test_the_admins_form_asks_for_the_retrain_and_leads_to_its_run(failed, alice, client_of):
    answer = client_of(alice).post(page(failed, "retrain"), {"reason": WHY})
    run = JobRun.objects.get()
    assert answer["Location"] == run.get_absolute_url()
    assert "Emergency retrain" in client_of(alice).get(answer["Location"]).content.decode()


def test_a_form_that_comes_too_late_says_who_was_first(failed, alice, bob, client_of):
    unreplaced.close(failed, by=alice, notes=NOTES)
    answer = client_of(bob).post(page(failed, "retrain"), {"reason": WHY}, follow=True)
    assert "by alice@acme.example: the champion stays" in answer.content.decode()
    assert not JobRun.objects.exists()


@pytest.mark.parametrize("door", ["retrain", "close"])
@pytest.mark.parametrize(("name", "status"), [("charlie", 403), ("mallory", 404)])
def test_the_admins_doors_are_shut_for_others(door, name, status, failed, request, client_of):
    assert client_of(request.getfixturevalue(name)).post(page(failed, door)).status_code == status


def test_the_api_closes_it_and_tells_what_is_left(failed, alice, bob, client_of):
    at, browser = f"/api/v1/drift/incidents/{failed.pk}", client_of(alice)
    assert browser.get(at).json()["allowed_actions"] == ["retrain", "close"]
    told = browser.post(f"{at}/close", {"notes": NOTES, "verdict": "data_fault"}, "application/json").json()
    assert (told["status"], told["closed_by"], told["allowed_actions"]) == ("closed", "alice@acme.example", [])
    assert [event["kind"] for event in told["events"]] == ["opened", "failed", "closed"]
    late = client_of(bob).post(f"{at}/retrain", {"reason": WHY}, "application/json")
    assert (late.status_code, late.json()["allowed"]) == (409, [])
    assert "by alice@acme.example" in late.json()["detail"]


def test_the_api_asks_for_the_retrain(failed, alice, client_of):
    at = f"/api/v1/drift/incidents/{failed.pk}/retrain"
    answer = client_of(alice).post(at, {"reason": WHY}, "application/json")
    run = JobRun.objects.get()
    assert (answer.status_code, answer.json()["retrain_id"], answer.json()["page"]) == (
        202, run.pk, run.get_absolute_url(),
    )  # fmt: skip
    assert client_of(alice).post(at, {}, "application/json").status_code == 400
