"""API tokens: shown once, found by their hash, gone when revoked, expired or when their person goes."""

import datetime as dt
import json
from io import StringIO

import pytest
import time_machine
from django.core.management import CommandError, call_command

from shelfops import tenancy, tokens
from shelfops.models import ApiToken, Customer, Membership, Role, User
from shelfops.tokens import NoTokenForThem

NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def issue(*args: object) -> dict:
    out = StringIO()
    call_command("issue_token", *map(str, args), "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_token_is_printed_once_and_stored_as_a_hash(alice):
    report = issue("ALICE@acme.example", "--days", 30, "--name", "nightly")
    token = ApiToken.objects.get()
    assert (token.user, token.name, token.prefix) == (alice, "nightly", report["token"][:10])
    assert report["token"] not in str(ApiToken.objects.values().get())
    assert tokens.find(report["token"]) == token
    assert round((token.expires_at - token.created_at) / dt.timedelta(days=1)) == 30


def test_like_all_commands_it_takes_the_customer(alice):
    assert issue(alice.email, "--customer", "acme")["token"]


def test_the_command_says_that_it_is_not_shown_again(alice):
    out = StringIO()
    call_command("issue_token", alice.email, stdout=out)
    assert "not shown again" in out.getvalue()

    assert tokens.find(out.getvalue().split()[-1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody@acme.example"], "There is no person"),
        (["alice@acme.example", "--customer", "nowhere"], "There is no customer “nowhere”"),
        (["alice@acme.example", "--customer", "globex"], "has no role at globex"),
        (["alice@acme.example", "--days", "0"], "1 to 366 days"),
        (["alice@acme.example", "--days", "1000"], "1 to 366 days"),
        (["alice@acme.example", "--name", ""], "Name the token"),
    ],
)
def test_a_token_is_refused_in_one_line(arguments, words, alice, globex):
    with pytest.raises(CommandError, match=words):
        issue(*arguments)
    assert not ApiToken.objects.exists()


def test_a_token_brings_its_person_and_their_customers_in_one_query(alice, globex, django_assert_num_queries):
    Membership.objects.create(user=alice, customer=globex, role="retail_ops")
    _, text = tokens.issue(alice, name="x", days=1)
    tokens.find(text)  # notes the use
    with django_assert_num_queries(1):
        found = tokens.find(text)
        assert (found.user.email, [one.slug for one in found.customers]) == (alice.email, ["acme", "globex"])
    assert found.customers == list(Customer.objects.order_by("slug"))
    assert [one.created_at for one in found.customers] == [one.created_at for one in Customer.objects.order_by("slug")]


@pytest.mark.parametrize("role", Role.values)
def test_a_token_brings_the_customers_that_its_person_may_read(role, alice, globex):
    Membership.objects.create(user=alice, customer=globex, role=role)
    _, text = tokens.issue(alice, name="x", days=1)
    assert tokens.find(text).customers == list(tenancy.customers_of(alice).order_by("slug"))


def test_a_token_of_who_lost_the_membership_brings_no_customer(alice):
    _, text = tokens.issue(alice, name="x", days=1)
    alice.memberships.all().delete()
    assert tokens.find(text).customers == []


@pytest.mark.parametrize("loss", [{"is_active": False}, {}])
def test_who_may_not_log_in_gets_none(loss, alice):
    User.objects.filter(pk=alice.pk).update(**loss)
    if not loss:
        Membership.objects.all().delete()
    alice.refresh_from_db()
    with pytest.raises(NoTokenForThem, match="no role"):
        tokens.issue(alice, name="x", days=1)


def test_an_expired_token_opens_nothing(alice):
    with time_machine.travel(NOON, tick=False) as clock:
        _, text = tokens.issue(alice, name="x", days=1)
        clock.shift(dt.timedelta(hours=23, minutes=59))
        assert tokens.find(text)
        clock.shift(dt.timedelta(minutes=1))
        assert tokens.find(text) is None


def test_a_revoked_token_opens_nothing_and_keeps_who_revoked_it(alice, root):
    token, text = tokens.issue(alice, name="x", days=1)
    tokens.revoke(token, by=root)
    tokens.revoke(token, by=alice)
    assert tokens.find(text) is None
    token.refresh_from_db()
    assert token.revoked_by == root


def test_a_token_goes_with_its_person(alice):
    _, text = tokens.issue(alice, name="x", days=1)
    User.objects.update(is_active=False)
    assert tokens.find(text) is None


@pytest.mark.parametrize("text", ["", "sho_", "x" * 47, "sho_" + "ä" * 43, "sho_" + "\0" * 43, "sho_" + "a" * 43])
def test_any_other_text_finds_nothing(text, alice):
    tokens.issue(alice, name="x", days=1)
    assert tokens.find(text) is None


def test_use_is_noted_once_a_minute(alice, django_assert_num_queries):
    with time_machine.travel(NOON, tick=False) as clock:
        token, text = tokens.issue(alice, name="x", days=1)
        with django_assert_num_queries(2):
            tokens.find(text)
        clock.shift(dt.timedelta(seconds=59))
        with django_assert_num_queries(1):
            tokens.find(text)
        clock.shift(dt.timedelta(seconds=1))
        tokens.find(text)
        token.refresh_from_db()
        assert token.last_used_at == NOON + dt.timedelta(minutes=1)


# --- In the admin

PAGE = "/admin/shelfops/apitoken/"


def revoke_in_admin(client, *chosen):
    return client.post(PAGE, {"action": "revoke", "_selected_action": [token.pk for token in chosen]})


def test_people_see_and_revoke_their_own_tokens(alice, bob, client_of):
    own, text = tokens.issue(alice, name="mine", days=1)
    other, others = tokens.issue(bob, name="bobs", days=1)
    page = client_of(alice).get(PAGE).content.decode()
    assert "mine" in page
    assert "bobs" not in page
    assert client_of(alice).get(f"{PAGE}{other.pk}/change/").status_code in (302, 404)
    revoke_in_admin(client_of(alice), own, other)
    assert tokens.find(text) is None
    assert tokens.find(others) == other


def test_a_superuser_revokes_anybodys(alice, root, client_of):
    token, text = tokens.issue(alice, name="mine", days=1)
    assert "mine" in client_of(root).get(PAGE).content.decode()
    revoke_in_admin(client_of(root), token)
    token.refresh_from_db()
    assert (tokens.find(text), token.revoked_by) == (None, root)


@pytest.mark.parametrize("page", ["add/", "{pk}/delete/"])
def test_tokens_are_neither_made_nor_deleted_in_the_admin(page, alice, root, client_of):
    token, _ = tokens.issue(alice, name="mine", days=1)
    for person in (alice, root):
        assert client_of(person).get(PAGE + page.format(pk=token.pk)).status_code == 403
    shown = client_of(alice).get(f"{PAGE}{token.pk}/change/").content.decode()
    assert token.digest not in shown
    assert 'name="expires_at_0"' not in shown
