"""The badge of open alerts and its list: they follow without a reload, and let dismiss with and without scripts."""

import pytest
from playwright.sync_api import Page, expect

from alerts.acting import act
from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from shelfops.tests.browser.reaching import tab_to

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BADGE = ".alerts > details > summary"
LIST = ".alerts-list"
HALF_A_MINUTE = 31_000
SEVERITIES = {
    MLAlert.Type.DRIFT_DETECTED: ("1 Critical ML Alert", "rgb(185, 28, 28)"),
    MLAlert.Type.PROMOTION_PENDING: ("1 Warning ML Alert", None),
    MLAlert.Type.SHADOW_TEST_COMPLETE: ("1 Info ML Alert", None),
}
HOME, STORES, PROPOSING = "/", "/admin/forecasting/store/", "/experiments/propose"


def hears_of_it(page: Page, words: str) -> None:
    """After the script has asked again; the page itself is not loaded anew."""
    page.evaluate("window.isTheSame = true")
    page.clock.fast_forward(HALF_A_MINUTE)
    expect(page.locator(BADGE)).to_have_text(words)
    assert page.evaluate("window.isTheSame")


@pytest.mark.parametrize("kind", SEVERITIES)
def test_the_badge_says_how_grave_it_is(kind, opened, acme, alice):
    an_alert(acme, kind)
    words, colour = SEVERITIES[kind]
    badge = opened(alice).locator(BADGE)
    expect(badge).to_have_text(words)
    tone = {"critical": "danger"}.get(MLAlert.objects.get().severity, MLAlert.objects.get().severity)
    expect(badge).to_have_class(f"badge {tone}")
    assert colour is None or badge.evaluate("one => getComputedStyle(one).backgroundColor") == colour


@pytest.mark.parametrize("address", [HOME, STORES, PROPOSING])
def test_a_new_alert_appears_in_badge_and_list_without_a_reload(address, opened, acme, challenger, alice):
    page = opened(alice, address, frozen=True)
    an_alert(acme, MLAlert.Type.PROMOTION_PENDING, "v3")
    hears_of_it(page, "1 Critical ML Alert, 1 more")
    expect(page.locator(".alerts [role=status]")).to_have_text("1 Critical ML Alert, 1 more")
    page.click(BADGE)
    first, second = page.locator(f"{LIST} article").all()
    for told in ("Critical", "Model drift detected", "The emergency retrain has produced v2", "ago", "due 20"):
        expect(first).to_contain_text(told)
    expect(first.get_by_role("link", name="Review Model v2")).to_be_visible()
    expect(second.get_by_role("link", name="Review Model v3")).to_be_visible()


def test_an_alert_that_came_meanwhile_is_dismissed_in_the_list(opened, acme, alice):
    page = opened(alice, STORES, frozen=True)
    alert = an_alert(acme)
    hears_of_it(page, "1 Warning ML Alert")
    page.click(BADGE)
    page.get_by_text("Dismiss …").click()
    page.fill(f"{LIST} textarea", "Seen.")
    page.get_by_role("button", name="Dismiss", exact=True).click()
    expect(page.locator(BADGE)).to_have_text("No ML alerts")
    expect(page).to_have_url(STORES)
    alert.refresh_from_db()
    assert (alert.status, alert.dismissed_by, alert.notes) == ("dismissed", alice, "Seen.")


def test_the_keyboard_dismisses(opened, acme, alice):
    alert, page = an_alert(acme), opened(alice, PROPOSING)
    tab_to(page, BADGE)
    page.keyboard.press("Enter")
    tab_to(page, f"{LIST} details > summary", 5)
    page.keyboard.press("Enter")
    tab_to(page, f"{LIST} textarea", 1)
    page.keyboard.type("Seen.")
    tab_to(page, f"{LIST} form button", 1)
    page.keyboard.press("Enter")
    expect(page.locator(BADGE)).to_have_text("No ML alerts")
    alert.refresh_from_db()
    assert (alert.status, alert.notes) == ("dismissed", "Seen.")


def test_a_list_that_is_open_is_not_taken_away(opened, acme, alice):
    an_alert(acme)
    page = opened(alice, frozen=True)
    page.click(BADGE)
    page.get_by_text("Dismiss …").click()
    page.fill(f"{LIST} textarea", "Half a sen")
    an_alert(acme, MLAlert.Type.DRIFT_DETECTED, "v3")
    hears_of_it(page, "1 Critical ML Alert, 1 more")
    expect(page.locator(f"{LIST} textarea")).to_have_value("Half a sen")


def test_on_a_phone_a_decided_alert_takes_less_room(opened, acme, alice):
    an_alert(acme, version="v2")
    act(an_alert(acme, version="v3"), "dismiss", by=alice, notes="Seen.")
    rows = opened(alice, "/admin/alerts/mlalert/", phone=True).locator("#result_list tbody tr")
    heights = {status: rows.filter(has_text=status).bounding_box()["height"] for status in ("Unread", "Dismissed")}
    assert heights["Dismissed"] < 0.7 * heights["Unread"]
