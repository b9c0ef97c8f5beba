"""The lists about everything but models in a real browser: they can be read by everybody and fit a phone."""

from pprint import pformat

import pytest

from shelfops.navigation import TOPICS
from shelfops.tests.browser import screens

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_other_lists_can_be_read_by_everybody_and_fit_a_phone(world, faults_of):
    faults = faults_of(screens.lists(*TOPICS.keys() - {"Models"}))
    assert not faults, pformat(faults)
