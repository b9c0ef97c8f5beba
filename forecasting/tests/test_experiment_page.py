"""The page of an experiment: what it tells, whom it lets take which step, and what it refuses."""

import datetime as dt
import re

import pytest
from django.urls import reverse
from django.utils import timezone

from forecasting.models import Product
from mlops import experiments, promotion
from mlops.models import ExperimentEvent, ModelExperiment, ModelPolicy, ModelVersion, ShadowTest
from mlops.tests.ledger import DAY, a_version
from mlops.tests.trials import ELECTRONICS, GROCERY, approved, in_shadow, proposed, shown
from shelfops.models import JobRun, Membership, Role, User

pytestmark = pytest.mark.django_db
LATER = DAY + dt.timedelta(days=14)
WHY = "High variability."
QUERIES = 21
BUTTONS = {
    "approve": "Approve the experiment</button>",
    "reject": "Reject the proposal</button>",
    "start": "Start the training</button>",
    "cancel": "Cancel the experiment</button>",
    "complete": "Adopt nothing</button>",
    "rollback": "Roll the experiment back</button>",
}


@pytest.fixture(autouse=True)
def champion(acme):
    acme.clock, acme.timezone = LATER, "Europe/Berlin"
    acme.save()
    return a_version(acme, "champion")


@pytest.fixture
def proposal(acme, alice):
    return proposed(acme, alice)


@pytest.fixture
def trial(acme, alice, bob):
    """In shadow: Electronics 22 % better on 14 days, Grocery 2 %."""
    trial = in_shadow(acme, alice, bob)
    shown(trial, 22, 2)
    ShadowTest.objects.update(days=14, samples=560)
    return trial


@pytest.fixture
def carol(acme):
    """A second manager."""
    user = User.objects.create_user("carol@acme.example", "x")
    Membership.objects.create(user=user, customer=acme, role=Role.ML_MANAGER)
    return user


def path(experiment):
    return reverse("experiment", args=[experiment.pk])


def read(client_of, person, experiment):
    """What the page itself says; above it stand alerts with buttons of their own."""
    page = " ".join(client_of(person).get(path(experiment)).content.decode().split())
    return page[page.index("<main") :]


def take(client_of, person, experiment, step, **told):
    form = {"step": step, "rationale": WHY, "state": experiment.status, **told}
    return client_of(person).post(path(experiment), form)


def buttons(page):
    return {step for step, text in BUTTONS.items() if text in page}


def state():
    statuses = sorted(ModelExperiment.objects.values_list("pk", "status"))
    return statuses, sorted(ModelVersion.objects.values_list("version", "status")), ExperimentEvent.objects.count()


# --- What it tells


def test_it_tells_what_is_supposed_planned_and_waited_for(acme, alice, bob, client_of):
    Product.objects.create(customer=acme, code="p1", department="Electronics")
    plan = {"segmentation": "department", "segments": [ELECTRONICS], "window_days": 120, "params": {"max_leaves": 63}}
    Product.objects.create(customer=acme, code="tv", department="Electronics")
    page = read(client_of, bob, proposed(acme, alice, plan=plan, target_improvement_pct=12))
    for text in [
        "It waits for a manager other than alice@acme.example to approve or reject it.",
        "Electronics differ.",
        "falls by 12 % or more. alice@acme.example proposed it.",
        "<dt>Segments</dt><dd>department Electronics</dd>",
        "<dt>Training window</dt><dd>120 days</dd>",
        "<dt>Most leaves of a tree</dt><dd>63</dd>",
        "Nobody has decided about the proposal yet.",
    ]:
        assert text in page


def test_the_timeline_says_who_when_and_why_in_the_customers_zone(trial, charlie, client_of):
    ExperimentEvent.objects.update(created_at=dt.datetime(2026, 3, 16, 9, 30, tzinfo=dt.UTC))
    page = read(client_of, charlie, trial)
    timeline = page[page.index("What has happened") :]
    assert "Times are those of Europe/Berlin." in timeline
    assert timeline.count("2026-03-16 10:30 CET</time>") == 4
    steps = ["Proposed</span> by alice@", "Approved</span> by bob@", "In progress</span> by alice@", "by the system"]
    assert [timeline.index(step) for step in steps] == sorted(timeline.index(step) for step in steps)
    assert WHY in timeline


def test_results_stand_by_segment_with_interval_and_recommendation(trial, alice, client_of):
    page = read(client_of, alice, trial)
    for text in [
        "Adopt it in some segments: Only some segments reach the target of 5 %: department Electronics by 22.0 %.",
        "<td>+22.0 %</td><td>+22.0 to +22.0 %</td><td>reached</td><td>560</td><td>14</td>",
        "All together</th>",
        "<td>not reached</td>",
        "MAE in units per product and day",
        "v2_electronics: 14 of 14 days and 560 forecasts are scored, since 2026-03-02.",
        "Its shadow days are in: it waits for somebody other than bob@acme.example to decide.",
    ]:
        assert text in page


def test_each_version_is_drawn_by_day_with_the_numbers_below(trial, alice, client_of):
    page = read(client_of, alice, trial)
    assert page.count("<canvas") == page.count("The same numbers as a table") == 2
    table = page[page.index("v2_electronics in shadow, day by day") :]
    [day] = re.findall(r'<th scope="row">2026-03-02</th><td>([\d.]+)</td><td>([\d.]+)</td><td>([\d.]+)</td>', table)[:1]
    own, served, naive = map(float, day)
    assert own / served == pytest.approx(0.78, abs=0.01)
    assert naive / served == pytest.approx(2, abs=0.01)


def test_measured_latency_stands_beside_that_of_who_served(trial, alice, client_of):
    ShadowTest.objects.update(result={"latency_ms_per_1000": {"champion": 1.5, "challenger": 2.25}})
    assert "<td>2.25 ms, 1.50 ms</td>" in read(client_of, alice, trial)


def test_results_of_top_products_say_that_they_cover_no_others(acme, alice, bob, client_of):
    proposal = proposed(acme, alice, experiment_type="feature_engineering")
    allowed = experiments.approve(proposal, by=bob, rationale="rate limits", conditions={"top_products": 500})
    started = experiments.begin(allowed, by=alice)
    version = a_version(acme, "experimental", parent=ModelVersion.objects.champion_for(acme))
    ModelVersion.objects.filter(pk=version.pk).update(products=[f"P{number}" for number in range(500)])
    shown(experiments.trained(started, [version]), 12)
    page = read(client_of, alice, started)
    assert "These results hold for the 500 products that sell most. They say nothing about the others." in page
    assert "It was approved on conditions: products: only the 500 that sell most." in page
    assert "It has learnt from 500 products alone, and would forecast the others there untried." in page
    assert "Adopt the ticked segments" not in page  # one version serves all: there is nothing to tick


def test_unfinished_shadow_days_are_counted(trial, alice, client_of):
    ShadowTest.objects.filter(version__segment=GROCERY).update(days=5)
    assert "5 of 14 shadow days are scored, and it is decided when all are in." in read(client_of, alice, trial)


def test_a_failed_training_shows_its_error(acme, alice, bob, client_of):
    experiment = experiments.begin(approved(acme, alice, bob), by=alice)
    experiments.failed(experiment, "no sales in the window")
    page = read(client_of, alice, experiment)
    assert "<strong>The training failed:</strong> no sales in the window" in page
    assert "put right what the error names, then start it again" in page


@pytest.mark.parametrize("word", ["None", "_improvement", "department:", "shadow_testing", "{", "nan"])
def test_it_is_read_by_people(word, trial, alice, bob, client_of):
    experiments.complete(trial, by=alice, decision="partial_adopt", rationale="a", segments=[ELECTRONICS])
    page = read(client_of, bob, trial)
    text = re.sub(r"<script.*?</script>", "", page)  # the numbers of the charts
    for hidden in ('name="csrfmiddlewaretoken"', 'value="completed"'):
        text = text.replace(hidden, "")
    assert word not in text


def test_it_needs_no_script_and_every_field_has_a_label(trial, alice, client_of):
    answer = client_of(alice).get(path(trial))
    page = answer.content.decode()
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert not re.findall(r"<script(?! src=| id=\"shadow-\d+\" type=\"application/json\")", page)  # those draw charts
    for name in ("complete-rationale", "cancel-rationale"):
        assert f'<label for="{name}">' in page
        assert page.count(f'id="{name}"') == 1


# --- Who may take which step


@pytest.mark.parametrize(
    ("who", "expected"),
    [("alice", {"cancel"}), ("bob", {"approve", "reject", "cancel"}), ("charlie", set()), ("root", {*BUTTONS} - {
        "start", "complete", "rollback",
    })],
)  # fmt: skip
def test_a_proposal_offers_each_what_they_may(proposal, who, expected, client_of, request):
    page = read(client_of, request.getfixturevalue(who), proposal)
    assert buttons(page) == expected
    assert ("You may not approve or reject proposals. Who may: ML manager." in page) is ("approve" not in expected)


@pytest.mark.parametrize(
    ("who", "expected"), [("alice", {"complete", "cancel"}), ("bob", {"cancel"}), ("charlie", set())]
)
def test_a_trial_offers_each_what_they_may(trial, who, expected, client_of, request):
    page = read(client_of, request.getfixturevalue(who), trial)
    assert buttons(page) == expected
    assert ("You approved it, so another person has to complete it" in page) is (who == "bob")


def test_four_eyes_are_told_to_the_proposer(acme, bob, client_of):
    own = proposed(acme, bob)
    page = read(client_of, bob, own)
    assert "You proposed it, so another manager has to approve it" in page
    assert buttons(page) == {"reject", "cancel"}
    before = state()
    answer = take(client_of, bob, own, "approve")
    assert (answer.status_code, state()) == (403, before)
    assert "another manager has to approve it" in answer.content.decode()


def test_a_one_person_team_is_offered_both(acme, bob, client_of):
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"allow_self_approval": True})
    own = proposed(acme, bob)
    assert "approve" in buttons(read(client_of, bob, own))
    take(client_of, bob, own, "approve")
    assert "their own proposal, as the policy allows" in read(client_of, bob, own)


@pytest.mark.parametrize("step", [*BUTTONS])
def test_who_has_no_right_is_refused(trial, charlie, mallory, client_of, step):
    before = state()
    assert take(client_of, charlie, trial, step).status_code == 403
    assert take(client_of, mallory, trial, step).status_code == 404
    assert client_of(None).post(path(trial), {"step": step})["Location"].startswith("/admin/login/")
    assert state() == before


def test_a_stranger_finds_nothing(trial, mallory, client_of):
    assert client_of(mallory).get(path(trial)).status_code == 404
    assert client_of(None).get(path(trial))["Location"].startswith("/admin/login/")


def test_looking_changes_nothing_and_a_post_needs_the_token(proposal, bob, client_of):
    before = state()
    client_of(bob).get(path(proposal), {"step": "approve", "rationale": WHY})
    assert client_of(bob).put(path(proposal)).status_code == 405
    assert client_of(bob, enforce_csrf_checks=True).post(path(proposal), {"step": "approve"}).status_code == 403
    assert take(client_of, bob, proposal, "promote").status_code == 400
    assert state() == before


# --- Taking steps


def test_approving_keeps_reason_and_conditions(proposal, bob, alice, client_of):
    answer = take(client_of, bob, proposal, "approve", top_products="500", note="Mind the latency.")
    assert answer["Location"] == path(proposal)
    proposal.refresh_from_db()
    assert (proposal.status, proposal.approved_by, proposal.rationale) == ("approved", bob, WHY)
    assert proposal.conditions == {"top_products": 500, "note": "Mind the latency."}
    page = read(client_of, alice, proposal)
    assert "<dt>Products</dt><dd>only the 500 that sell most</dd>" in page
    assert "<dt>Note</dt><dd>Mind the latency.</dd>" in page


@pytest.mark.parametrize(("step", "status"), [("reject", "rejected"), ("cancel", "cancelled")])
def test_what_is_ended_says_why_and_has_no_buttons(proposal, bob, client_of, step, status):
    take(client_of, bob, proposal, step, rationale="too dear")
    proposal.refresh_from_db()
    assert proposal.status == status
    page = read(client_of, bob, proposal)
    label = ModelExperiment.Status(status).label
    assert f"<h2>{label} by bob@acme.example on" in page
    assert "<blockquote>Too dear</blockquote>" in page
    assert "<form" not in page


def test_the_ticked_segments_are_adopted(trial, alice, bob, client_of):
    page = read(client_of, alice, trial)
    ticked = re.findall(r'value="([^"]+)"[^>]* checked', page)
    assert ticked == [ELECTRONICS]  # as recommended
    assert "v2_electronics forecasts department Electronics from now on, in place of v1." in page
    told = {"decision": "partial_adopt", "segments": [ELECTRONICS], "beside": "v2_electronics=v1,v3_grocery=v1"}
    assert take(client_of, alice, trial, "complete", **told).status_code == 302
    trial.refresh_from_db()
    assert (trial.status, trial.decision, trial.completed_by) == ("completed", "partial_adopt", alice)
    assert dict(trial.versions.values_list("segment", "status")) == {ELECTRONICS: "champion", GROCERY: "archived"}
    page = read(client_of, alice, trial)
    assert "Adopt in some segments: decided by alice@acme.example on" in page
    assert buttons(page) == set()
    assert buttons(read(client_of, bob, trial)) == {"rollback"}


PLAN = {"window_days": 120}


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_starting_queues_its_training_and_leads_to_the_run(acme, alice, bob, who, client_of, request):
    experiment = approved(acme, alice, bob, plan=PLAN)
    person = request.getfixturevalue(who)
    assert buttons(read(client_of, person, experiment)) == {"start", "cancel"}
    assert take(client_of, person, experiment, "start").status_code == 302
    experiment.refresh_from_db()
    assert experiment.status == "in_progress"
    page = read(client_of, person, experiment)
    assert buttons(page) == {"cancel"}
    assert f'<a href="/runs/{JobRun.objects.get().pk}">The run of its training</a>: queued' in page
    assert "as soon as that is done, its versions forecast in shadow" in page
    assert path(experiment) in client_of(person).get(JobRun.objects.get().get_absolute_url()).content.decode()


def test_a_failed_training_is_started_again(acme, alice, bob, client_of):
    experiment = approved(acme, alice, bob, plan=PLAN)
    take(client_of, alice, experiment, "start")
    JobRun.objects.update(status="failed", error="no sales in the window", completed_at=timezone.now())
    experiments.failed(experiment, "no sales in the window")
    page = read(client_of, alice, experiment)
    assert "Start again</button>" in page
    assert ">The run of its training</a>: failed" in page
    experiment.refresh_from_db()
    assert take(client_of, alice, experiment, "start", state="in_progress, failed").status_code == 302
    experiment.refresh_from_db()
    assert (experiment.error, JobRun.objects.get().status) == ("", "queued")
    assert "Started again</span> by alice@acme.example" in read(client_of, alice, experiment)


def test_a_plan_that_trains_nothing_says_so_at_the_start(acme, alice, bob, client_of):
    experiment = approved(acme, alice, bob)
    before = state()
    answer = take(client_of, alice, experiment, "start")
    assert (answer.status_code, state()) == (409, before)
    assert "says nothing to train" in answer.content.decode()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"decision": "partial_adopt"}, "Tick the segments to adopt."),
        ({"decision": "adopt", "rationale": " "}, "Say why: it is kept with the experiment."),
        ({}, "Choose what to adopt."),
    ],
)
def test_an_incomplete_form_says_what_is_missing_beside_the_field(trial, alice, client_of, told, said):
    before = state()
    answer = take(client_of, alice, trial, "complete", **told)
    assert (answer.status_code, state()) == (200, before)
    assert '<p class="wrong"' in answer.content.decode()
    assert said in answer.content.decode()


def test_a_rollback_says_what_it_does_and_does_it(trial, alice, bob, acme, client_of):
    experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    trial.refresh_from_db()
    assert "v2_electronics, or who followed it, stops serving department Electronics" in read(client_of, bob, trial)
    assert take(client_of, bob, trial, "rollback").status_code == 302
    trial.refresh_from_db()
    assert trial.status == "rolled_back"
    assert list(ModelVersion.objects.champions().values_list("version", flat=True)) == ["v1"]
    assert "<form" not in read(client_of, bob, trial)


# --- Two people at once


def test_a_rollback_of_what_another_has_followed_is_asked_again(trial, alice, bob, acme, client_of):
    experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    trial.refresh_from_db()
    assert 'name="serving" value="v2_electronics, v3_grocery"' in read(client_of, bob, trial)
    follower = a_version(acme, "challenger", segment=GROCERY)
    promotion.promote(follower, by=alice, reason="better still", as_of=acme.today())
    before = state()
    answer = take(client_of, bob, trial, "rollback", serving="v2_electronics, v3_grocery")
    assert (answer.status_code, state()) == (409, before)
    assert follower.version in answer.content.decode()
    serving = f"v2_electronics, {follower.version}"
    assert f'name="serving" value="{serving}"' in answer.content.decode()
    assert take(client_of, bob, trial, "rollback", serving=serving).status_code == 302


@pytest.mark.parametrize("step", ["approve", "reject", "cancel"])
def test_a_stale_form_is_told_who_did_what(proposal, bob, carol, client_of, step):
    experiments.approve(ModelExperiment.objects.get(), by=carol, rationale="worth a try")
    before = state()
    answer = take(client_of, bob, proposal, step, rationale="my long thoughts")
    page = answer.content.decode()
    assert (answer.status_code, state()) == (409, before)
    assert "it is approved since 2026-03-16 by carol@acme.example (worth a try)" in page
    assert ("my long thoughts" in page) is (step == "cancel")  # the form that is still there keeps what was typed


def test_who_completes_second_is_told_who_was_first(trial, alice, carol, client_of):
    experiments.complete(trial, by=carol, decision="reject", rationale="too little")
    answer = take(client_of, alice, trial, "complete", decision="adopt")
    assert answer.status_code == 409
    assert "by carol@acme.example (reject: too little)" in answer.content.decode()


def test_the_same_completion_again_answers_alike(trial, alice, client_of):
    for _ in range(2):
        assert take(client_of, alice, trial, "complete", decision="reject").status_code == 302
    assert trial.events.filter(to_status="completed").count() == 1


def test_a_champion_promoted_in_the_middle_stops_the_adoption(acme, trial, alice, client_of):
    a_version(acme, "champion")
    assert "When v2_electronics was trained, v1 served beside it; now v4 does." in read(client_of, alice, trial)
    told = {"decision": "adopt", "beside": "v2_electronics=v1,v3_grocery=v1"}
    before = state()
    answer = take(client_of, alice, trial, "complete", **told)
    assert (answer.status_code, state()) == (409, before)
    assert "v4 is champion" in answer.content.decode()
    assert 'value="v2_electronics=v4,v3_grocery=v4"' in answer.content.decode()
    assert (
        take(client_of, alice, trial, "complete", **{**told, "beside": "v2_electronics=v4,v3_grocery=v4"}).status_code
        == 302
    )


# --- The ways there


def test_the_list_leads_to_the_page(proposal, charlie, client_of):
    client = client_of(charlie)
    for page in [
        reverse("admin:mlops_modelexperiment_changelist"),
        reverse("admin:mlops_modelexperiment_change", args=[proposal.pk]),
    ]:
        assert f'href="{path(proposal)}"' in client.get(page).content.decode()
    found = client.get(reverse("admin:mlops_modelexperiment_changelist") + "?q=Electronics&status=proposed")
    assert "Department tiers" in found.content.decode()


@pytest.mark.parametrize("segments", [2, 5])
def test_it_asks_the_database_once_more_for_each_version(
    acme, alice, bob, segments, client_of, django_assert_num_queries
):
    names = tuple(f"department:D{number}" for number in range(segments))
    trial = in_shadow(acme, alice, bob, segments=names)
    shown(trial, *[5.0] * segments, days=6)
    client = client_of(alice)
    client.get(path(trial))
    with django_assert_num_queries(QUERIES + segments):
        client.get(path(trial))
