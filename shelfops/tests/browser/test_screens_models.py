"""The lists about models in a real browser: nothing breaks, everybody can read it, and it fits a phone."""

from pprint import pformat

import pytest

from shelfops.tests.browser import screens

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_lists_about_models_can_be_read_by_everybody_and_fit_a_phone(world, faults_of):
    faults = faults_of(screens.lists("Models"))
    assert not faults, pformat(faults)
