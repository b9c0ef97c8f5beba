"""A person's decision about a challenger: what it does, who may, and what many at once come to."""

import shutil
from pathlib import Path

import pytest
from django.conf import settings

from alerts import acting
from alerts.acting import NotesRequired, act
from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from mlops import shadow
from mlops.models import DriftIncident, ModelReview, ModelVersion, RoutingRule
from mlops.promotion import StaleChampion, UnusableVersion, promote
from mlops.review import Conflict, NotReviewable, UnknownVerdict, review
from mlops.tests.ledger import DAY, a_version
from mlops.tests.races import at_once
from shelfops.tenancy import NotAllowed

pytestmark = pytest.mark.django_db
Status = ModelVersion.Status


@pytest.fixture
def champion(acme):
    """v1, whom the challengers are compared with; it is DAY."""
    acme.clock = DAY
    acme.save()
    return a_version(acme, "champion")


@pytest.fixture
def challenger(acme, champion):
    """v2, which a scheduled retrain has made."""
    return a_version(acme, "challenger", trigger="scheduled")


@pytest.fixture
def emergency(acme, champion):
    """v2, which drift has asked for."""
    return a_version(acme, "challenger", trigger="drift_detected")


def status_of(version):
    return ModelVersion.objects.get(pk=version.pk).status


def unchanged(version, champion):
    return (status_of(version), status_of(champion), ModelReview.objects.count()) == ("challenger", "champion", 0)


# --- What it does


def test_an_approved_challenger_serves_and_the_former_champion_is_put_away(challenger, champion, bob):
    approved = review(challenger, "approve", by=bob, notes=" steady in every department ", expected_champion="v1")
    assert (approved.status, approved.champion_since, status_of(champion)) == ("champion", DAY, "archived")
    event = approved.events.last()
    assert (event.by, event.reason, event.as_of) == (bob, "approved: steady in every department", DAY)
    assert RoutingRule.objects.open().get().version == challenger


def test_a_rejected_challenger_is_put_away_and_the_champion_stays(challenger, champion, bob):
    rejected = review(challenger, "reject", by=bob, notes="too few days", expected_champion="v1")
    assert (rejected.status, status_of(champion)) == ("archived", "champion")
    assert rejected.events.last().reason == "rejected: too few days"
    assert RoutingRule.objects.open().get().version == champion


@pytest.mark.parametrize(("action", "decision"), [("approve", "approved"), ("reject", "rejected")])
def test_the_open_alerts_about_it_are_actioned_with_who_and_why(action, decision, acme, challenger, bob):
    alerts = [an_alert(acme), an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE)]
    others = [an_alert(acme, version="v9"), an_alert(acme, MLAlert.Type.BACKTEST_DEGRADATION)]
    review(challenger, action, by=bob, notes="looks right")
    for alert in alerts:
        alert.refresh_from_db()
        assert (alert.status, alert.decision, alert.actioned_by, alert.notes) == (
            "actioned", decision, bob, "looks right",
        )  # fmt: skip
    assert {MLAlert.objects.get(pk=other.pk).status for other in others} == {"unread"}
    assert ModelReview.objects.get().alert == alerts[0]


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_its_shadow_test_ends(action, acme, challenger, bob):
    [test] = shadow.start(acme, DAY)
    review(challenger, action, by=bob, notes="enough seen")
    test.refresh_from_db()
    assert (test.status, test.completed_on) == ("cancelled", DAY)


def test_the_review_is_kept_as_it_was_made(acme, emergency, champion, alice):
    alert = an_alert(acme, MLAlert.Type.DRIFT_DETECTED)
    review(emergency, "approve", by=alice, notes="demand has moved", expected_champion="v1", verdict="real")
    kept = ModelReview.objects.get(version=emergency)
    assert (kept.action, kept.by, kept.notes, kept.champion, kept.verdict, kept.alert, kept.as_of, kept.customer) == (
        "approve", alice, "demand has moved", champion, "real", alert, DAY, acme,
    )  # fmt: skip


def test_a_first_champion_can_be_approved(acme, bob):
    version = a_version(acme, "challenger")
    review(version, "approve", by=bob, notes="better than nothing", expected_champion="")
    assert (status_of(version), ModelReview.objects.get().champion) == ("champion", None)


def test_only_its_own_segment_changes(acme, champion, bob):
    dairy = a_version(acme, "challenger", segment="department:Dairy")
    review(dairy, "approve", by=bob, notes="better", expected_champion="")
    assert (status_of(dairy), status_of(champion)) == ("champion", "champion")


# --- The incident that asked for it


@pytest.fixture
def incident(acme, champion, emergency):
    """v1 has drifted, and v2 is the answer."""
    return DriftIncident.objects.create(
        customer=acme,
        segment="global",
        opened_on=DAY,
        last_seen_on=DAY,
        champion=champion,
        challenger=emergency,
        baseline_mae=12.8,
        recent_mae=18.5,
        drift_pct=44.5,
        suggested_verdict="real",
    )


@pytest.mark.parametrize(
    ("action", "outcome", "verdict"),
    [("approve", "replaced", "real"), ("reject", "no_replacement", "data_fault"), ("reject", "no_replacement", "")],
)
def test_the_incident_is_closed_with_the_reviewers_verdict(action, outcome, verdict, incident, emergency, alice):
    review(emergency, action, by=alice, notes="seen", verdict=verdict)
    incident.refresh_from_db()
    assert (incident.status, incident.outcome, incident.verdict, incident.closed_by, incident.closed_on) == (
        "closed", outcome, verdict, alice, DAY,
    )  # fmt: skip
    assert incident.reason.endswith("d: seen")


def test_an_incident_that_another_promotion_has_overtaken_stays_so(acme, incident, emergency, alice):
    promote(a_version(acme), by=None, reason="6.0 % better", as_of=DAY)
    review(emergency, "approve", by=alice, notes="better still", verdict="real")
    incident.refresh_from_db()
    assert (incident.outcome, incident.verdict) == ("overtaken", "")
    assert ModelReview.objects.get().verdict == "real"


# --- Who may


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.parametrize(
    ("name", "trigger", "may"),
    [
        ("alice", "drift_detected", True),
        ("bob", "drift_detected", True),
        ("root", "drift_detected", True),
        ("charlie", "drift_detected", False),
        ("mallory", "drift_detected", False),
        ("alice", "scheduled", False),
        ("alice", "new_data", False),
        ("alice", None, False),
        ("bob", "scheduled", True),
        ("bob", "manual", True),
        ("charlie", "scheduled", False),
        ("mallory", "scheduled", False),
    ],
)
def test_who_may_review_what(name, trigger, may, action, acme, champion, request):
    person, version = request.getfixturevalue(name), a_version(acme, "challenger", trigger=trigger)
    if may:
        assert review(version, action, by=person, notes="seen").status == (
            "champion" if action == "approve" else "archived"
        )
        return
    with pytest.raises(NotAllowed, match=r"You may not review .* at Acme Stores\. Who may: "):
        review(version, action, by=person, notes="seen")
    assert unchanged(version, champion)


# --- What is refused, and changes nothing


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_notes_are_required(action, challenger, champion, bob):
    with pytest.raises(NotesRequired, match=f"Say in the notes why you {action} v2"):
        review(challenger, action, by=bob, notes=" \n")
    assert unchanged(challenger, champion)


def test_a_decision_or_verdict_that_there_is_not(challenger, champion, bob):
    with pytest.raises(ValueError, match="promote"):
        review(challenger, "promote", by=bob, notes="seen")
    with pytest.raises(UnknownVerdict, match="There are: data_fault, calendar_or_level, real"):
        review(challenger, "approve", by=bob, notes="seen", verdict="weather")
    assert unchanged(challenger, champion)


@pytest.mark.parametrize("action", ["approve", "reject"])
@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("candidate", "its retrain has not decided yet"),
        ("champion", r"it is champion since 2026-03-02 by the system \(better\)\. Only a challenger waits"),
        ("archived", r"it is archived since 2026-03-02 by the system \(worse\)\. Only a challenger waits"),
        (
            "experimental",
            r"it belongs to an experiment and is decided by completing that \(/experiments/abc/complete\)",
        ),
    ],
)
def test_only_challengers_are_reviewed(status, why, action, acme, bob):
    version = a_version(acme, status, trigger="experiment", metadata={"experiment_id": "abc"})
    with pytest.raises(NotReviewable, match=f"v1 cannot be reviewed: {why}") as caught:
        review(version, action, by=bob, notes="seen")
    assert caught.value.allowed == []
    assert (status_of(version), ModelReview.objects.count()) == (status, 0)


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_a_form_that_showed_another_champion_is_refused(action, acme, challenger, champion, bob):
    sunday = promote(a_version(acme), by=None, reason="6.0 % better", as_of=DAY)
    with pytest.raises(StaleChampion, match=r"v2 was compared with v1, but v3 is champion since .* \(6\.0 % better\)"):
        review(challenger, action, by=bob, notes="seen", expected_champion="v1")
    assert (status_of(challenger), status_of(sunday), ModelReview.objects.count()) == ("challenger", "champion", 0)
    assert review(challenger, action, by=bob, notes="seen", expected_champion="v3").status != "challenger"


def test_a_version_with_broken_files_is_not_approved_but_can_be_rejected(acme, challenger, champion, bob):
    alert, [test] = an_alert(acme), shadow.start(acme, DAY)
    shutil.rmtree(Path(settings.ARTEFACT_DIR, challenger.artefact))
    with pytest.raises(UnusableVersion, match=r"v2 cannot serve: .* Restore the folder from a backup"):
        review(challenger, "approve", by=bob, notes="seen")
    alert.refresh_from_db()
    test.refresh_from_db()
    assert unchanged(challenger, champion)
    assert (alert.status, test.status) == ("unread", "running")
    assert review(challenger, "reject", by=bob, notes="its files are lost").status == "archived"


# --- Once and for all


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_the_same_decision_again_answers_the_same_whoever_asks(action, emergency, alice, bob):
    first = review(emergency, action, by=alice, notes="seen", expected_champion="v1")
    again = review(emergency, action, by=bob, notes="I agree", expected_champion="v1")
    assert (again.pk, again.status) == (first.pk, first.status)
    assert (ModelReview.objects.get().by, emergency.events.count()) == (alice, 3)


@pytest.mark.parametrize(
    ("action", "other", "said"),
    [
        ("approve", "reject", "v2 was approved by alice@acme.example on 2026-03-02 (seen). To undo it, roll back"),
        ("reject", "approve", "v2 was rejected by alice@acme.example on 2026-03-02 (seen). If it was wrong, ask for a"),
    ],
)
def test_another_decision_is_told_who_decided_what_and_when(action, other, said, emergency, alice, bob):
    done = review(emergency, action, by=alice, notes="seen")
    with pytest.raises(Conflict) as caught:
        review(emergency, other, by=bob, notes="I do not agree")
    assert str(caught.value).startswith(said)
    assert (caught.value.allowed, status_of(emergency)) == ([], done.status)


def test_an_approval_is_answered_even_when_another_has_followed(acme, challenger, bob):
    review(challenger, "approve", by=bob, notes="seen", expected_champion="v1")
    promote(a_version(acme), by=None, reason="better still", as_of=DAY)
    assert review(challenger, "approve", by=bob, notes="seen", expected_champion="v1").status == "archived"


# --- Through an alert


@pytest.mark.parametrize("alert_type", ["drift_detected", "promotion_pending", "shadow_test_complete"])
def test_approving_an_alert_approves_its_version(alert_type, acme, challenger, champion, bob):
    alert = act(an_alert(acme, MLAlert.Type(alert_type)), "approve", by=bob, notes="seen", expected_champion="v1")
    assert (alert.status, alert.decision, alert.notes) == ("actioned", "approved", "seen")
    assert (status_of(challenger), status_of(champion)) == ("champion", "archived")
    assert ModelReview.objects.get().alert == alert


def test_dismissing_an_alert_rejects_nothing(acme, challenger, champion, bob):
    act(an_alert(acme), "dismiss", by=bob, notes="later")
    assert unchanged(challenger, champion)
    assert review(challenger, "approve", by=bob, notes="now").status == "champion"


@pytest.mark.parametrize(
    ("name", "trigger", "status", "offered"),
    [
        ("bob", "scheduled", "challenger", True),
        ("alice", "scheduled", "challenger", False),
        ("alice", "drift_detected", "challenger", True),
        ("bob", "experiment", "experimental", False),
    ],
)
def test_approving_is_offered_to_those_who_may(name, trigger, status, offered, acme, champion, request):
    a_version(acme, status, trigger=trigger)
    wanted = ["approve", "dismiss"] if offered else ["dismiss"]
    assert acting.answers_for(an_alert(acme), request.getfixturevalue(name)) == wanted


def test_an_alert_does_not_widen_rights(acme, challenger, champion, alice):
    alert = an_alert(acme)
    with pytest.raises(NotAllowed, match="You may not review promotions"):
        act(alert, "approve", by=alice, notes="seen")
    alert.refresh_from_db()
    assert (alert.is_open, unchanged(challenger, champion)) == (True, True)


def test_a_refused_review_leaves_the_alert_open(acme, challenger, bob):
    alert = an_alert(acme)
    promote(a_version(acme), by=None, reason="6.0 % better", as_of=DAY)
    with pytest.raises(StaleChampion):
        act(alert, "approve", by=bob, notes="seen", expected_champion="v1")
    alert.refresh_from_db()
    assert alert.is_open


def test_the_shadow_test_of_an_experiment_is_not_reviewed(acme, champion, bob):
    a_version(acme, "experimental", trigger="experiment", metadata={"experiment_id": "abc"})
    with pytest.raises(NotReviewable, match="/experiments/abc/complete"):
        act(an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE), "approve", by=bob, notes="seen")


# --- Many at once, on both databases


def all_at_once(*works):
    return at_once(lambda work: work(), works)


@pytest.mark.django_db(transaction=True)
def test_of_two_people_at_once_one_decides_and_the_other_is_told_who(acme, emergency, alice, bob):
    alert = an_alert(acme, MLAlert.Type.DRIFT_DETECTED)
    done = all_at_once(
        lambda: review(emergency, "approve", by=alice, notes="demand has moved", expected_champion="v1"),
        lambda: review(emergency, "reject", by=bob, notes="a fault in the feed", expected_champion="v1"),
    )
    [kept] = ModelReview.objects.all()
    [refused] = [one for one in done if isinstance(one, Conflict)]
    assert f"by {kept.by} on 2026-03-02 ({kept.notes})" in str(refused)
    alert.refresh_from_db()
    assert (alert.actioned_by, alert.notes) == (kept.by, kept.notes)
    assert status_of(emergency) == {"approve": "champion", "reject": "archived"}[kept.action]


@pytest.mark.django_db(transaction=True)
def test_the_page_and_the_alert_at_once_approve_once(acme, challenger, bob, root):
    alert = an_alert(acme)
    done = all_at_once(
        *[lambda: act(alert, "approve", by=bob, notes="seen", expected_champion="v1")] * 3,
        *[lambda: review(challenger, "approve", by=root, notes="seen", expected_champion="v1")] * 3,
    )
    assert [one for one in done if isinstance(one, Exception)] == []
    assert (ModelReview.objects.count(), challenger.events.filter(to_status="champion").count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_of_two_challengers_approved_at_once_the_second_is_stale(acme, challenger, bob, root):
    other = a_version(acme, "challenger")
    done = all_at_once(
        lambda: review(challenger, "approve", by=bob, notes="this one", expected_champion="v1"),
        lambda: review(other, "approve", by=root, notes="that one", expected_champion="v1"),
    )
    assert sorted(type(one).__name__ for one in done) == ["ModelVersion", "StaleChampion"]
    assert ModelVersion.objects.champions().count() == ModelReview.objects.count() == 1
