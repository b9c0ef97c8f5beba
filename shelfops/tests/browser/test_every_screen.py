"""Every screen in a real browser: nothing breaks, everybody can read it, and it fits a phone."""

from pprint import pformat

import pytest

from shelfops.tests.browser import screens
from shelfops.tests.browser.looking import look
from shelfops.tests.browser.world import every_state

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def world(acme, challenger, alice, bob, tmp_path):
    every_state(acme, alice, bob, tmp_path)
    return acme


@pytest.fixture
def faults_of(bob, opened, pictures):
    """What is wrong with each of these pages; nothing, where nothing is."""

    def look_at(pages):
        page = opened(bob)
        return {name: found for name, address in pages.items() if (found := look(page, name, address, pictures))}

    return look_at


def test_own_pages_can_be_read_by_everybody_and_fit_a_phone(world, faults_of):
    pages = screens.own(world)
    assert set(pages) == set(screens.OWN)
    faults = faults_of(pages)
    assert not faults, pformat(faults)


def test_the_admins_pages_can_be_read_by_everybody_and_fit_a_phone(world, faults_of):
    faults = faults_of(screens.in_admin(world))
    assert not faults, pformat(faults)
