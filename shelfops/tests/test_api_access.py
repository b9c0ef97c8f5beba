"""Who may call what: every endpoint by every role, by a passer-by and by a stranger; tokens, sessions, customers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import time_machine
from django.test import Client
from django.urls import get_resolver, resolve
from django.utils import timezone

from shelfops import tokens
from shelfops.models import ApiToken, Membership, User
from shelfops.rest.views import Endpoint
from shelfops.tests.api_world import World, a_world

V1 = "/api/v1"
EVERYBODY, SCIENCE, MANAGERS = "alice bob charlie root", "alice bob root", "bob root"
PEOPLE = ["alice", "bob", "charlie", "root"]
NOTES = {"notes": "looked at the backtest"}
WHY, DECIDED = {"rationale": "high variability"}, {"decision_rationale": "no benefit"}
PROPOSAL = {"experiment_name": "Tiers", "hypothesis": "They differ.", "experiment_type": "segmentation"}


@dataclass(frozen=True)
class Call:
    """A call that is in order, and who may make it."""

    method: str
    path: str
    who: str
    body: dict = field(default_factory=dict)
    success: int = 200

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def by(self, client: Client, world: World, **headers: str):
        path = V1 + self.path.format(world=world)
        body = {"data": self.body, "content_type": "application/json"} if self.method != "get" else {}
        return getattr(client, self.method)(path, **body, headers=headers)


CALLS = [
    Call("get", "/models", EVERYBODY),
    Call("get", "/models/v2", EVERYBODY),
    Call("post", "/models/v3/review", MANAGERS, {"action": "approve", **NOTES}),
    Call("post", "/models/v3/review", MANAGERS, {"action": "reject", **NOTES}),
    Call("post", "/models/v4/review", SCIENCE, {"action": "approve", **NOTES}),
    Call("post", "/models/v4/review", SCIENCE, {"action": "reject", **NOTES}),
    Call("post", "/models/v1/rollback", MANAGERS, {"reason": "v2 misses promotions"}),
    Call("post", "/retrain", SCIENCE, {"reason": "new assortment"}, 202),
    Call("get", "/retrain/{world.run.pk}", EVERYBODY),
    Call("get", "/experiments", EVERYBODY),
    Call("post", "/experiments", SCIENCE, PROPOSAL, 201),
    Call("get", "/experiments/{world.proposed.pk}", EVERYBODY),
    Call("get", "/experiments/{world.in_shadow.pk}/results", EVERYBODY),
    Call("patch", "/experiments/{world.proposed.pk}/approve", MANAGERS, WHY),
    Call("patch", "/experiments/{world.proposed.pk}/reject", MANAGERS, WHY),
    Call("post", "/experiments/{world.approved.pk}/start", SCIENCE, {}, 202),
    Call("post", "/experiments/{world.in_shadow.pk}/complete", SCIENCE, {"decision": "reject", **DECIDED}),
    Call("post", "/experiments/{world.in_shadow.pk}/cancel", SCIENCE, WHY),
    Call("post", "/experiments/{world.adopted.pk}/rollback", MANAGERS, WHY),
    Call("get", "/retraining-log", EVERYBODY),
    Call("get", "/retraining-log/{world.log.pk}", EVERYBODY),
    Call("get", "/backtests", EVERYBODY),
    Call("get", "/shadow-predictions", EVERYBODY),
    Call("get", "/forecasts?store_id=s1&product_id=p1", EVERYBODY),
    Call("get", "/routing", EVERYBODY),
    Call("get", "/routing?store_id=s1&product_id=p1", EVERYBODY),
    Call("get", "/drift", EVERYBODY),
    Call("get", "/drift/incidents", EVERYBODY),
    Call("get", "/drift/incidents/{world.incident.pk}", EVERYBODY),
    Call("post", "/drift/incidents/{world.unreplaced.pk}/retrain", SCIENCE, {"reason": "The sales are in."}, 202),
    Call("post", "/drift/incidents/{world.unreplaced.pk}/close", SCIENCE, NOTES),
    Call("get", "/ml-alerts", EVERYBODY),
    Call("get", "/ml-alerts/{world.alert.pk}", EVERYBODY),
    Call("patch", "/ml-alerts/{world.alert.pk}/read", EVERYBODY),
    Call("patch", "/ml-alerts/{world.alert.pk}/action", MANAGERS, {"action": "approve", **NOTES}),
    Call("patch", "/ml-alerts/{world.drift_alert.pk}/action", SCIENCE, {"action": "approve", **NOTES}),
    Call("patch", "/ml-alerts/{world.alert.pk}/action", SCIENCE, {"action": "dismiss", **NOTES}),
]
READING = [call for call in CALLS if call.method == "get"]


@pytest.fixture
def world(acme) -> World:
    return a_world(acme)


@pytest.fixture
def bearer(acme):
    """Headers of a program that calls for a person."""
    return lambda user: {"Authorization": f"Token {tokens.issue(user, name='test', days=1)[1]}"}


# --- The permission matrix


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_who_may_call_what(call, name, world, request, client_of):
    answer = call.by(client_of(request.getfixturevalue(name)), world)
    expected = call.success if name in call.who.split() else 403
    assert answer.status_code == expected, answer.content
    if expected == 403:
        assert "Who may:" in answer.json()["detail"]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_passer_by_gets_401(call, world, client):
    answer = call.by(client, world)
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Token")
    assert "Authorization: Token" in answer.json()["detail"]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_stranger_finds_nothing(call, world, mallory, client_of):
    client = client_of(mallory)
    named = call.by(client, world, **{"X-Customer": "acme"})
    assert (named.status_code, named.json()["detail"]) == (404, "There is no customer “acme” among yours.")
    answer = call.by(client, world)
    if call.method == "post" and call.path in ("/retrain", "/experiments"):  # at their own customer
        assert answer.status_code == call.success
    elif answer.status_code == 200:
        assert answer.json()["results"] == []
    else:
        assert answer.status_code == 404


def test_who_approved_an_experiment_does_not_complete_it(world, client_of):
    call = next(call for call in CALLS if call.path.endswith("/complete"))
    answer = call.by(client_of(world.in_shadow.approved_by), world)
    assert (answer.status_code, "another person has to complete it" in answer.json()["detail"]) == (403, True)


def test_another_customers_names_appear_nowhere(world, globex, alice, mallory, client_of):
    a_world(globex)
    named = [call for call in READING if "world" not in call.path]
    assert any("globex" in call.by(client_of(mallory), world).content.decode() for call in named)
    for call in READING:
        assert "globex" not in call.by(client_of(alice), world).content.decode(), call


# --- Every endpoint of the interface is there, and every endpoint is in the matrix

INTERFACE = [
    "/experiments", "/experiments/1", "/experiments/1/results", "/experiments/1/approve", "/experiments/1/reject",
    "/experiments/1/start", "/experiments/1/complete", "/experiments/1/cancel", "/experiments/1/rollback",
    "/models", "/models/v13", "/models/v13_electronics", "/models/v13/review", "/models/v13/rollback", "/retrain",
    "/retraining-log", "/backtests", "/shadow-predictions", "/routing", "/drift", "/forecasts", "/ml-alerts",
    "/ml-alerts/1/read", "/ml-alerts/1/action", "/health/live", "/health/ready",
]  # fmt: skip


@pytest.mark.parametrize("path", INTERFACE)
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_endpoint_of_the_interface_resolves(path, slash):
    assert resolve(f"{V1}{path}{slash}").func.__name__ != "unknown_endpoint"


def _patterns() -> Iterator[tuple[str, str]]:
    """Method and path of everything that the router serves."""
    for pattern in get_resolver("shelfops.api").url_patterns:
        for inner in getattr(pattern, "url_patterns", []):
            path = re.sub(r"\(\?P<\w+>[^)]+\)", "1", str(inner.pattern)).strip("^$").removesuffix("/?")
            for method in inner.callback.actions:
                if method != "head":
                    yield method, f"/{path}"


def test_every_endpoint_is_in_the_matrix():
    called = {(call.method, re.sub(r"\{[^}]+\}|(?<=/models/)v\d", "1", call.path.partition("?")[0])) for call in CALLS}
    assert set(_patterns()) == called


def test_every_handler_that_creates_or_decides_answers_once():
    """Marking as read is the same however often."""
    for pattern in get_resolver("shelfops.api").url_patterns:
        for inner in getattr(pattern, "url_patterns", []):
            view = inner.callback
            assert issubclass(view.cls, Endpoint)
            for name in {view.actions.get("post"), view.actions.get("patch")} - {None, "read"}:
                assert getattr(view.cls, name).answers_once


# --- Who calls


def test_a_token_opens_what_its_person_may(world, alice, bearer, client):
    assert client.get(f"{V1}/models", headers=bearer(alice)).status_code == 200
    refused = client.post(f"{V1}/models/v1/rollback", {"reason": "x"}, "application/json", headers=bearer(alice))
    assert refused.status_code == 403


def test_a_token_needs_no_csrf_and_a_session_does(world, bob, bearer, client_of):
    call = Call("post", "/models/v3/review", MANAGERS, {"action": "reject", **NOTES})
    refused = call.by(client_of(bob, enforce_csrf_checks=True), world)
    assert (refused.status_code, "as the header “X-CSRFToken”" in refused.json()["detail"]) == (403, True)
    assert call.by(Client(enforce_csrf_checks=True), world, **bearer(bob)).status_code == 200


@pytest.mark.parametrize(
    "header", ["Token", "Token ", "Token x y", "Token sho_" + "a" * 43, "Bearer abc", "Token \xe4", "Basic YTpi"]
)
def test_other_headers_open_nothing(header, world, client):
    answer = client.get(f"{V1}/models", headers={"Authorization": header})
    assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Token")
    assert "issue_token EMAIL prints" in answer.json()["detail"]


@pytest.mark.parametrize("loss", ["revoked", "expired", "inactive"])
def test_a_token_that_was_lost_opens_nothing(loss, world, alice, root, bearer, client):
    headers = bearer(alice)
    assert client.get(f"{V1}/models", headers=headers).status_code == 200
    token = ApiToken.objects.get()
    match loss:
        case "revoked":
            tokens.revoke(token, by=root)
        case "expired":
            ApiToken.objects.update(expires_at=token.created_at)
        case "inactive":
            User.objects.filter(pk=alice.pk).update(is_active=False)
    assert client.get(f"{V1}/models", headers=headers).status_code == 401


def test_who_lost_the_membership_is_out_at_once(world, alice, bearer, client, client_of):
    headers, browser = bearer(alice), client_of(alice)
    alice.memberships.all().delete()
    for answer in (client.get(f"{V1}/models", headers=headers), browser.get(f"{V1}/models")):
        assert answer.status_code == 403
        assert "no role at any customer" in answer.json()["detail"]


def test_an_inactive_person_is_out_of_the_session(world, alice, client_of):
    browser = client_of(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert browser.get(f"{V1}/models").status_code == 401


# --- For which customer


@pytest.fixture(params=["session", "token"])
def calling(request, bearer, client_of):
    """A program or a browser of that person."""
    return lambda user: client_of(user) if request.param == "session" else Client(headers=bearer(user))


def test_who_has_several_customers_names_one(world, globex, alice, calling):
    Membership.objects.create(user=alice, customer=globex, role="retail_ops")
    client = calling(alice)
    answer = client.get(f"{V1}/models")
    assert (answer.status_code, answer.json()) == (400, {"X-Customer": ["Name one of your customers: acme, globex."]})
    assert client.get(f"{V1}/models", headers={"X-Customer": "acme"}).json()["count"] == 4
    assert client.get(f"{V1}/models", headers={"X-Customer": "globex"}).json()["count"] == 0
    refused = client.post(f"{V1}/retrain", {"reason": "x"}, "application/json", headers={"X-Customer": "globex"})
    assert refused.status_code == 403


@pytest.mark.parametrize("slug", ["globex", "nowhere", "ACME", "a' OR 1=1", "a\0b", "ä" * 500])
def test_any_other_customer_is_not_found(slug, world, globex, alice, calling):
    assert calling(alice).get(f"{V1}/models", headers={"X-Customer": slug}).status_code == 404


@pytest.mark.parametrize("has_a_role", [False, True])
def test_a_superuser_chooses_any(has_a_role, world, globex, root, calling):
    if has_a_role:
        Membership.objects.create(user=root, customer=globex, role="retail_ops")
    client = calling(root)
    assert client.get(f"{V1}/models").status_code == 400
    assert client.get(f"{V1}/models", headers={"X-Customer": "acme"}).json()["count"] == 4


# --- How often


@pytest.fixture
def one_minute():
    """A minute that does not end in the middle of a test."""
    with time_machine.travel(timezone.now().replace(second=5), tick=False):
        yield


def test_a_person_is_slowed_down_not_the_others(one_minute, world, alice, bob, client_of, settings):
    settings.API_CALLS_PER_MINUTE = 3
    codes = [client_of(alice).get(f"{V1}/models").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    late = client_of(alice).get(f"{V1}/models")
    assert 1 <= int(late["Retry-After"]) <= 60
    words = f"Too many calls within this minute: call again in {late['Retry-After']} seconds."
    assert late.json() == {"detail": words}
    assert client_of(bob).get(f"{V1}/models").status_code == 200


def test_an_address_is_slowed_down(one_minute, world, client, settings):
    settings.API_ANONYMOUS_CALLS_PER_MINUTE = 2
    assert [client.get(f"{V1}/health/live").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get(f"{V1}/models").status_code == 429
    assert client.get(f"{V1}/models", REMOTE_ADDR="10.0.0.9").status_code == 401
    forged = client.get(f"{V1}/models", headers={"X-Forwarded-For": "10.0.0.8"})
    assert forged.status_code == 429


def test_guessing_tokens_is_slowed_down_and_hurts_no_valid_one(one_minute, world, alice, bearer, client, settings):
    settings.API_FAILURES_PER_MINUTE = 2
    bad = {"Authorization": "Token sho_" + "a" * 43}
    assert [client.get(f"{V1}/models", headers=bad).status_code for _ in range(3)] == [401, 401, 429]
    assert client.get(f"{V1}/models", headers=bearer(alice)).status_code == 200


# --- What is no endpoint


@pytest.mark.parametrize("path", ["/api/", "/api/v1", "/api/v2/models", "/api/v1/nothing", "/api/v1/models/v2/x"])
def test_an_unknown_address_is_told_as_json(path, alice, client_of):
    answer = client_of(alice).get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("No endpoint has this address. GET /api/schema lists all of them")


@pytest.mark.parametrize("method", ["put", "delete", "options"])
def test_other_methods_are_refused(method, world, alice, client_of):
    answer = getattr(client_of(alice), method)(f"{V1}/models")
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")
    assert answer.json()["detail"].endswith("not allowed. Possible here: GET, HEAD.")
