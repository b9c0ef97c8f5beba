"""A version in shadow whose rows are never scored gives its room back after twice the time."""

import datetime as dt

import pytest

from mlops import shadow
from mlops.models import ShadowTest
from mlops.tests.ledger import DAY, a_version

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("status", ["challenger", "experimental"])
def test_a_test_without_a_scored_row_ends_and_says_so(acme, status):
    a_version(acme, "champion")
    version = a_version(acme, status)
    [test] = shadow.start(acme, DAY)
    allowed = test.target_days + 7

    assert not shadow.evaluate_due(acme, DAY + dt.timedelta(days=2 * allowed - 1))
    shadow.evaluate_due(acme, DAY + dt.timedelta(days=2 * allowed))

    test.refresh_from_db()
    assert (test.status, test.verdict) == (ShadowTest.Status.COMPLETED, ShadowTest.Verdict.EXTEND)
    assert "only 0 of 14 days could be scored" in str(test.result)
    version.refresh_from_db()
    assert version.status == status
