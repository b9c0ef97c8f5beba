"""Who may do what, cell by cell as the permission table says it."""

import pytest
from django.contrib.auth.models import AnonymousUser

from shelfops import tenancy
from shelfops.models import Customer, Membership, Role, User
from shelfops.tenancy import Action, NotAllowed

EVERYBODY, SCIENCE, MANAGERS = "alice bob charlie", "alice bob", "bob"
MAY = {
    "READ": EVERYBODY,
    "MARK_READ": EVERYBODY,
    "PROPOSE_EXPERIMENT": SCIENCE,
    "RETRAIN": SCIENCE,
    "REGISTER_SOURCE": SCIENCE,
    "LOAD_DATA": SCIENCE,
    "DISMISS_ALERT": SCIENCE,
    "REVIEW_DRIFT": SCIENCE,
    "COMPLETE_EXPERIMENT": SCIENCE,
    "DECIDE_PROPOSAL": MANAGERS,
    "REVIEW_PROMOTION": MANAGERS,
    "ROLL_BACK": MANAGERS,
    "APPROVE_SOURCE": MANAGERS,
    "MANAGE": MANAGERS,
}
PEOPLE = ["alice", "bob", "charlie", "mallory"]


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("action", MAY)
def test_the_matrix_holds(name, action, acme, request):
    person = request.getfixturevalue(name)
    assert tenancy.allowed(person, acme, Action[action]) is (name in MAY[action].split())


def test_every_action_is_in_the_table():
    assert set(MAY) == set(Action.__members__)


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("action", MAY)
def test_customers_of_agrees_with_allowed(name, action, acme, globex, request):
    person = request.getfixturevalue(name)
    expected = {customer for customer in (acme, globex) if tenancy.allowed(person, customer, Action[action])}
    assert set(tenancy.customers_of(person, Action[action])) == expected


def test_a_superuser_may_do_everything(root, acme):
    assert all(tenancy.allowed(root, acme, action) for action in Action)


@pytest.mark.parametrize("name", ["bob", "root"])
def test_who_is_inactive_may_nothing(name, acme, request):
    person = request.getfixturevalue(name)
    person.is_active = False
    assert not any(tenancy.allowed(person, acme, action) for action in Action)
    assert not tenancy.customers_of(person).exists()
    assert not tenancy.scope(Membership.objects.all(), person).exists()
    assert not tenancy.has_a_role(person)


def test_a_passer_by_may_nothing(acme):
    assert not any(tenancy.allowed(AnonymousUser(), acme, action) for action in Action)
    assert not tenancy.has_a_role(AnonymousUser())


def test_a_role_counts_only_at_its_customer(alice, acme, globex):
    Membership.objects.create(user=alice, customer=globex, role=Role.RETAIL_OPS)
    assert tenancy.allowed(alice, acme, Action.RETRAIN)
    assert not tenancy.allowed(alice, globex, Action.RETRAIN)
    assert list(tenancy.customers_of(alice, Action.RETRAIN)) == [acme]


def test_a_refusal_names_who_may(alice, acme):
    with pytest.raises(NotAllowed, match=r"You may not roll a model back at Acme Stores. Who may: ML manager."):
        tenancy.require(alice, acme, Action.ROLL_BACK)


def test_scope_leaves_the_rows_of_the_persons_customers(alice, bob, mallory, acme):
    assert {row.user for row in tenancy.scope(Membership.objects.all(), alice)} == {alice, bob}
    assert tenancy.scope(Customer.objects.all(), alice, "pk").get() == acme


def test_a_person_without_a_role_may_not_log_in(db):
    assert not tenancy.has_a_role(User.objects.create_user("dora@example.com", "x"))
