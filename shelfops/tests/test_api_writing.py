"""What programs change over the API: decisions with their conflicts, bodies that are none, requests sent twice."""

import datetime as dt
import threading
import uuid
from operator import itemgetter

import pytest
import time_machine
from django.db import connections
from django.utils import timezone

import alerts.api
import forecasting.experiments_api
import mlops.api
from mlops import promotion
from mlops.models import ModelReview, ModelVersion
from mlops.tests.ledger import DAY, a_version
from mlops.tests.races import at_once
from shelfops.models import JobRun, StoredAnswer, User
from shelfops.rest import replay
from shelfops.tests.api_world import World, a_world

V1 = "/api/v1"
REVIEW = f"{V1}/models/v3/review"
APPROVAL = {"action": "approve", "notes": "better in every department"}


@pytest.fixture
def world(acme) -> World:
    return a_world(acme)


@pytest.fixture
def post(bob, client_of):
    """What bob is answered: (status, data)."""
    client = client_of(bob)

    def send(path: str, body: object, method: str = "post", **headers: str):
        answer = getattr(client, method)(path, body, content_type="application/json", headers=headers)
        return answer.status_code, answer.json()

    return send


# --- Decisions


def test_an_approved_challenger_serves_and_its_alert_is_actioned(world, post):
    code, answer = post(REVIEW, APPROVAL)
    assert (code, answer["status"], answer["champion"]) == (200, "champion", "v3")
    assert (answer["review"]["by"], answer["review"]["notes"]) == ("bob@acme.example", APPROVAL["notes"])
    assert answer["events"][-1]["by"] == "bob@acme.example"
    world.alert.refresh_from_db()
    assert (world.alert.status, world.alert.decision) == ("actioned", "approved")
    assert promotion.champion_of(world.challenger).version == "v3"


def test_the_same_review_again_answers_the_same_and_another_409(world, post):
    assert post(REVIEW, APPROVAL) == post(REVIEW, APPROVAL)
    code, answer = post(REVIEW, {"action": "reject", "notes": "no"})
    assert (code, answer["allowed"]) == (409, [])
    assert "was approved by bob@acme.example on 2026-03-03 (better in every department)" in answer["detail"]


def test_an_approved_alert_has_promoted(world, post):
    code, answer = post(f"{V1}/ml-alerts/{world.alert.pk}/action", APPROVAL, "patch")
    assert (code, answer["status"], answer["decision"], answer["allowed_actions"]) == (200, "actioned", "approved", [])
    assert promotion.champion_of(world.challenger).version == "v3"


def test_what_cannot_be_approved_says_what_is_allowed(world, post):
    promotion.archive(world.challenger, by=None, reason="no", as_of=DAY)
    code, answer = post(REVIEW, APPROVAL)
    assert (code, answer["allowed"]) == (409, [])
    assert "v3 cannot be reviewed: it is archived since" in answer["detail"]
    code, answer = post(f"{V1}/models/v4/rollback", {"reason": "x"})
    assert (code, answer["allowed"]) == (409, ["archived", "champion"])


@pytest.mark.parametrize("expected", ["v1", "", "v99"])
def test_a_decision_against_another_champion_is_refused(expected, world, post):
    body = {**APPROVAL, "expected_champion": expected}
    for path, method in ((REVIEW, "post"), (f"{V1}/ml-alerts/{world.alert.pk}/action", "patch")):
        code, answer = post(path, body, method)
        assert (code, "but v2 is champion since" in answer["detail"]) == (409, True)
    rollback = {"reason": "x", "expected_champion": expected}
    assert post(f"{V1}/models/v1/rollback", rollback)[0] == 409
    assert not ModelReview.objects.exists()


def test_every_decision_about_who_serves_can_say_who_was_seen():
    """What the others decide cannot change unseen: a promotion ends a proposal's or an incident's status with it."""
    asked = {
        f"{prefix} {action}"
        for api in (alerts.api, mlops.api, forecasting.experiments_api)
        for prefix, view in api.ROUTES.items()
        for action, body in view.bodies.items()
        if "expected_champion" in body().fields
    }
    assert asked == {
        "models review",
        "models rollback",
        "ml-alerts act",
        "experiments complete",
        "experiments rollback",
    }


def test_an_incident_whose_champion_was_replaced_cannot_be_closed(acme, post):
    """Its closing says that the champion stays, so it needs no name: a promotion has closed it."""
    world = a_world(acme)
    unreplaced = world.unreplaced
    unreplaced.champion = a_version(acme, "champion", segment=unreplaced.segment)
    unreplaced.save()
    a_version(acme, "champion", segment=unreplaced.segment)
    for step, body in (("close", {"notes": "calendar"}), ("retrain", {"reason": "the sales are in"})):
        code, answer = post(f"{V1}/drift/incidents/{unreplaced.pk}/{step}", body)
        assert (code, answer["allowed"], "was closed on" in answer["detail"]) == (409, [], True)


def test_a_condition_that_is_not_looked_at_is_refused_and_nothing_done(world, post, bob, client_of):
    code, answer = post(REVIEW, APPROVAL, **{"If-Match": '"v2"'})
    assert (code, "expected_champion" in answer["If-Match"][0]) == (400, True)
    assert promotion.champion_of(world.challenger).version == "v2"
    assert client_of(bob).get(f"{V1}/models/v3", headers={"If-Match": "*"}).status_code == 200


def test_a_decision_against_the_champion_that_was_seen_counts(world, post, bob, client_of):
    seen = client_of(bob).get(f"{V1}/models/v3").json()["champion"]
    assert post(REVIEW, {**APPROVAL, "expected_champion": seen})[0] == 200


def test_a_former_champion_serves_again(world, post):
    code, answer = post(f"{V1}/models/v1/rollback", {"reason": "v2 misses promotions"})
    assert (code, answer["status"], answer["events"][-1]["reason"]) == (200, "champion", "v2 misses promotions")


def test_reading_an_alert_is_the_callers_own(world, post, alice, bob, client_of):
    def listed(person, status):
        return [row["id"] for row in client_of(person).get(f"{V1}/ml-alerts?status={status}").json()["results"]]

    code, answer = post(f"{V1}/ml-alerts/{world.alert.pk}/read", {}, "patch")
    assert (code, answer["status"], answer["read_by"]) == (200, "read", "bob@acme.example")
    both = [world.alert.pk, world.drift_alert.pk]
    assert (listed(alice, "unread"), listed(alice, "read")) == (both, [])
    assert (listed(bob, "unread"), listed(bob, "read")) == (both[1:], both[:1])
    assert client_of(alice).get(f"{V1}/ml-alerts/{world.alert.pk}").json()["status"] == "unread"


def test_a_retrain_is_asked_for_and_followed(world, post, bob, client_of):
    answer = client_of(bob).post(f"{V1}/retrain/", {"reason": "new shops", "params": {"max_leaves": 31}, "tier":
        "cold_start", "window_days": 60, "promote": False}, "application/json")  # fmt: skip
    told = answer.json()
    assert (answer.status_code, told["status"], told["requested_by"]) == (202, "queued", "bob@acme.example")
    run = JobRun.objects.get(pk=told["retrain_id"])
    assert run.arguments["trigger"] == "manual"
    assert (run.arguments["params"], run.arguments["window_days"]) == ({"max_leaves": 31}, 60)
    followed = client_of(bob).get(answer["Location"]).json()
    assert (followed["retrain_id"], followed["reason"], followed["version"]) == (run.pk, "new shops", None)


# --- Bodies that are none


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/models/v3/review", {"action": "approve"}, "notes"),
        ("/models/v3/review", {"action": "approve", "notes": "  "}, "notes"),
        ("/models/v3/review", {"action": "approve", "notes": "x" * 4001}, "notes"),
        ("/models/v3/review", {"action": "approve", "notes": ["x"]}, "notes"),
        ("/models/v3/review", {"action": "approve", "notes": 1}, "notes"),
        ("/models/v3/review", {"action": "dismiss", "notes": "x"}, "action"),
        ("/models/v3/review", {**APPROVAL, "expected_champoin": "v1"}, "expected_champoin"),
        ("/models/v3/review", {**APPROVAL, "verdict": "weather"}, "verdict"),
        ("/models/v1/rollback", {}, "reason"),
        ("/retrain", {}, "reason"),
        ("/retrain", {"reason": ""}, "reason"),
        ("/retrain", {"reason": "x", "trigger": "scheduled"}, "trigger"),
        ("/retrain", {"reason": "x", "window_days": 10**30}, "window_days"),
        ("/retrain", {"reason": "x", "window_days": 3}, "window_days"),
        ("/retrain", {"reason": "x", "tier": "magic"}, "tier"),
        ("/retrain", {"reason": "x", "params": {"nthread": 1}}, "params"),
        ("/retrain", {"reason": "x", "params": {"max_leaves": 10**9}}, "params"),
        ("/retrain", {"reason": "x", "params": []}, "params"),
    ],
)
def test_a_bad_field_is_named(path, body, field, world, post):
    code, answer = post(V1 + path, body)
    assert (code, list(answer)) == (400, [field])


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff\xfe", b'{"action": NaN}', b"[" * 100_000,
        b'{"notes": "a\\u0000b", "action": "approve"}', b'{"notes": "\\ud800", "action": "approve"}',
        b'{"a\\u0000": 1}', b'{"params": ' + b'{"a":' * 30 + b"1" + b"}" * 31, b"9" * 5000,
        b'{"notes": 1e400}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/models/v3/review", "/retrain"])
def test_a_body_that_is_no_object_of_text_gets_400(path, body, world, bob, client_of):
    answer = client_of(bob).post(V1 + path, body, content_type="application/json")
    assert answer.status_code == 400
    assert isinstance(answer.json(), dict)
    keyed = client_of(bob).post(V1 + path, body, "application/json", headers={"Idempotency-Key": "k"})
    assert keyed.status_code == 400


@pytest.mark.parametrize(
    ("kind", "code"),
    [("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("application/json; charset=bz2", 400),
     ("", 415)],
)  # fmt: skip
def test_another_content_type_is_refused(kind, code, world, bob, client_of):
    answer = client_of(bob).generic("POST", f"{V1}/retrain", b'{"reason": "x"}', kind)
    assert (answer.status_code, list(answer.json())) == (code, ["detail"])
    assert code != 415 or "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"'])
def test_a_body_that_is_no_object_is_told_so(body, world, bob, client_of):
    answer = client_of(bob).post(REVIEW, body, "application/json")
    assert (answer.status_code, answer.json()) == (400, {"detail": "The body must be a JSON object."})


def test_a_huge_body_is_refused(world, bob, client_of):
    body = b'{"reason": "' + b"x" * 3_000_000 + b'"}'
    for headers in ({}, {"Idempotency-Key": "k"}):
        answer = client_of(bob).post(f"{V1}/retrain", body, "application/json", headers=headers)
        words = {"detail": "The body is too large: at most 2,621,440 bytes."}
        assert (answer.status_code, answer.json()) == (413, words)


# --- Requests sent twice


def test_the_same_key_gets_the_first_answer(world, bob, client_of):
    client, key = client_of(bob), {"Idempotency-Key": str(uuid.uuid4())}
    first = client.post(f"{V1}/retrain", {"reason": "once"}, "application/json", headers=key)
    JobRun.objects.filter(pk=first.json()["retrain_id"]).update(status="running")
    again = client.post(f"{V1}/retrain/", {"reason": "once"}, "application/json", headers=key)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert (again["Location"], again["Idempotency-Replayed"]) == (first["Location"], "true")
    assert JobRun.objects.filter(slot__startswith="manual:", requested_by=bob).count() == 1


def test_without_a_key_each_request_counts(world, post):
    ids = {post(f"{V1}/retrain", {"reason": "again"})[1]["retrain_id"] for _ in range(2)}
    assert len(ids) == 2


def test_a_key_with_another_request_is_refused(world, post):
    key = {"Idempotency-Key": "k-1"}
    assert post(f"{V1}/retrain", {"reason": "one"}, **key)[0] == 202
    code, answer = post(f"{V1}/retrain", {"reason": "two"}, **key)
    assert (code, answer["detail"][:46]) == (422, "This Idempotency-Key came with another request")
    assert post(REVIEW, APPROVAL, **key)[0] == 422


def test_a_key_is_its_persons_own(world, post, alice, client_of):
    key = {"Idempotency-Key": "k-1"}
    _, first = post(f"{V1}/retrain", {"reason": "one"}, **key)
    other = client_of(alice).post(f"{V1}/retrain", {"reason": "one"}, "application/json", headers=key)
    assert other.json()["retrain_id"] != first["retrain_id"]


def test_a_refused_request_leaves_its_key_free(world, post):
    key = {"Idempotency-Key": "k-1"}
    assert post(REVIEW, {"action": "approve"}, **key)[0] == 400
    assert not StoredAnswer.objects.exists()
    assert post(REVIEW, APPROVAL, **key)[0] == 200


def test_who_lost_the_right_gets_no_stored_answer(world, post, bob):
    key = {"Idempotency-Key": "k-1"}
    assert post(REVIEW, APPROVAL, **key)[0] == 200
    bob.memberships.update(role="retail_ops")
    assert post(f"{V1}/retrain", {"reason": "one"}, **key)[0] == 403
    bob.memberships.all().delete()
    assert post(REVIEW, APPROVAL, **key)[0] == 403


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é", "a\tb"])
def test_a_key_that_is_none_is_named(key, world, post):
    code, answer = post(f"{V1}/retrain", {"reason": "x"}, **{"Idempotency-Key": key})
    assert (code, list(answer)) == (400, ["Idempotency-Key"])


def test_a_key_is_forgotten_after_a_day(world, post):
    key = {"Idempotency-Key": "k-1"}
    with time_machine.travel(timezone.now(), tick=False) as clock:
        _, first = post(f"{V1}/retrain", {"reason": "x"}, **key)
        clock.shift(dt.timedelta(days=1))
        _, later = post(f"{V1}/retrain", {"reason": "x"}, **key)
        assert later["retrain_id"] != first["retrain_id"]
        clock.shift(dt.timedelta(days=1))
        assert replay.forget_expired() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", range(3))
def test_of_an_approval_and_a_rejection_at_once_one_is_refused(turn, acme, bob, client_of):
    version = a_version(acme, "challenger")

    def send(action: str):
        body = {"action": action, "notes": "as I see it"}
        answer = client_of(bob).post(f"{V1}/models/{version}/review", body, "application/json")
        return answer.status_code, answer.json()

    answers = sorted(at_once(send, ["approve", "reject"][:: 1 if turn % 2 else -1]), key=itemgetter(0))
    assert [code for code, _ in answers] == [200, 409]
    assert "by bob@acme.example" in answers[1][1]["detail"]
    version.refresh_from_db()
    assert version.status == answers[0][1]["status"]
    assert version.events.exclude(from_status="").exclude(to_status="challenger").count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_one(acme, bob, client_of):
    """Both threads come in before either has answered; one does it, the other gets its answer."""
    version = a_version(acme, "challenger")
    together, answers = threading.Barrier(2), []

    def send() -> None:
        client = client_of(User.objects.get(pk=bob.pk))
        together.wait()
        answer = client.post(
            f"{V1}/models/{version}/review", APPROVAL, "application/json", headers={"Idempotency-Key": "one"}
        )
        answers.append((answer.status_code, answer.get("Idempotency-Replayed")))
        connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _ in answers] == [200, 200]
    assert [replayed for _, replayed in answers if replayed] == ["true"]
    assert ModelVersion.objects.get().events.filter(to_status="champion").count() == 1
