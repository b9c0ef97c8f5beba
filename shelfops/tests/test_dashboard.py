"""The first page: what it asks for, what it says of model, data and runs, and whose rows it shows."""

import datetime as dt
import re
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from forecasting.models import FeedDay, ForecastRun, Store
from mlops import experiments
from mlops.models import BacktestResult, DriftCheck, ModelPolicy, ModelVersion
from mlops.tests.ledger import DAY, a_version
from mlops.tests.trials import in_shadow, proposed
from shelfops import customers, waiting
from shelfops.models import Customer, JobRun, Membership, Role

pytestmark = pytest.mark.django_db
QUERIES = 23


@pytest.fixture
def at_work(acme):
    """A customer with a champion, a night's check, sales up to yesterday, forecasts of today and a run at work."""
    acme.clock, acme.timezone = DAY, "Europe/Berlin"
    acme.save()
    ModelPolicy.of(acme)
    yesterday, version = DAY - dt.timedelta(days=1), a_version(acme, "champion")
    version.champion_since = DAY - dt.timedelta(days=30)
    version.save()
    DriftCheck.objects.create(
        customer=acme, segment="global", as_of=DAY, champion=version, verdict="stable", recent_mae=1.4,
        baseline_mae=1.25, recent_naive_mae=2.0, drift_pct=12.0, last_day=yesterday,
    )  # fmt: skip
    for coverage, n in ((0.8, 1), (0.9, 3)):
        day = yesterday - dt.timedelta(days=n)
        BacktestResult.objects.create(
            customer=acme, version=version, kind="daily", origin=day, lead_band="1", first_day=day, day=day, n=n,
            units=1, coverage=coverage,
        )  # fmt: skip
    store = Store.objects.create(customer=acme, code="s1")
    FeedDay.objects.create(store=store, date=yesterday, status="complete")
    ForecastRun.objects.create(customer=acme, as_of=DAY, origin=yesterday, status="published")
    JobRun.objects.create(customer=acme, job="retrain", slot="x", status="running", stage="fitting", percent=40)
    return acme


def first_page(client_of, person):
    return " ".join(client_of(person).get("/").content.decode().split())


def board(client_of, person):
    """The first page without what stands on every page."""
    return first_page(client_of, person).partition('<div class="own board">')[2]


def test_what_needs_a_decision_comes_first_with_its_clock(acme, alice, client_of):
    now = timezone.now()
    an_alert(acme, MLAlert.Type.PROMOTION_PENDING, "v3", due_at=now + dt.timedelta(hours=2, minutes=5))
    an_alert(acme, MLAlert.Type.DRIFT_DETECTED, "v4", due_at=now - dt.timedelta(hours=3, minutes=5))
    page = first_page(client_of, alice)
    assert "Needs you now" in page
    assert page.index("Review Model v4") < page.index("Review Model v3")
    assert '<strong class="late">overdue by 3 hours' in page
    assert "due in 2 hours" in page


def test_a_proposal_waits_for_a_manager(acme, alice, bob, client_of):
    experiments.propose(acme, by=alice, name="Tiers", hypothesis="better", experiment_type="segmentation")
    page = first_page(client_of, bob)
    assert "Tiers" in page
    assert "proposed by alice@acme.example" in page
    assert "status__exact=proposed" in page
    assert "Waits for others" not in page


def test_what_drift_asked_for_waits_for_its_scientist_whatever_asks_now(acme, alice, client_of):
    for trigger in ("drift_detected", "scheduled"):
        version = a_version(acme, "challenger", trigger=trigger)
        an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE, version.version, title=f"{version} has ended")
    yours, _, others = board(client_of, alice).partition("Waits for others")
    assert "Needs you now" in yours
    assert "v1 has ended" in yours
    assert "v2 has ended" in others


def test_an_experiment_waits_for_others_than_whoever_approved_it(acme, alice, bob, client_of):
    experiment = in_shadow(acme, alice, bob)
    page = reverse("experiment", args=[experiment.pk])
    an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE, "v1_electronics", action_url=page, title="Its trial has ended")
    assert "Its trial has ended" in board(client_of, alice).partition("Waits for others")[0]
    yours, _, others = board(client_of, bob).partition("Waits for others")
    assert "Its trial has ended" not in yours
    assert "Data scientist or ML manager other than you decides" in others
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"allow_self_approval": True})
    assert "Its trial has ended" in board(client_of, bob).partition("Waits for others")[0]


def test_experiments_are_counted_by_state_each_with_its_list(acme, globex, alice, bob, client_of):
    in_shadow(acme, alice, bob)
    for name in ("Longer window", "Fewer leaves"):
        proposed(acme, alice, name=name)
    experiments.reject(proposed(acme, alice, name="More trees"), by=bob, rationale="too dear")
    counts = board(client_of, alice).partition('id="experiments"')[2].partition("</dl>")[0]
    found = re.findall(r"<dt>([^<]+)</dt><dd>(?:<a href=\"([^\"]+)\">)?([0-9]+)", counts)
    assert {name: int(count) for name, _, count in found} == {
        "Proposed": 2, "Approved": 0, "In progress": 0, "Shadow testing": 1, "Rejected": 1,
    }  # fmt: skip
    [listed] = [unescape(url) for name, url, _ in found if name == "Proposed"]
    assert {str(one) for one in client_of(alice).get(listed).context["cl"].result_list} == {
        "Longer window", "Fewer leaves",
    }  # fmt: skip


def test_nothing_of_ones_own_is_crowded_out_by_what_waits_for_others(acme, alice, client_of):
    for number in range(waiting.MOST + 1):
        an_alert(acme, MLAlert.Type.PROMOTION_PENDING, f"v{number + 10}")  # graver than a shadow test that has ended
    version = a_version(acme, "challenger", trigger="drift_detected")
    an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE, version.version, title="Its shadow test has ended")
    assert "Its shadow test has ended" in board(client_of, alice).partition("Waits for others")[0]


def test_of_a_champion_without_a_scored_day_it_is_said_whose_errors_are_shown(at_work, alice, client_of):
    version = ModelVersion.objects.get()
    assert f"No day of {version} is scored yet" not in board(client_of, alice)
    version.champion_since = DAY
    version.save()
    page = board(client_of, alice)
    assert f"No day of {version} is scored yet: the errors below are of what served before it." in page
    assert '<dd>–</dd><dd class="quiet">wanted' in page


def test_the_champion_stands_beside_its_month_its_limit_and_seasonal_naive(at_work, alice, client_of):
    page = first_page(client_of, alice)
    for text in [">1.40<", "+12.0 %", "they had 1.25; above 15 % is drift", "30.0 % better", "87.5 %", "wanted: 90 %"]:
        assert text in page
    assert "Drift: 15 % above them" in page
    assert "1.44" in page  # the limit, in the table under the chart


def test_it_tells_how_fresh_sales_and_forecasts_are(at_work, alice, client_of):
    page = first_page(client_of, alice)
    assert "complete up to 2026-03-01" in page
    assert "up to date" in page
    assert "of 2026-03-02, for the days up to 2026-03-15" in page
    assert "from today" in page


def test_days_that_are_not_in_are_counted(at_work, alice, client_of):
    at_work.clock = DAY + dt.timedelta(days=3)
    at_work.save()
    page = first_page(client_of, alice)
    assert "3 days missing" in page
    assert "not from today" in page


def test_a_run_at_work_shows_how_far_it_is(at_work, alice, client_of):
    page = first_page(client_of, alice)
    assert 'value="40"' in page
    assert "40 %, fitting" in page


def test_a_new_customer_is_told_what_to_do_next(root, client_of):
    customers.create(Customer(slug="fresh", name="Fresh Foods", timezone="Europe/Berlin"))
    page = first_page(client_of, root)
    assert "What to do next" in page
    assert "manage.py load_sales sales.csv --customer fresh" in page
    assert "No model serves yet" in page
    assert "Weekly retrain: Sunday" in page


def test_an_installation_without_customers_says_so(root, client_of):
    assert "Add the first customer" in first_page(client_of, root)


def test_a_person_of_several_customers_switches_with_one_click(acme, globex, alice, client_of):
    Membership.objects.create(user=alice, customer=globex, role=Role.RETAIL_OPS)
    an_alert(globex, version="v7")
    client = client_of(alice)
    assert "Review Model v7" not in client.get("/").content.decode().partition('<div class="own board">')[2]
    assert client.post("/customer", {"customer": "globex", "next": "/"})["Location"] == "/"
    assert "Review Model v7" in client.get("/").content.decode().partition('<div class="own board">')[2]


def test_nobody_chooses_a_customer_of_others(acme, globex, alice, client_of):
    client = client_of(alice)
    assert client.post("/customer", {"customer": "globex"}).status_code == 404
    assert client.get("/customer").status_code == 405
    assert "Globex" not in client.get("/").content.decode()


def test_a_choice_leads_nowhere_else(acme, alice, client_of):
    answer = client_of(alice).post("/customer", {"customer": "acme", "next": "https://evil.example/"})
    assert answer["Location"] == "/"


def test_it_asks_the_same_number_of_questions_of_any_customer(at_work, alice, client_of, django_assert_max_num_queries):
    for number in range(12):
        an_alert(at_work, version=f"v{number + 10}", dedupe=str(number))
        JobRun.objects.create(customer=at_work, job="retrain", slot=str(number), requested_by=alice)
    client = client_of(alice)
    with django_assert_max_num_queries(QUERIES):
        client.get("/")


@pytest.mark.parametrize("word", ["None", "drift_detected", "shadow_testing", "nan", "run_day<"])
def test_it_is_read_by_people(word, at_work, alice, client_of):
    an_alert(at_work, MLAlert.Type.DRIFT_DETECTED, "v4")
    assert word not in board(client_of, alice).partition("<script>")[0]
