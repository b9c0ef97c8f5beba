"""How many questions each page asks the database, written down so that a change of it is seen in review."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from forecasting.prepared import prepare
from shelfops.tests.browser import screens
from shelfops.tests.browser.world import every_state
from shelfops.tests.decisions import what_waits

pytestmark = pytest.mark.django_db
QUERIES = {
    "advice": 18,
    "alert": 18,
    "alert-dismissing": 12,
    "clusters": 20,
    "experiment-approved": 16,
    "experiment-cancelled": 14,
    "experiment-completed": 20,
    "experiment-failed": 16,
    "experiment-fields": 14,
    "experiment-in_progress": 16,
    "experiment-proposed": 17,
    "experiment-rejected": 14,
    "experiment-rolled_back": 18,
    "experiment-shadow_testing": 24,
    "incident": 17,
    "overview": 24,
    "policy": 11,
    "proposing": 12,
    "review": 20,
    "review-decided": 17,
    "routing": 16,
    "run-completed": 9,
    "run-failed": 10,
    "run-queued": 9,
    "run-running": 9,
    "run-skipped": 10,
    "shadow-test": 12,
    "store": 11,
    "version": 16,
    "version-fields": 17,
}


@pytest.fixture
def world(acme, alice, bob, tmp_path):
    what_waits(acme)
    every_state(acme, alice, bob, tmp_path)
    return acme


def asked(client, address: str) -> int:
    """On the second visit, when what a process looks up once is known."""
    client.get(address)
    with CaptureQueriesContext(connection) as found:
        assert client.get(address).status_code == 200
    return len(found)


def test_each_page_asks_as_many_questions_as_are_written_down(world, bob, client_of):
    lists = {name for name in screens.in_admin(world) if name.startswith("list-")}  # counted in test_admin_access
    prepare(world)
    pages = {name: at for name, at in (screens.own(world) | screens.in_admin(world)).items() if name not in lists}
    found = {name: asked(client_of(bob), address) for name, address in pages.items()}
    assert found == QUERIES
