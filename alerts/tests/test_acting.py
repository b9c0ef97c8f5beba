"""An alert is decided once, by somebody who may, with notes; what answers “approved” has been done."""

import pytest
import time_machine
from django.db import IntegrityError, transaction

from alerts import acting
from alerts.acting import Conflict, NotesRequired, act, overtake, settle
from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from shelfops.models import Membership
from shelfops.refusals import Refusal
from shelfops.tenancy import NotAllowed

pytestmark = pytest.mark.django_db
Type, Status, Decision = MLAlert.Type, MLAlert.Status, MLAlert.Decision
ABOUT = {"version": "v2", "model_name": "demand_forecast"}


@pytest.fixture
def approvals(monkeypatch):
    """What the handlers were told; they do nothing else."""
    told = []

    def handler(alert, *, by, notes, expected_champion):
        told.append((alert.pk, by, notes, expected_champion))

    monkeypatch.setattr(acting, "_handlers", {})
    for alert_type in (*acting.REVIEWED, Type.NEW_DATA_SOURCE_READY):
        acting.on_approve(alert_type, handler)
    return told


@pytest.fixture
def on_promotion_pending(monkeypatch):
    """Registers a handler for the time of the test."""
    monkeypatch.setattr(acting, "_handlers", {})
    return lambda handler: acting.on_approve(Type.PROMOTION_PENDING, handler)


@pytest.mark.parametrize("action", ["approve", "dismiss"])
@pytest.mark.parametrize(
    ("name", "may"), [("alice", True), ("bob", True), ("root", True), ("charlie", False), ("mallory", False)]
)
def test_who_may_act(name, may, action, acme, approvals, request):
    person, alert = request.getfixturevalue(name), an_alert(acme)
    if may:
        assert not act(alert, action, by=person, notes="seen").is_open
        return
    with pytest.raises(NotAllowed, match=r"You may not act on alerts at Acme Stores\. Who may: Data scientist, ML man"):
        act(alert, action, by=person, notes="seen")
    alert.refresh_from_db()
    assert (alert.status, approvals) == (Status.UNREAD, [])


def test_the_handlers_own_rule_stands(acme, alice, on_promotion_pending):
    def refuse(alert, **_):
        raise NotAllowed("You may not review promotions.")

    on_promotion_pending(refuse)
    alert = an_alert(acme)
    with pytest.raises(NotAllowed, match="review promotions"):
        act(alert, "approve", by=alice, notes="seen")
    alert.refresh_from_db()
    assert alert.is_open


def test_an_approval_is_carried_out_and_kept(acme, bob, approvals):
    alert = act(an_alert(acme), "approve", by=bob, notes=" seen ", expected_champion="v1")
    assert approvals == [(alert.pk, bob, "seen", "v1")]
    alert.refresh_from_db()
    assert (alert.status, alert.decision, alert.actioned_by, alert.notes) == ("actioned", "approved", bob, "seen")
    assert alert.actioned_at
    assert alert.dismissed_by is None


def test_a_dismissal_calls_nobody(acme, alice, approvals):
    alert = act(an_alert(acme), "dismiss", by=alice, notes="known")
    assert (alert.status, alert.decision, alert.dismissed_by, approvals) == ("dismissed", "dismissed", alice, [])


@pytest.mark.parametrize("action", ["approve", "dismiss"])
def test_notes_are_required(action, acme, bob, approvals):
    with pytest.raises(NotesRequired, match=f"Say in the notes why you {action} “v2 awaits a decision”"):
        act(an_alert(acme), action, by=bob, notes=" \n")
    assert approvals == []


@pytest.mark.parametrize(("action", "times"), [("approve", 1), ("dismiss", 0)])
def test_the_same_decision_again_answers_the_same(action, times, acme, alice, bob, approvals):
    first = act(an_alert(acme), action, by=bob, notes="first")
    again = act(first, action, by=alice, notes="second")
    assert (again.notes, again.actioned_by or again.dismissed_by) == ("first", bob)
    assert len(approvals) == times


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ("approve", "dismiss", "was approved by bob@acme.example on 2026-03-02 at 15:05 (because)."),
        (
            "dismiss",
            "approve",
            "was dismissed by bob@acme.example on 2026-03-02 at 15:05 (because). That rejected no model: v2 can ",
        ),
    ],
)
def test_a_conflicting_decision_is_told_who_when_and_why(first, then, said, acme, alice, bob, approvals):
    acme.timezone = "Europe/Berlin"
    acme.save()
    with time_machine.travel("2026-03-02T14:05Z", tick=False):
        alert = act(an_alert(acme), first, by=bob, notes="because")
    with pytest.raises(Conflict) as refusal:
        act(alert, then, by=alice, notes="other")
    assert str(refusal.value).startswith(f"“v2 awaits a decision” {said}")
    assert refusal.value.allowed == []
    assert len(approvals) == (first == "approve")


@pytest.mark.parametrize(
    ("alert_type", "instead"),
    [(Type.BACKTEST_DEGRADATION, "dismiss it or retrain"), (Type.EXPERIMENT_COMPLETE, "dismiss it")],
)
def test_where_nothing_can_be_approved_it_says_so(alert_type, instead, acme, bob, approvals):
    alert = an_alert(acme, alert_type)
    with pytest.raises(Conflict, match=rf"there is nothing to approve, {instead}\.$") as refusal:
        act(alert, "approve", by=bob, notes="fine")
    assert refusal.value.allowed == ["dismiss"] == acting.answers(alert)
    assert act(alert, "dismiss", by=bob, notes="fine").status == Status.DISMISSED


def test_the_trial_of_an_experiment_is_decided_by_completing_that(acme, bob, approvals):
    alert = an_alert(acme, Type.SHADOW_TEST_COMPLETE, metadata={"experiment_id": "abc"})
    instead = r"complete its experiment \(/experiments/abc/complete\) or dismiss it\."
    with pytest.raises(Conflict, match=f"there is nothing to approve, {instead}$") as refusal:
        act(alert, "approve", by=bob, notes="fine")
    assert refusal.value.allowed == ["dismiss"] == acting.answers(alert)
    assert acting.answers(an_alert(acme, Type.SHADOW_TEST_COMPLETE, "v3")) == ["approve", "dismiss"]


def test_drift_whose_retrain_failed_cannot_be_approved(acme, bob, approvals):
    alert = an_alert(acme, Type.DRIFT_DETECTED, version="", title="Drift, and the retrain failed")
    with pytest.raises(Conflict, match="nothing to approve, train again or close the incident with a note"):
        act(alert, "approve", by=bob, notes="fine")
    assert approvals == []


def test_what_the_handler_refuses_leaves_the_alert_open(acme, globex, bob, on_promotion_pending):
    def half_done(alert, **_):
        Membership.objects.create(user=bob, customer=globex, role="ml_manager")
        raise Refusal("v2 cannot serve.")

    on_promotion_pending(half_done)
    alert = an_alert(acme)
    with pytest.raises(Refusal, match="v2 cannot serve"):
        act(alert, "approve", by=bob, notes="fine")
    alert.refresh_from_db()
    assert alert.is_open
    assert not Membership.objects.filter(customer=globex).exists()


def test_a_handler_may_settle_the_alert_itself(acme, bob, on_promotion_pending):
    def review(alert, *, by, notes, expected_champion):
        settle(alert.customer, **ABOUT, decision=Decision.APPROVED, by=by, notes=notes)

    on_promotion_pending(review)
    assert act(an_alert(acme), "approve", by=bob, notes="fine").actioned_by == bob


def test_a_decision_made_while_the_handler_worked_undoes_it(acme, globex, alice, bob, on_promotion_pending):
    def overtaken_meanwhile(alert, **_):
        Membership.objects.create(user=bob, customer=globex, role="ml_manager")
        settle(acme, **ABOUT, decision=Decision.REJECTED, by=alice, notes="too many empty shelves")

    on_promotion_pending(overtaken_meanwhile)
    with pytest.raises(Conflict, match=r"was rejected by alice@acme\.example"):
        act(an_alert(acme), "approve", by=bob, notes="fine")
    assert not Membership.objects.filter(customer=globex).exists()


# --- What a review does to the alerts about its version


@pytest.mark.parametrize("decision", [Decision.APPROVED, Decision.REJECTED])
def test_a_review_settles_every_alert_about_the_version(decision, acme, globex, alice):
    about = [an_alert(acme, alert_type) for alert_type in acting.REVIEWED]
    others = [an_alert(acme, version="v3"), an_alert(acme, Type.BACKTEST_DEGRADATION), an_alert(globex)]
    settled = settle(acme, **ABOUT, decision=decision, by=alice, notes="seen")
    assert {alert.pk for alert in settled} == {alert.pk for alert in about}
    rows = MLAlert.objects.filter(pk__in=[alert.pk for alert in about])
    assert set(rows.values_list("status", "decision", "actioned_by", "notes")) == {
        ("actioned", decision.value, alice.pk, "seen")
    }
    assert MLAlert.objects.open().filter(pk__in=[alert.pk for alert in others]).count() == 3


def test_a_settled_alert_stays_as_it_was(acme, alice, bob):
    first = act(an_alert(acme), "dismiss", by=alice, notes="later")
    assert settle(acme, **ABOUT, decision=Decision.APPROVED, by=bob, notes="now") == []
    first.refresh_from_db()
    assert (first.decision, first.notes) == ("dismissed", "later")


def test_a_review_does_not_dismiss(acme, alice):
    with pytest.raises(ValueError, match="approves or rejects"):
        settle(acme, **ABOUT, decision=Decision.DISMISSED, by=alice, notes="x")


def test_the_system_closes_what_events_have_overtaken(acme, bob, approvals):
    [alert] = [an_alert(acme)]
    assert overtake(acme, **ABOUT, reason="v3 was promoted") == [alert]
    with pytest.raises(Conflict, match=r"was overtaken by the system on .* \(v3 was promoted\)\.$"):
        act(alert, "approve", by=bob, notes="fine")


def test_alerts_about_no_version_are_overtaken_by_segment(acme):
    failed = [
        an_alert(acme, Type.DRIFT_DETECTED, version="", segment=segment, dedupe=segment)
        for segment in ["global", "department:Dairy"]
    ]
    closed = overtake(acme, version="", model_name="demand_forecast", segment="global", reason="v3 was promoted")
    assert closed == failed[:1]


def test_a_decision_fits_its_status(acme):
    an_alert(acme)
    with pytest.raises(IntegrityError), transaction.atomic():
        MLAlert.objects.update(status=Status.ACTIONED)
