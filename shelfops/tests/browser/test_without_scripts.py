"""With scripts switched off, every decision can be taken and every page be found, on a phone too."""

from pprint import pformat

import pytest
from playwright.sync_api import expect

from shelfops.tests.browser import screens
from shelfops.tests.browser.looking import cut_off

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
WHY = "Read the table."
# Screen -> who decides, what they fill in, which button they press, and what the page says then.
DECISIONS = {
    "review": ("alice", {"[name=notes]": WHY}, "[value=approve]", "v2 is approved"),
    "experiment-proposed": ("bob", {"#approve-rationale": WHY}, "[value=approve]", "It is approved"),
    "experiment-approved": ("alice", {}, "[value=start]", "Its training is queued"),
    "experiment-failed": ("alice", {}, "[value=start]", "Its training is queued"),
    "experiment-in_progress": ("alice", {"#cancel-rationale": WHY}, "[value=cancel]", "It is cancelled"),
    "experiment-shadow_testing": ("alice", {"#complete-rationale": WHY}, "[value=partial_adopt]", "It is decided"),
    "experiment-completed": ("bob", {"#rollback-rationale": WHY}, "[value=rollback]", "It is rolled back"),
    "run-failed": ("alice", {}, "button", "A worker begins it"),
    "clusters": ("alice", {}, "[method=post] .button.primary", "Accepted"),
    "proposing": ("alice", {"[name=name]": "Longer", "[name=hypothesis]": WHY, "[name=window_days]": "120"},
                  ".button.primary", "It waits for a manager"),
}  # fmt: skip

LISTS = ("list-alerts", "list-sales", "list-stores")  # the others are made alike


def test_every_decision_can_be_taken(world, alice, bob, opened):
    addresses = screens.own(world)
    pages = {"alice": opened(alice, scripts=False), "bob": opened(bob, scripts=False)}
    for screen, (name, told, button, said) in DECISIONS.items():
        page = pages[name]
        page.goto(addresses[screen])
        for field, text in told.items():
            page.locator("main").locator(field).fill(text)
        page.locator("main").locator(button).click()
        expect(page.locator("main"), screen).to_contain_text(said)


def test_an_alert_is_dismissed_in_the_list_and_on_its_page(world, alice, opened):
    page = opened(alice, scripts=False)
    for _ in range(2):
        page.locator(".alerts > details > summary").click()
        page.locator(".alerts-list").get_by_text("Dismiss …").first.click()
        page.locator(".alerts-list textarea:visible").fill(WHY)
        page.locator(".alerts-list form button:visible").click()
        expect(page).to_have_url("/")
    page.goto(screens.in_admin(world)["alert"])
    page.locator("#content").get_by_role("link", name="Dismiss …").click()
    page.fill("#content [name=notes]", WHY)
    page.locator("#content").get_by_role("button", name="Dismiss").click()
    expect(page.locator("#content")).to_contain_text("It was dismissed by alice@acme.example")


def test_a_phone_finds_every_list_and_the_way_out(challenger, alice, opened):
    page = opened(alice, scripts=False, phone=True)
    page.get_by_text("Menu", exact=True).click()
    page.get_by_role("navigation", name="Menu").get_by_role("link", name="Model versions").click()
    expect(page).to_have_url("/admin/mlops/modelversion/")
    expect(page.get_by_role("link", name="v2", exact=True)).to_be_visible()
    page.get_by_text("Menu", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_every_page_fits_a_phone_and_hides_nothing(world, bob, opened, pictures):
    page, faults = opened(bob, scripts=False, phone=True), {}
    pages = screens.own(world) | screens.in_admin(world)
    for name, address in pages.items():
        if name.startswith("list-") and name not in LISTS:
            continue
        page.goto(address)
        faults |= {name: found} if (found := cut_off(page)) else {}
        if pictures:
            page.screenshot(path=pictures / f"phone-plain-{name}.png", full_page=True)
    assert not faults, pformat(faults)
