"""An experiment from its proposal to its completion, by two people in two browsers, with real training and nights."""

import datetime as dt

import pytest
from playwright.sync_api import Page, expect

from forecasting.nightly import forecast_here
from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.scoring import score
from forecasting.tests.nights import load
from forecasting.tests.synthetic import LAST, shop
from mlops.models import ModelExperiment, ModelPolicy, ModelVersion
from shelfops import jobs
from shelfops.clock import set_clock
from shelfops.models import JobRun

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
DAY = dt.timedelta(days=1)
NIGHTS = 6
AS_OF = LAST - NIGHTS * DAY
FEW_TREES = {"num_boost_round": 5, "max_leaves": 7, "learning_rate": 0.3}
SEGMENTS = ("Electronics", "Grocery")


@pytest.fixture
def sold(acme, tmp_path):
    """A shop with half a year of sales, and a champion that a few more trees beat; few rows and nights are enough."""
    enough = {"segment_min_rows": 100, "shadow_days": NIGHTS - 1, "shadow_min_days": NIGHTS - 1}
    ModelPolicy.objects.filter(pk=ModelPolicy.of(acme).pk).update(**enough)
    set_clock(acme, AS_OF)
    load(acme, tmp_path, shop(stores=2, products=4))
    retrain(acme, Order(Trigger.MANUAL, AS_OF, "first", params=FEW_TREES))
    return acme


def status(page: Page, text: str) -> None:
    expect(page.locator("h1 .label")).to_have_text(text)


def box(name: str) -> str:
    return f"[name=segments][value='department:{name}']"


def proposes(page: Page) -> None:
    page.fill("[name=name]", "Models of their own")
    page.fill("[name=hypothesis]", "Electronics sells in cycles of its own.")
    page.select_option("[name=experiment_type]", "segmentation")
    page.check("[name=segmentation][value=department]")
    for name in SEGMENTS:
        page.check(box(name))
    page.get_by_text("Parameters of the model").click()
    page.fill("[name=num_boost_round]", "25")
    page.fill("[name=learning_rate]", "0.3")
    page.get_by_role("button", name="Propose the experiment").click()
    status(page, "Proposed")


def fails_guards(page: Page) -> dict[str, bool]:
    """By segment, whether the page leaves it to a person although it is better."""
    notes = page.locator(".note.warning")
    return {name: notes.filter(has_text=f"Department {name}: better by").count() > 0 for name in SEGMENTS}


def a_worker_trains(customer) -> None:
    done = jobs.perform(JobRun.objects.get(customer=customer, status="queued").pk)
    assert (done.status, done.error) == ("completed", "")


def nights_pass(customer) -> None:
    for number in range(NIGHTS + 1):
        set_clock(customer, AS_OF + number * DAY)
        forecast_here(customer, as_of=AS_OF + number * DAY)
        score(customer, AS_OF + number * DAY)


def reached(page: Page) -> dict[str, bool]:
    """Which segments the table of results says have reached the target."""
    rows = {name: page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name)) for name in SEGMENTS}
    return {name: row.first.get_by_role("cell", name="reached", exact=True).count() == 1 for name, row in rows.items()}


def test_an_experiment_goes_from_proposal_to_completion_by_two_people(opened, sold, alice, bob):
    scientist, manager = opened(alice, "/experiments/propose"), opened(bob)
    proposes(scientist)
    expect(scientist.get_by_role("button", name="Approve the experiment")).to_have_count(0)

    manager.reload()
    manager.get_by_role("link", name="Read the proposal").click()
    manager.fill("#approve-rationale", "High variability.")
    manager.get_by_role("button", name="Approve the experiment").click()
    status(manager, "Approved")

    scientist.reload()
    scientist.get_by_role("button", name="Start the training").click()
    status(scientist, "In progress")
    a_worker_trains(sold)
    scientist.reload()
    status(scientist, "Shadow testing")
    nights_pass(sold)

    scientist.reload()
    expect(scientist.locator("figure.plot.drawn")).not_to_have_count(0)
    expect(manager.get_by_role("button", name="Adopt nothing")).to_have_count(0)
    ticked = {name: scientist.is_checked(box(name)) for name in SEGMENTS}
    better, weighed = reached(scientist), fails_guards(scientist)
    assert ticked == {name: better[name] and not weighed[name] for name in SEGMENTS}
    assert better["Electronics"]
    scientist.check(box("Electronics"))
    scientist.uncheck(box("Grocery"))
    scientist.fill("#complete-rationale", "Electronics gain; Grocery stays with the model for all.")
    scientist.get_by_role("button", name="Adopt the ticked segments").click()
    status(scientist, "Completed")
    decision = scientist.get_by_label("Decision", exact=True)
    expect(decision).to_contain_text("v2_electronics became champion")
    manager.goto("/routing")
    expect(manager.get_by_role("row").filter(has_text="department Electronics")).to_contain_text("v2_electronics")
    experiment = ModelExperiment.objects.get()
    assert (experiment.proposed_by, experiment.approved_by, experiment.completed_by) == (alice, bob, alice)
    assert dict(ModelVersion.objects.values_list("version", "status")) == {
        "v1": "champion", "v2_electronics": "champion", "v2_grocery": "archived",
    }  # fmt: skip
