"""With scripts switched off the admin's own forms decide too: alerts, incidents that nothing answered, roll-backs."""

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from alerts.models import MLAlert
from mlops.models import DriftIncident, ModelVersion
from mlops.promotion import promote
from mlops.tests.drifted import NIGHT, answered
from mlops.tests.ledger import DAY, a_version

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WHY = "Read the tables."


def take(page: Page, link: str, fields: dict[str, str], button: str) -> None:
    """Follows the link to its form, fills it in and sends it."""
    content = page.locator("#content")
    page.get_by_role("link", name=link).click()
    for name, text in fields.items():
        content.locator(f"[name={name}]").fill(text)
    content.get_by_role("button", name=button).click()


def statuses() -> dict[str, str]:
    return dict(ModelVersion.objects.values_list("version", "status"))


def test_a_challenger_is_approved_from_its_alerts_page(challenger, alice, opened):
    alert = MLAlert.objects.get()
    page = opened(alice, reverse("admin:alerts_mlalert_change", args=[alert.pk]), scripts=False)
    take(page, "Approve …", {"notes": WHY}, "Approve")
    expect(page.locator("#content")).to_contain_text("It was approved by alice@acme.example")
    assert statuses() == {"v1": "archived", "v2": "champion"}


@pytest.fixture
def unanswered(acme) -> DriftIncident:
    acme.clock = NIGHT
    acme.save()
    incident = answered(a_version(acme, "champion"), "There are 20 days of sales and a fit needs 37.")
    DriftIncident.objects.update(dossier={})
    return incident


def test_an_unanswered_incident_is_trained_again(unanswered, alice, opened):
    at = reverse("admin:mlops_driftincident_change", args=[unanswered.pk])
    page = opened(alice, at, scripts=False)
    take(page, "Train again …", {"reason": WHY}, "Train again")
    expect(page.locator("main")).to_contain_text("The emergency retrain is queued.")
    expect(page.locator("main")).to_contain_text(WHY)


def test_an_unanswered_incident_is_closed(unanswered, alice, opened):
    at = reverse("admin:mlops_driftincident_change", args=[unanswered.pk])
    page = opened(alice, at, scripts=False)
    take(page, "Close without a new version …", {"notes": WHY}, "Close without a new version")
    expect(page.locator("#content")).to_contain_text(WHY)
    unanswered.refresh_from_db()
    assert (unanswered.status, unanswered.closed_by, unanswered.reason) == ("closed", alice, WHY)


def test_a_former_champion_is_called_back(acme, bob, opened):
    former = a_version(acme, "champion")
    promote(a_version(acme), by=None, reason="by rule", as_of=DAY)
    page = opened(bob, reverse("admin:mlops_modelversion_change", args=[former.pk]), scripts=False)
    take(page, "Roll back to this version", {"reason": WHY}, "Roll back to v1")
    expect(page.locator("#content")).to_contain_text(WHY)
    assert statuses() == {"v1": "champion", "v2": "archived"}
