"""From the badge to the champion: with a mouse, and with the keyboard alone."""

from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from alerts.models import MLAlert
from conftest import PASSWORD
from mlops.models import ModelVersion
from shelfops.models import User
from shelfops.tests.browser.reaching import tab_to

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BADGE = ".alerts > details > summary"
NOTES = "#decide textarea[name=notes]"
# Of each bar chart, where the bars of the first label stand.
BARS = """() => [...document.querySelectorAll("canvas")].map((one) => Chart.getChart(one))
    .filter((chart) => chart.config.type === "bar")
    .map((chart) => chart.data.datasets.map((_, at) => chart.getDatasetMeta(at).data[0].x))"""


def is_decided(challenger: ModelVersion, person: User, status: str = "champion") -> None:
    challenger.refresh_from_db()
    alert = MLAlert.objects.get(alert_type="drift_detected")
    assert (challenger.status, alert.status, alert.actioned_by) == (status, "actioned", person)


def shows_status(page: Page, version: str, status: str) -> None:
    page.goto(f"/models/{version}")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{version} {status}")


def test_a_person_logs_in_sees_the_badge_opens_the_alert_reads_and_approves(opened, challenger, alice):
    page = opened(None)
    page.fill("input[name=username]", alice.email)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(BADGE)).to_have_text("1 Critical ML Alert")
    expect(page.get_by_role("heading", name="Champion v1")).to_be_visible()
    page.click(BADGE)
    page.locator(".alerts-list").get_by_role("link", name="Model drift detected: MAE 45 % worse").click()
    expect(page.get_by_text("A decision is due")).to_be_visible()
    page.locator("#content").get_by_role("link", name="Review Model v2").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Shall v2 forecast all products in place of v1?")
    expect(page.locator("figure.plot.drawn")).to_have_count(2)
    expect(page.locator("#decide")).to_contain_text("If you approve")
    page.fill(NOTES, "Better in every store.")
    page.get_by_role("button", name="Approve v2").click()
    expect(page.locator(".note.success")).to_contain_text("v2 is approved and serves from now on.")
    expect(page.get_by_label("Decision", exact=True)).to_contain_text("Better in every store.")
    expect(page.get_by_role("button", name="Approve v2")).to_have_count(0)
    page.get_by_role("link", name="ShelfOps").click()
    expect(page.get_by_role("heading", name="Champion v2")).to_be_visible()
    expect(page.locator(BADGE)).to_have_text("No ML alerts")
    shows_status(page, "v2", "Champion")
    shows_status(page, "v1", "Archived")
    page.goto(f"/admin/alerts/mlalert/{MLAlert.objects.get(alert_type='drift_detected').pk}/change/")
    expect(page.locator("#content")).to_contain_text("It was approved by alice@acme.example")
    is_decided(challenger, alice)


def test_bars_of_one_label_stand_side_by_side(opened, challenger, alice):
    page = opened(alice, "/models/review/v2")
    expect(page.locator("figure.plot.drawn")).to_have_count(2)
    middles = page.evaluate(BARS)
    assert middles
    assert all(0 < right - left < 50 for chart in middles for left, right in pairwise(chart))


def test_a_rejected_challenger_leaves_the_champion_where_it_is(opened, challenger, alice):
    page = opened(alice, "/models/review/v2")
    page.get_by_role("link", name="To the decision").click()
    page.get_by_role("button", name="Reject v2").click()
    assert page.locator(NOTES).evaluate("field => field.validity.valueMissing")
    page.fill(NOTES, "A promotion, not a drift.")
    page.get_by_role("button", name="Reject v2").click()
    expect(page.get_by_label("Decision", exact=True)).to_contain_text("A promotion, not a drift.")
    shows_status(page, "v1", "Champion")
    shows_status(page, "v2", "Archived")
    is_decided(challenger, alice, "archived")


def test_the_keyboard_is_enough(opened, challenger, alice):
    page = opened(None)
    tab_to(page, "input[name=username]", 5)
    page.keyboard.type(alice.email)
    tab_to(page, "input[name=password]", 2)
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(BADGE)).to_be_visible()
    tab_to(page, BADGE)
    page.keyboard.press("Enter")
    expect(page.locator(".alerts-list")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator(".alerts-list")).to_be_hidden()
    assert page.evaluate("document.activeElement.matches('.badge')")
    page.keyboard.press("Enter")
    tab_to(page, ".alerts-do a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/review/**")
    tab_to(page, NOTES)
    page.keyboard.type("Read it all.")
    tab_to(page, "button[value=approve]", 1)
    page.keyboard.press("Enter")
    expect(page.locator(".note.success")).to_be_visible()
    is_decided(challenger, alice)


def test_the_keyboard_passes_the_side_bar_and_finds_the_way_out(opened, challenger, alice):
    page = opened(alice)
    tab_to(page, ".skip", 1)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content') !== null")
    page.reload()
    tab_to(page, ".menu > summary")
    page.keyboard.press("Enter")
    tab_to(page, ".menu button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
