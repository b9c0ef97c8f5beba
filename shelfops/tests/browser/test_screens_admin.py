"""The overview and the pages of single rows in a real browser: they can be read by everybody and fit a phone."""

from pprint import pformat

import pytest

from shelfops.tests.browser import screens

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_the_overview_and_rows_can_be_read_by_everybody_and_fit_a_phone(world, faults_of):
    faults = faults_of({"overview": "/"} | screens.rows(world))
    assert not faults, pformat(faults)
