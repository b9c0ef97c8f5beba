"""The screens in a real browser: the decision from badge to champion, by mouse, keyboard, phone and without scripts."""

import os
import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Page, expect

from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from conftest import PASSWORD, chromium
from mlops import experiments
from mlops.models import ModelExperiment, ModelVersion, ShadowTest
from mlops.tests.trials import a_trained, proposed, shown
from shelfops.models import JobRun
from shelfops.tests.decisions import what_waits

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BADGE = ".alerts > details > summary"
NOTES = "#decide textarea[name=notes]"
PAGES = {
    "overview": "/",
    "alerts": "/admin/alerts/mlalert/",
    "review": "/models/review/v2",
    "version": "/models/v1",
    "routing": "/routing",
    "versions": "/admin/mlops/modelversion/",
    "policy": "/admin/mlops/modelpolicy/",
    "run": "/runs/{run}",
    "proposing": "/experiments/propose",
    "experiment": "/experiments/{experiment}/results",
}
# The theme's own parts are not ours to mend.
OURS = ".own, .page"


@pytest.fixture(scope="session")
def browser_type_launch_args():
    return {"executable_path": chromium(), "args": ["--no-sandbox", "--disable-gpu"]}


@pytest.fixture(scope="session", autouse=True)
def _rows_beside_the_browsers_loop():
    """Playwright's loop runs in the thread in which a test asks the database."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def challenger(acme):
    return what_waits(acme)


@pytest.fixture
def visit(live_server):
    """Opens a page as that person, and fails the test where the browser complains or another host is asked."""
    complaints: list[str] = []
    ours = (live_server.url, "data:")

    def open_page(page: Page, person, address: str = "/") -> Page:
        page.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(ours) else complaints.append(asked.url))
        page.set_default_timeout(10_000)
        if person:
            client = Client()
            client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
            cookie = client.cookies["sessionid"].value
            page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page.goto(live_server.url + address)
        return page

    yield open_page
    assert complaints == []


def tab_to(page: Page, selector: str, most: int = 120) -> None:
    """Goes on with the Tab key until the element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", selector):
            return
    pytest.fail(f"{selector} cannot be reached with the Tab key")


def is_decided(challenger: ModelVersion, person) -> None:
    challenger.refresh_from_db()
    alert = MLAlert.objects.get(alert_type="drift_detected")
    assert (challenger.status, alert.status, alert.actioned_by) == ("champion", "actioned", person)


# --- From the badge to the champion


def test_a_person_logs_in_sees_the_badge_reads_and_approves(page, visit, challenger, alice):
    visit(page, None)
    page.fill("input[name=username]", alice.email)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(BADGE)).to_have_text("1 Critical ML Alert")
    page.click(BADGE)
    page.locator(".alerts").get_by_role("link", name="Review Model v2").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Shall v2 forecast all products in place of v1?")
    expect(page.locator("figure.plot.drawn")).to_have_count(2)
    page.fill(NOTES, "Better in every store.")
    page.get_by_role("button", name="Approve v2").click()
    expect(page.locator(".note.success")).to_contain_text("v2 is approved and serves from now on.")
    expect(page.get_by_role("button", name="Approve v2")).to_have_count(0)
    page.get_by_role("link", name="ShelfOps").click()
    expect(page.get_by_role("heading", name="Champion v2")).to_be_visible()
    expect(page.locator(BADGE)).to_have_text("No ML alerts")
    is_decided(challenger, alice)


def test_the_keyboard_is_enough(page, visit, challenger, alice):
    visit(page, alice)
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
    tab_to(page, "button[value=approve]")
    page.keyboard.press("Enter")
    expect(page.locator(".note.success")).to_be_visible()
    is_decided(challenger, alice)


def test_no_script_is_needed(browser, visit, challenger, alice, live_server):
    page = browser.new_context(java_script_enabled=False).new_page()
    visit(page, alice)
    expect(page.get_by_role("heading", name="Needs you now")).to_be_visible()
    page.click(BADGE)
    page.locator(".alerts-list").get_by_role("link", name="Review Model v2").click()
    expect(page.get_by_role("region", name="Error on each held-out day")).to_be_visible()
    page.fill(NOTES, "Read the table.")
    page.click("#decide button[value=approve]")
    expect(page.locator(".note.success")).to_be_visible()
    is_decided(challenger, alice)
    page.context.close()


def test_the_badge_follows_without_a_reload(page, visit, acme, challenger, alice):
    page.clock.install()
    visit(page, alice)
    an_alert(acme, MLAlert.Type.PROMOTION_PENDING, "v3")
    page.clock.fast_forward(31_000)
    expect(page.locator(BADGE)).to_have_text("1 Critical ML Alert, 1 more")
    expect(page.locator(".alerts [role=status]")).to_have_text("1 Critical ML Alert, 1 more")


def test_an_alert_that_came_meanwhile_is_dismissed_in_the_list(page, visit, acme, alice):
    page.clock.install()
    visit(page, alice, "/admin/forecasting/store/")
    alert = an_alert(acme)
    page.clock.fast_forward(31_000)
    expect(page.locator(BADGE)).to_have_text("1 Warning ML Alert")
    page.click(BADGE)
    page.get_by_text("Dismiss …").click()
    page.fill(".alerts-list textarea", "Seen.")
    page.get_by_role("button", name="Dismiss", exact=True).click()
    expect(page).to_have_url(re.compile("/admin/forecasting/store/$"))
    alert.refresh_from_db()
    assert (alert.status, alert.notes) == ("dismissed", "Seen.")


# --- An experiment, by two people


def test_an_experiment_goes_from_proposal_to_completion_by_two_people(browser, visit, acme, challenger, alice, bob):
    scientist, manager = browser.new_context().new_page(), browser.new_context().new_page()
    experiment = proposed(acme, alice)
    address = f"/experiments/{experiment.pk}/results"
    visit(manager, bob)
    expect(manager.get_by_text("Department tiers")).to_be_visible()
    manager.get_by_role("link", name="Read the proposal").click()
    manager.fill("textarea[name=rationale] >> nth=0", "High variability.")
    manager.get_by_role("button", name="Approve the experiment").click()
    expect(manager.get_by_role("heading", level=1)).to_contain_text("Approved")
    experiment.refresh_from_db()
    started = experiments.begin(experiment, by=alice)
    experiments.trained(started, [a_trained(acme, f"department:{name}") for name in ("Electronics", "Grocery")])
    shown(experiment, 22, 2)
    ShadowTest.objects.update(days=14, samples=560)
    visit(scientist, alice, address)
    scientist.fill("#complete-rationale", "Electronics gain, Grocery does not.")
    scientist.get_by_role("button", name="Adopt the ticked segments").click()
    expect(scientist.get_by_role("heading", level=1)).to_contain_text("Completed")
    experiment.refresh_from_db()
    assert experiment.status == ModelExperiment.Status.COMPLETED
    assert [one["version"] for one in experiment.adopted] == ["v3_electronics"]
    scientist.context.close()
    manager.context.close()


# --- Every page


def addresses(acme, alice) -> dict[str, str]:
    run, experiment = JobRun.objects.get(customer=acme), proposed(acme, alice)
    return {name: address.format(run=run.pk, experiment=experiment.pk) for name, address in PAGES.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_fault_of_access(scheme, browser, visit, acme, challenger, alice):
    page = browser.new_context(color_scheme=scheme).new_page()
    faults = []
    for name, address in addresses(acme, alice).items():
        visit(page, alice, address)
        found = Axe().run(page, context=OURS).response["violations"]
        faults += [
            (name, one["id"], node["target"], node.get("failureSummary"))
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
    page.context.close()
    assert faults == []


def test_a_phone_needs_no_scrolling_sideways(browser, visit, acme, challenger, alice, shots):
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    for name, address in addresses(acme, alice).items():
        visit(page, alice, address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        page.screenshot(path=shots / f"phone-{name}.png")
    page.context.close()


@pytest.fixture
def shots(tmp_path) -> Path:
    """Where pictures go: SHELFOPS_SCREENSHOTS, or nowhere that lasts."""
    folder = Path(os.environ.get("SHELFOPS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_looked_at(scheme, browser, visit, acme, challenger, alice, shots):
    page = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}).new_page()
    for name, address in addresses(acme, alice).items():
        visit(page, alice, address)
        page.screenshot(path=shots / f"{name}-{scheme}.png", full_page=True)
    page.context.close()
    assert len(list(shots.glob(f"*-{scheme}.png"))) == len(PAGES)
