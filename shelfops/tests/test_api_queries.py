"""How many queries a change over the API takes, checked in: the same however much there is."""

import pytest

from shelfops.tests.api_world import World, a_world, more
from shelfops.tests.test_api_access import CALLS, Call

WRITING = [call for call in CALLS if call.method != "get"]
# Of a change by the bearer of a session, savepoints included.
QUERIES = {
    "post /models/v3/review approve": 56,
    "post /models/v3/review reject": 27,
    "post /models/v4/review approve": 50,
    "post /models/v4/review reject": 32,
    "post /models/v1/rollback": 45,
    "post /retrain": 12,
    "post /experiments": 13,
    "patch /experiments/{world.proposed.pk}/approve": 15,
    "patch /experiments/{world.proposed.pk}/reject": 15,
    "post /experiments/{world.approved.pk}/start": 26,
    "post /experiments/{world.in_shadow.pk}/complete": 26,
    "post /experiments/{world.in_shadow.pk}/cancel": 18,
    "post /experiments/{world.adopted.pk}/rollback": 56,
    "post /drift/incidents/{world.unreplaced.pk}/retrain": 16,
    "post /drift/incidents/{world.unreplaced.pk}/close": 20,
    "patch /ml-alerts/{world.alert.pk}/read": 15,
    "patch /ml-alerts/{world.alert.pk}/action approve": 60,
    "patch /ml-alerts/{world.drift_alert.pk}/action approve": 54,
    "patch /ml-alerts/{world.alert.pk}/action dismiss": 13,
}


def name_of(call: Call) -> str:
    return f"{call} {call.body.get('action', '')}".strip()


@pytest.fixture
def world(acme) -> World:
    return a_world(acme)


@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("call", WRITING, ids=name_of)
def test_a_change_takes_the_same_queries_however_much_there_is(
    call, rows, world, bob, client_of, django_assert_num_queries
):
    more(world, rows)
    client = client_of(bob)
    with django_assert_num_queries(QUERIES[name_of(call)]):
        assert call.by(client, world).status_code == call.success


def test_every_change_is_counted():
    assert {name_of(call) for call in WRITING} == set(QUERIES)
