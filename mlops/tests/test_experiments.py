import datetime as dt
import itertools

import pytest
from django.db import IntegrityError, transaction

from alerts.models import MLAlert
from mlops import experiments, promotion, routing
from mlops.experiment_results import results_of
from mlops.experiments import ALLOWED, BadProposal, FourEyes, NothingAdopted, Status, WrongStep
from mlops.models import ExperimentEvent, ModelExperiment, ModelPolicy, ModelVersion, RoutingRule
from mlops.promotion import StaleChampion
from mlops.tests.ledger import DAY, a_version
from mlops.tests.trials import ELECTRONICS, GROCERY, approved, in_shadow, proposed, shown
from shelfops.tenancy import NotAllowed

pytestmark = pytest.mark.django_db
LATER = DAY + dt.timedelta(days=14)


@pytest.fixture(autouse=True)
def clock(acme):
    acme.clock = LATER
    acme.save()


@pytest.fixture
def champion(acme):
    return a_version(acme, "champion")


@pytest.fixture
def trial(acme, alice, bob, champion):
    """In shadow, with a version for Electronics and one for Grocery."""
    return in_shadow(acme, alice, bob)


def version_of(experiment, segment):
    return experiment.versions.get(segment=segment)


def serving(customer):
    return {rule.segment: rule.version.version for rule in RoutingRule.objects.filter(customer=customer).open()}


STEPS = {
    "approve": lambda one, alice, bob: experiments.approve(one, by=bob, rationale="why"),
    "reject": lambda one, alice, bob: experiments.reject(one, by=bob, rationale="why"),
    "begin": lambda one, alice, bob: experiments.begin(one, by=alice),
    "trained": lambda one, alice, bob: experiments.trained(one, []),
    "cancel": lambda one, alice, bob: experiments.cancel(one, by=alice, rationale="why"),
    "complete": lambda one, alice, bob: experiments.complete(one, by=alice, decision="reject", rationale="why"),
    "roll_back": lambda one, alice, bob: experiments.roll_back(one, by=bob, rationale="why"),
}
LEADS_TO = {
    "approve": Status.APPROVED,
    "reject": Status.REJECTED,
    "begin": Status.IN_PROGRESS,
    "trained": Status.SHADOW_TESTING,
    "cancel": Status.CANCELLED,
    "complete": Status.COMPLETED,
    "roll_back": Status.ROLLED_BACK,
}


def put_into(experiment, status, bob):
    """Past the rules: only to stand somewhere."""
    ModelExperiment.objects.filter(pk=experiment.pk).update(
        status=status, approved_by=bob, approved_at=experiment.created_at, decision="adopt", decision_rationale="why",
        completed_at=experiment.created_at,
    )  # fmt: skip
    experiment.refresh_from_db()
    return experiment


@pytest.mark.parametrize(("status", "step"), list(itertools.product(Status, STEPS)))
def test_only_the_allowed_steps_are_taken(acme, alice, bob, status, step):
    experiment = put_into(proposed(acme, alice), status, bob)
    if LEADS_TO[step] in ALLOWED[status]:
        if step == "roll_back":  # nothing was adopted
            with pytest.raises(NothingAdopted):
                STEPS[step](experiment, alice, bob)
        else:
            assert STEPS[step](experiment, alice, bob).status == LEADS_TO[step]
        return
    with pytest.raises(WrongStep, match=r"cannot (be|go)") as refused:
        STEPS[step](experiment, alice, bob)
    assert refused.value.allowed == sorted(ALLOWED[status])
    experiment.refresh_from_db()
    assert experiment.status == status


def test_every_step_leaves_an_event(trial, alice):
    experiments.complete(trial, by=alice, decision="reject", rationale="no benefit")
    events = [(event.from_status, event.to_status, event.by and event.by.email) for event in trial.events.all()]
    assert events == [
        ("", "proposed", "alice@acme.example"),
        ("proposed", "approved", "bob@acme.example"),
        ("approved", "in_progress", "alice@acme.example"),
        ("in_progress", "shadow_testing", None),
        ("shadow_testing", "completed", "alice@acme.example"),
    ]
    assert ExperimentEvent.objects.get(to_status="completed").reason == "reject: no benefit"


# --- Who may


@pytest.mark.parametrize("who", ["charlie", "mallory"])
def test_neither_retail_operations_nor_strangers_take_a_step(acme, alice, bob, request, who):
    person = request.getfixturevalue(who)
    with pytest.raises(NotAllowed):
        proposed(acme, person)
    experiment = proposed(acme, alice)
    for step in ("approve", "reject", "begin", "cancel", "complete", "roll_back"):
        with pytest.raises(NotAllowed, match="You may not"):
            STEPS[step](experiment, person, person)


@pytest.mark.parametrize("step", ["approve", "reject", "roll_back"])
def test_a_data_scientist_decides_no_proposal_and_rolls_nothing_back(acme, alice, step):
    with pytest.raises(NotAllowed, match="ML manager"):
        STEPS[step](proposed(acme, alice), alice, alice)


def test_nobody_approves_their_own_proposal(acme, bob):
    with pytest.raises(FourEyes, match="another manager has to approve it"):
        experiments.approve(proposed(acme, bob), by=bob, rationale="sure")


def test_a_one_person_team_may_and_it_is_recorded(acme, bob):
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"allow_self_approval": True})
    assert experiments.approve(proposed(acme, bob), by=bob, rationale="sure").self_approved


def test_who_approved_it_does_not_complete_it(trial, bob):
    with pytest.raises(FourEyes, match="another person has to complete it"):
        experiments.complete(trial, by=bob, decision="reject", rationale="why")


# --- What is asked


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": " "}, "name and a hypothesis"),
        ({"hypothesis": ""}, "name and a hypothesis"),
        ({"experiment_type": "magic"}, "is no type"),
        ({"target_improvement_pct": 0}, "between 0 and 100"),
    ],
)
def test_a_proposal_that_says_too_little_is_refused(acme, alice, changes, why):
    with pytest.raises(BadProposal, match=why):
        proposed(acme, alice, **changes)


@pytest.mark.parametrize("step", ["approve", "reject", "cancel"])
def test_every_decision_needs_a_reason(acme, alice, bob, step):
    decide = getattr(experiments, step)
    with pytest.raises(BadProposal, match="Say why it is"):
        decide(proposed(acme, alice), by=bob, rationale="  ")


def test_a_rejected_proposal_names_no_approver(acme, alice, bob):
    rejected = experiments.reject(proposed(acme, alice), by=bob, rationale="too dear")
    assert (rejected.status, rejected.rationale, rejected.approved_by, rejected.approved_at) == (
        "rejected", "too dear", None, None,
    )  # fmt: skip


def test_the_database_runs_nothing_that_nobody_approved(acme, alice):
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelExperiment.objects.filter(pk=proposed(acme, alice).pk).update(status="in_progress")


# --- Training


def test_a_failed_training_can_be_started_again(acme, alice, bob):
    experiment = experiments.begin(approved(acme, alice, bob), by=alice)
    with pytest.raises(WrongStep):
        experiments.begin(experiment, by=alice)

    failed = experiments.failed(experiment, "no sales in the window")

    assert (failed.status, failed.error) == ("in_progress", "no sales in the window")
    assert experiments.begin(failed, by=alice).error == ""
    assert [event.reason for event in failed.events.all()][-2:] == [
        "training failed: no sales in the window", "started again",
    ]  # fmt: skip


def test_what_was_trained_knows_its_experiment(trial, champion):
    names = [version.version for version in trial.versions.order_by("pk")]
    assert trial.experimental_version == ", ".join(names)
    assert trial.baseline_version == champion.version


def test_cancelling_archives_what_was_trained(trial, alice):
    cancelled = experiments.cancel(trial, by=alice, rationale="superseded")
    assert set(cancelled.versions.values_list("status", flat=True)) == {"archived"}


# --- Completion


def test_adopting_makes_each_version_champion_of_its_segment(acme, trial, alice, champion):
    done = experiments.complete(trial, by=alice, decision="adopt", rationale="better everywhere")
    electronics, grocery = version_of(trial, ELECTRONICS), version_of(trial, GROCERY)
    assert {electronics.status, grocery.status} == {"champion"}
    assert serving(acme) == {
        "global": champion.version, ELECTRONICS: electronics.version, GROCERY: grocery.version,
    }  # fmt: skip
    assert RoutingRule.objects.get(segment=ELECTRONICS).experiment == trial
    assert (done.status, done.completed_by, done.decision) == ("completed", alice, "adopt")


def test_adopting_a_global_version_archives_the_former_champion(acme, alice, bob, champion):
    trial = in_shadow(acme, alice, bob, segments=("global",))
    experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    champion.refresh_from_db()
    assert champion.status == "archived"
    assert serving(acme) == {"global": trial.experimental_version}


@pytest.mark.parametrize("name", ["Electronics", ELECTRONICS])
def test_adopting_in_part_archives_the_rest(acme, trial, alice, champion, name):
    experiments.complete(trial, by=alice, decision="partial_adopt", rationale="22 % there", segments=[name])
    electronics = version_of(trial, ELECTRONICS)
    assert (electronics.status, version_of(trial, GROCERY).status) == ("champion", "archived")
    assert serving(acme) == {"global": champion.version, ELECTRONICS: electronics.version}


@pytest.mark.parametrize(
    ("decision", "segments", "why"),
    [
        ("partial_adopt", None, "none is named and none reaches its target"),
        ("partial_adopt", ["Toys"], r"unknown: Toys.*department:Electronics, department:Grocery"),
        ("adopt", ["Electronics"], "decide partial_adopt"),
        ("maybe", None, "is no decision"),
    ],
)
def test_segments_have_to_fit_the_decision(trial, alice, decision, segments, why):
    with pytest.raises(BadProposal, match=why):
        experiments.complete(trial, by=alice, decision=decision, rationale="why", segments=segments)


def test_what_has_no_version_cannot_be_adopted_and_can_be_rejected(trial, alice):
    trial.versions.update(experiment=None)
    for decision in ("adopt", "partial_adopt"):
        with pytest.raises(WrongStep, match="cannot be adopted, because no version of it is there") as refusal:
            experiments.complete(trial, by=alice, decision=decision, rationale="better")
        assert refusal.value.allowed == ["cancelled", "completed"]
    assert experiments.complete(trial, by=alice, decision="reject", rationale="nothing to take").adopted == []


def test_rejecting_archives_all(acme, trial, alice, champion):
    experiments.complete(trial, by=alice, decision="reject", rationale="no benefit")
    assert set(trial.versions.values_list("status", flat=True)) == {"archived"}
    assert serving(acme) == {"global": champion.version}


def test_the_same_decision_again_answers_the_same(trial, alice, root):
    once = experiments.complete(trial, by=alice, decision="partial_adopt", rationale="a", segments=["Grocery"])
    again = experiments.complete(trial, by=root, decision="partial_adopt", rationale="b", segments=[GROCERY])
    assert (again.completed_by, again.completed_at, again.events.count()) == (alice, once.completed_at, 5)


@pytest.mark.parametrize(("decision", "segments"), [("reject", None), ("partial_adopt", ["Electronics"])])
def test_another_decision_is_told_who_has_decided(trial, alice, root, decision, segments):
    experiments.complete(trial, by=alice, decision="partial_adopt", rationale="only there", segments=["Grocery"])
    with pytest.raises(WrongStep, match=r"alice@acme\.example.*only there"):
        experiments.complete(trial, by=root, decision=decision, rationale="no", segments=segments)


def test_a_champion_that_changed_in_the_middle_stops_the_adoption(acme, trial, alice):
    newcomer = a_version(acme, "champion")
    with pytest.raises(StaleChampion, match="was compared with v1, but v4 is champion"):
        experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    assert version_of(trial, GROCERY).status == "experimental"

    done = experiments.complete(
        trial, by=alice, decision="adopt", rationale="better", expected_champion=newcomer.version
    )
    assert done.status == "completed"


def test_rejecting_asks_for_no_champion(acme, trial, alice):
    a_version(acme, "champion")
    assert experiments.complete(trial, by=alice, decision="reject", rationale="no").status == "completed"


def test_the_alert_tells_the_improvement_of_what_was_adopted(trial, alice):
    shown(trial, 22, 5)
    experiments.complete(trial, by=alice, decision="partial_adopt", rationale="Strong there.", segments=[ELECTRONICS])
    alert = MLAlert.objects.get(alert_type="experiment_complete")
    assert (alert.severity, alert.requires_action) == ("info", False)
    assert alert.metadata["improvement_pct"] == pytest.approx(22)
    assert alert.message.startswith("MAE 22.0 % better in shadow. Partially adopted: v2_electronics. Strong there.")
    assert alert.action_url == f"/experiments/{trial.pk}/results"


def test_reported_numbers_are_kept_beside_the_computed_ones(trial, alice):
    shown(trial, 22, 5)
    done = experiments.complete(
        trial, by=alice, decision="reject", rationale="no", reported={"improvement_electronics_pct": 99}
    )
    assert done.reported_results == {"improvement_electronics_pct": 99}
    assert done.results["segments"][0]["improvement_pct"] == pytest.approx(22)
    assert "status" not in done.results  # it was another one when they were computed


# --- Undoing


def test_a_rolled_back_segmentation_falls_to_the_global_model(acme, trial, alice, bob, champion):
    experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    undone = experiments.roll_back(trial, by=bob, rationale="worse in the shops")
    assert undone.status == "rolled_back"
    assert serving(acme) == {"global": champion.version}
    assert set(trial.versions.values_list("status", flat=True)) == {"archived"}


def test_a_rolled_back_global_version_makes_way_for_the_former_champion(acme, alice, bob, champion):
    trial = in_shadow(acme, alice, bob, segments=("global",))
    experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    experiments.roll_back(trial, by=bob, rationale="worse")
    assert serving(acme) == {"global": champion.version}


def test_those_who_followed_the_adopted_version_go_with_it(acme, trial, alice, bob, champion):
    experiments.complete(trial, by=alice, decision="adopt", rationale="better")
    a_version(acme, "champion", segment=ELECTRONICS)
    experiments.roll_back(trial, by=bob, rationale="worse")
    assert not ModelVersion.objects.champions().exclude(pk=champion.pk).exists()


def test_a_rollback_of_another_version_than_was_seen_is_refused(acme, trial, alice, bob):
    experiments.complete(trial, by=alice, decision="partial_adopt", rationale="better", segments=[ELECTRONICS])
    seen = serving(acme)[ELECTRONICS]
    later = a_version(acme, "champion", segment=ELECTRONICS)
    with pytest.raises(StaleChampion, match=f"but {later} is champion since"):
        experiments.roll_back(trial, by=bob, rationale="worse", expected_champion=seen)
    assert serving(acme)[ELECTRONICS] == later.version
    experiments.roll_back(trial, by=bob, rationale="worse", expected_champion=later.version)
    assert ELECTRONICS not in serving(acme)


def test_the_global_champion_is_never_retired(acme, champion):
    with pytest.raises(promotion.WrongStatus, match="cannot be retired"):
        promotion.retire(champion, by=None, reason="why", as_of=LATER)
    assert routing.rules_on(acme, LATER)


# --- Results


def test_results_compare_each_segment_on_its_own_rows(trial, champion):
    tests = shown(trial, 22, 5)
    results = results_of(trial)
    electronics, grocery = results["segments"]
    assert electronics["segment"] == ELECTRONICS
    assert electronics["improvement_pct"] == pytest.approx(22)
    assert grocery["improvement_pct"] == pytest.approx(5)
    assert electronics["interval"][0] == pytest.approx(22)
    assert results["samples"] == sum(one["samples"] for one in results["segments"]) == 2 * 14 * 40
    assert results["shadow_test_duration_days"] == 14
    assert results["baseline_version"] == champion.version
    assert results["latency_ms_per_1000"] == {test.version.version: None for test in tests}


@pytest.mark.parametrize(
    ("better", "days", "target", "expected"),
    [
        ((10.2,), 14, 8, "PROMOTE — Exceeded hypothesis target (10.2% > 8% threshold)"),
        ((10.2,), 14, None, "PROMOTE — Exceeded hypothesis target (10.2% > 5% threshold)"),
        ((2.0,), 14, 8, "REJECT — Target not reached (2.0% < 8% threshold)"),
        ((10.2,), 5, 8, "EXTEND — 5 of 14 shadow days so far (10.2% > 8% threshold)"),
        ((22.0, 2.0), 14, 15, "PARTIAL — Only some segments reach the target of 15%: department Electronics by 22.0%"),
    ],
)
def test_the_recommendation_follows_target_and_days(acme, alice, bob, champion, better, days, target, expected):
    segments = (ELECTRONICS, GROCERY)[: len(better)]
    trial = in_shadow(acme, alice, bob, segments=segments, target_improvement_pct=target)
    shown(trial, *better, days=days)
    assert results_of(trial)["recommendation"] == expected


def test_before_any_day_is_scored_nothing_is_known(trial):
    results = results_of(trial)
    assert (results["baseline_mae"], results["improvement_pct"], results["samples"]) == (None, None, 0)
    assert results["recommendation"].startswith("EXTEND — No day could be scored yet")


def test_results_stay_as_they_were_at_completion(trial, alice):
    tests = shown(trial, 22, 5)
    experiments.complete(trial, by=alice, decision="reject", rationale="no")
    tests[0].version.shadow_predictions.all().delete()
    trial.refresh_from_db()
    assert results_of(trial)["samples"] == 2 * 14 * 40
    assert results_of(trial)["status"] == "completed"
