"""How results and degradation checks read in the admin."""

import pytest
from django.urls import reverse

from mlops.models import BacktestResult, DegradationCheck
from mlops.tests.ledger import DAY, a_version

pytestmark = pytest.mark.django_db


def test_shares_are_read_in_percent_under_the_fields_own_names(acme, alice, client_of):
    days = dict.fromkeys(["origin", "first_day", "day"], DAY)
    BacktestResult.objects.create(
        customer=acme, version=a_version(acme), kind="daily", lead_band="1", baseline="seasonal_naive", n=12, units=40,
        mae=1.25, wape=0.375, bias=-0.02, scope_type="department", scope_value="Dairy", **days,
    )  # fmt: skip

    page = client_of(alice).get(reverse("admin:mlops_backtestresult_changelist")).content.decode()

    for text in ("37.5 %", "-2.0 %", "1.25", "seasonal naive", "department Dairy", "First day", "MAE", "WAPE"):
        assert text in page
    assert "Mae" not in page


def test_a_night_without_a_verdict_says_so(acme, alice, client_of):
    numbers = {"recent_wape": 0.4, "holdout_wape": 0.3}
    DegradationCheck.objects.create(customer=acme, version=a_version(acme), as_of=DAY, **numbers)

    page = client_of(alice).get(reverse("admin:mlops_degradationcheck_changelist")).content.decode()

    assert "Too little data to tell" in page
    assert "40.0 %" in page


def test_a_version_without_a_holdout_is_not_said_to_lack_data(acme, alice, client_of):
    DegradationCheck.objects.create(customer=acme, version=a_version(acme), as_of=DAY, recent_wape=0.4)

    page = client_of(alice).get(reverse("admin:mlops_degradationcheck_changelist")).content.decode()

    assert "No hold-out to compare with" in page
    assert "Too little data to tell" not in page
