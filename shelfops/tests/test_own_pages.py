"""Our own pages run scripts and styles from files of this host only."""

import pytest

from shelfops.tests.browser import screens
from shelfops.tests.browser.world import every_state
from shelfops.tests.decisions import what_waits

pytestmark = pytest.mark.django_db


def policy(answer) -> dict[str, list[str]]:
    """What the answer's header allows, by kind."""
    parts = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: allowed for name, *allowed in parts}


def test_our_own_pages_run_scripts_of_this_host_only(acme, alice, bob, client_of, tmp_path):
    what_waits(acme)
    every_state(acme, alice, bob, tmp_path)
    pages = screens.own(acme)
    assert set(pages) == set(screens.OWN)
    found = {name: policy(client_of(bob).get(address)) for name, address in pages.items()}
    ours = {"script-src": ["'self'"], "style-src": ["'self'"], "default-src": ["'self'"], "object-src": ["'none'"]}
    assert {name: {kind: told.get(kind) for kind in ours} for name, told in found.items()} == dict.fromkeys(pages, ours)


@pytest.mark.parametrize("address", ["/segments/advice", "/segments/clusters", "/experiments/propose", "/nowhere"])
def test_so_does_what_they_answer_instead(address, acme, globex, root, client_of):
    answer = client_of(root).get(address)
    assert answer.status_code in (300, 404)
    assert policy(answer)["script-src"] == ["'self'"]


def test_so_does_the_page_that_refuses(acme, charlie, client_of):
    what_waits(acme)
    answer = client_of(charlie).post("/models/review/v2", {"action": "approve", "notes": "x", "champion": "v1"})
    assert (answer.status_code, policy(answer)["script-src"]) == (403, ["'self'"])
