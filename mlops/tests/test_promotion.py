"""Every change of status: which are legal, what each leaves behind, and what many at once come to."""

import datetime as dt
import shutil
from pathlib import Path

import pytest
from django.conf import settings

from alerts.models import MLAlert
from mlops import promotion
from mlops.audit import audit
from mlops.decision import decide
from mlops.models import ModelPolicy, ModelVersion, RoutingRule, VersionEvent
from mlops.promotion import (
    ALLOWED,
    StaleChampion,
    UnusableVersion,
    WrongStatus,
    apply,
    archive,
    hold,
    promote,
    roll_back,
)
from mlops.tests.ledger import DAY, a_comparison, a_version
from mlops.tests.races import at_once

pytestmark = pytest.mark.django_db
Status = ModelVersion.Status
SYSTEM = {"by": None, "reason": "by rule", "as_of": DAY}


def chain(version):
    return [(event.from_status, event.to_status) for event in version.events.all()]


def champions(customer):
    return [one.version for one in ModelVersion.objects.filter(customer=customer, status="champion").order_by("pk")]


def decision(champion="", **options):
    changes = options.pop("changes", {})
    if not champion:
        changes = {"improvement": None, "champion": None, **changes}
    return decide(a_comparison(**changes), ModelPolicy(), as_of=DAY, champion=champion, **options)


# --- Which changes there are


def move(version, to):
    """The door that leads to a status; a former champion's way back is the rollback."""
    if to == Status.CHAMPION:
        return (roll_back if version.status == Status.ARCHIVED else promote)(version, **SYSTEM)
    return archive(version, **SYSTEM) if to == Status.ARCHIVED else hold(version, to, **SYSTEM)


# A champion goes only when another comes, and only a former champion comes back.
BY_NO_SINGLE_DOOR = {(Status.CHAMPION, Status.ARCHIVED), (Status.ARCHIVED, Status.CHAMPION)}


@pytest.mark.parametrize("to", [status for status in Status if status != Status.CANDIDATE])
@pytest.mark.parametrize("start", Status)
def test_every_pair_of_statuses(start, to, acme):
    version = a_version(acme, start)
    if to in ALLOWED[start] and (start, to) not in BY_NO_SINGLE_DOOR:
        assert move(version, to).status == to
        assert chain(version)[-1] == (start, to)
    else:
        with pytest.raises(WrongStatus, match=f"{version} cannot .*: it is {start} since 2026-03-02 by the system"):
            move(version, to)
        version.refresh_from_db()
        assert version.status == start


def test_an_archived_version_comes_back_by_a_rollback_only(acme):
    former = a_version(acme, "champion")
    promote(a_version(acme), **SYSTEM)
    for version in [former, a_version(acme, "archived")]:
        with pytest.raises(WrongStatus, match="cannot be promoted: it is archived since"):
            promote(version, **SYSTEM)
    assert champions(acme) == ["v2"]


def test_nothing_becomes_a_candidate(acme):
    assert all(Status.CANDIDATE not in targets for targets in ALLOWED.values())
    assert set(ALLOWED) == set(Status)
    with pytest.raises(ValueError, match="not as candidate"):
        hold(a_version(acme), Status.CANDIDATE, **SYSTEM)


def test_the_new_champion_puts_the_old_one_away(acme, bob):
    old, new = a_version(acme, "champion"), a_version(acme, "challenger")
    later = DAY + dt.timedelta(days=7)
    promoted = promote(new, by=bob, reason="better in shadow", as_of=later, expected_champion="v1")
    old.refresh_from_db()
    assert (promoted.status, promoted.champion_since, old.status, old.champion_since) == (
        "champion", later, "archived", DAY,
    )  # fmt: skip
    event = old.events.last()
    assert (event.to_status, event.by, event.reason) == ("archived", bob, "v2 took over: better in shadow")


def test_segments_and_customers_have_champions_of_their_own(acme, globex):
    made = [a_version(acme, "champion"), a_version(acme, "champion", segment="department:Dairy")]
    made.append(a_version(globex, "champion"))
    assert [ModelVersion.objects.get(pk=one.pk).status for one in made] == ["champion"] * 3


def test_a_decision_against_another_champion_is_refused_with_who_and_when(acme, bob):
    a_version(acme, "champion")
    late, quick = a_version(acme, "challenger"), a_version(acme, "challenger")
    promote(quick, by=bob, reason="looks right", as_of=DAY, expected_champion="v1")
    with pytest.raises(StaleChampion) as caught:
        promote(late, **SYSTEM, expected_champion="v1")
    assert str(caught.value) == (
        "v2 was compared with v1, but v3 is champion since 2026-03-02 by bob@acme.example (looks right). "
        "Look at how it compares now and decide again."
    )
    assert champions(acme) == ["v3"]


def test_no_champion_was_expected_but_there_is_one(acme):
    a_version(acme, "champion")
    with pytest.raises(StaleChampion, match="v2 was compared with no champion, but v1 is champion"):
        promote(a_version(acme), **SYSTEM, expected_champion="")


@pytest.mark.parametrize("carry_out", [promote, roll_back])
@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_version_with_broken_files_never_serves(carry_out, harm, acme):
    version = a_version(acme, "candidate" if carry_out is promote else "champion")
    if carry_out is roll_back:
        promote(a_version(acme), **SYSTEM)
    before = champions(acme)
    folder = Path(settings.ARTEFACT_DIR, version.artefact)
    if harm == "missing":
        shutil.rmtree(folder)
    else:
        (folder / "model.json").write_bytes(b"{1}")
    with pytest.raises(
        UnusableVersion, match=f"{version} cannot serve: .* Restore the folder from a backup, or retrain"
    ):
        carry_out(version, **SYSTEM)
    assert champions(acme) == before


# --- Rollback


def test_a_former_champion_serves_again_and_freezes_the_rule(acme, bob):
    former = a_version(acme, "champion")
    current = promote(a_version(acme), **SYSTEM)
    roll_back(former, by=bob, reason="empty shelves", as_of=DAY, expected_champion="v2")
    current.refresh_from_db()
    assert (champions(acme), current.status) == (["v1"], "archived")
    assert chain(former)[-1] == ("archived", "champion")
    free = DAY + dt.timedelta(days=14)
    assert promotion.frozen_until(acme, DAY) == promotion.frozen_until(acme, free - dt.timedelta(days=1)) == free
    assert promotion.frozen_until(acme, free) is None
    assert promotion.frozen_until(acme, DAY, segment="department:Dairy") is None


def test_a_promotion_freezes_nothing(acme):
    a_version(acme, "champion")
    promote(a_version(acme), **SYSTEM)
    assert promotion.frozen_until(acme, DAY) is None


def test_one_cannot_roll_back_to_what_never_served(acme):
    with pytest.raises(WrongStatus, match="only an archived former champion can"):
        roll_back(a_version(acme, "archived"), **SYSTEM)


# --- A decision carried out


def test_the_first_candidate_becomes_champion(acme):
    version = apply(decision(), a_version(acme), by=None, as_of=DAY)
    version.refresh_from_db()
    assert (version.status, version.champion_since, version.decision["outcome"]) == ("champion", DAY, "promote")
    assert chain(version) == [("", "candidate"), ("candidate", "champion")]
    assert not MLAlert.objects.exists()


def test_a_small_improvement_makes_a_challenger_without_a_message(acme):
    a_version(acme, "champion")
    version = apply(decision("v1", changes={"improvement": 0.8}), a_version(acme), by=None, as_of=DAY)
    assert (version.status, version.events.last().reason) == ("challenger", "kept: 0.8 % better, needs 5 %")
    assert champions(acme) == ["v1"]
    assert not MLAlert.objects.exists()


def test_a_failed_guard_asks_a_person(acme):
    a_version(acme, "champion")
    version = apply(decision("v1", changes={"candidate_rmse": 3.2}), a_version(acme), by=None, as_of=DAY)
    alert = MLAlert.objects.get()
    assert version.status == "challenger"
    assert (alert.customer, alert.alert_type, alert.severity, alert.requires_action) == (
        acme, "promotion_pending", "warning", True,
    )  # fmt: skip
    assert (alert.message, alert.action_url) == (version.decision["reason"], "/models/review/v2")
    assert alert.metadata["failed_guards"] == ["RMSE"]


def test_a_champion_that_changed_meanwhile_turns_it_into_a_question(acme):
    a_version(acme, "champion")
    made = decision("v1")
    promote(a_version(acme), **SYSTEM)
    version = apply(made, a_version(acme), by=None, as_of=DAY)
    assert (version.status, champions(acme)) == ("challenger", ["v2"])
    assert version.decision["reason"] == (
        "10.0 % better and all guards pass, but meanwhile v2 is champion: a person decides"
    )
    assert MLAlert.objects.get().message == version.decision["reason"]


def test_what_is_registered_as_it_stays_leaves_no_second_event(acme):
    version = a_version(acme, "experimental")
    events = version.events.count()
    held = decision(may_promote=False, hold_status=Status.EXPERIMENTAL)
    assert apply(held, version, by=None, as_of=DAY).status == "experimental"
    assert version.events.count() == events


def test_a_broken_candidate_is_not_applied(acme):
    version = a_version(acme)
    shutil.rmtree(Path(settings.ARTEFACT_DIR, version.artefact))
    with pytest.raises(UnusableVersion):
        apply(decision(), version, by=None, as_of=DAY)
    version.refresh_from_db()
    assert (version.status, version.decision) == ("candidate", {})


def test_it_happens_whole_or_not_at_all(acme, monkeypatch):
    a_version(acme, "champion")
    version = a_version(acme)

    def fail(*_args, **_options):
        raise RuntimeError("no alert today")

    monkeypatch.setattr(promotion, "raise_alert", fail)
    with pytest.raises(RuntimeError):
        apply(decision("v1", changes={"candidate_rmse": 3.2}), version, by=None, as_of=DAY)
    version.refresh_from_db()
    assert (version.status, version.decision, chain(version)) == ("candidate", {}, [("", "candidate")])


def test_a_scheduled_challenger_gives_way_where_the_shadow_is_full(acme):
    a_version(acme, "champion")
    held = [a_version(acme, "challenger") for _ in range(3)]
    version = apply(decision("v1", changes={"improvement": 1.0}), a_version(acme), by=None, as_of=DAY, scheduled=True)
    assert version.status == "archived"
    assert version.decision["status"] == "archived"
    assert version.events.last().reason == (
        "kept: 1.0 % better, needs 5 %; archived, as there is no room in shadow (at most 3): "
        "v2 is next, v3 is next, v4 is next"
    )
    assert {ModelVersion.objects.get(pk=one.pk).status for one in held} == {"challenger"}


@pytest.mark.parametrize(
    ("scheduled", "changes", "others"),
    [(False, {"improvement": 1}, 3), (True, {"candidate_rmse": 4}, 3), (True, {"improvement": 1}, 2)],
)
def test_only_a_scheduled_one_without_an_open_decision_beyond_the_third_gives_way(scheduled, changes, others, acme):
    a_version(acme, "champion")
    for _ in range(others):
        a_version(acme, "challenger")
    a_version(acme, "challenger", segment="department:Dairy")
    version = apply(decision("v1", changes=changes), a_version(acme), by=None, as_of=DAY, scheduled=scheduled)
    assert version.status == "challenger"


def test_a_version_that_is_a_challenger_already_does_not_count_itself(acme):
    a_version(acme, "champion")
    *_, third = [a_version(acme, "challenger") for _ in range(3)]
    made = decision("v1", changes={"improvement": 1.0})
    assert apply(made, third, by=None, as_of=DAY, scheduled=True).status == "challenger"


# --- What follows


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(promotion, "_followers", [])
    heard = []
    promotion.on_promotion(heard.append)
    return heard


def test_followers_are_told_who_serves_now_and_who_did_before(told, acme):
    old, new = a_version(acme, "champion"), a_version(acme)
    promote(new, **SYSTEM)
    assert (told[-1].version, told[-1].former, told[-1].reason) == (new, old, "by rule")


def test_what_a_follower_writes_comes_with_the_promotion_or_not_at_all(told, acme):
    def fail(_promotion):
        a_version(acme, "challenger")
        raise RuntimeError

    promotion.on_promotion(fail)
    with pytest.raises(RuntimeError):
        promote(a_version(acme), **SYSTEM)
    assert champions(acme) == []
    assert ModelVersion.objects.count() == 1


# --- Many at once, on both databases


@pytest.mark.django_db(transaction=True)
def test_of_eight_promotions_at_once_against_one_champion_one_succeeds(acme):
    a_version(acme, "champion")
    challengers = [a_version(acme, "challenger") for _ in range(8)]
    done = at_once(lambda version: promote(version, **SYSTEM, expected_champion="v1"), challengers)
    assert sorted(type(one).__name__ for one in done) == ["ModelVersion"] + ["StaleChampion"] * 7
    winner = next(one for one in done if isinstance(one, ModelVersion))
    assert champions(acme) == [winner.version]
    assert VersionEvent.objects.filter(to_status="champion").count() == 2


@pytest.mark.django_db(transaction=True)
def test_eight_promotions_at_once_against_nobody_leave_one_champion_and_a_whole_chain(acme):
    versions = [a_version(acme, "challenger") for _ in range(8)]
    done = at_once(lambda version: promote(version, **SYSTEM), versions)
    assert all(isinstance(one, ModelVersion) for one in done)
    assert len(champions(acme)) == 1
    for version in ModelVersion.objects.all():
        assert chain(version)[-1][1] == version.status
    taken = VersionEvent.objects.filter(reason__contains="took over")
    assert taken.count() == 7


@pytest.mark.django_db(transaction=True)
def test_promotions_and_registrations_at_once_wait_for_each_other(acme):
    parent = a_version(acme, "champion")
    challengers = [a_version(acme, "challenger") for _ in range(4)]

    def work(version):
        if version is None:
            return a_version(acme, parent=parent)
        return apply(decision("v1", changes={"candidate_rmse": 4}), version, by=None, as_of=DAY)

    done = at_once(work, [*challengers, None, None, None, None])
    assert [one for one in done if isinstance(one, Exception)] == []
    assert MLAlert.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_the_same_question_raised_at_once_is_one_alert(acme):
    version = a_version(acme, "challenger")
    made = decision("v9", changes={"candidate_rmse": 4})
    alerts = at_once(lambda _: promotion.ask_a_person(made, version), [version] * 8)
    assert len({alert.pk for alert in alerts}) == 1


def test_a_promotion_as_of_a_day_in_the_past_does_not_rewrite_who_has_served(acme):
    """As a retrain that is asked for with an earlier day makes it."""
    days = [DAY, DAY + dt.timedelta(days=9), DAY + dt.timedelta(days=4)]
    for day in days:
        promote(a_version(acme, as_of=day), by=None, reason="better", as_of=day)
    rules = RoutingRule.objects.order_by("pk").values_list("version__version", "valid_from", "valid_to")
    assert list(rules) == [("v1", days[0], days[1]), ("v2", days[1], days[1]), ("v3", days[1], None)]
    assert [rule.version.version for rule in RoutingRule.objects.of(acme).valid_on(days[2])] == ["v1"]
    assert audit(acme).faults == ()
