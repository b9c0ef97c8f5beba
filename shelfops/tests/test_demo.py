"""The demo command on a small made-up panel; the real one is the same code on the package's files."""

import datetime as dt
import json
from pathlib import Path

import pytest
from django.core.management import call_command

from forecasting import demo, demo_experiments
from forecasting.models import FeedDay, Forecast, PlannedPrice
from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.tests.nights import load
from forecasting.tests.synthetic import LAST, shop
from mlops import promotion
from mlops.models import ModelExperiment, ModelPolicy
from shelfops.clock import set_clock
from shelfops.management.commands import demo as demo_command
from shelfops.models import Customer, User
from shelfops.tests.small_demo import write_package

pytestmark = pytest.mark.django_db


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the package, in small: two stores, three categories and fuel."""
    rows = shop(stores=2, products=3, first=dt.date(2017, 1, 1), last=dt.date(2017, 12, 31))
    rows = rows[rows["date"].dt.date != dt.date(2017, 12, 25)]
    write_package(tmp_path, rows, ["GROCERY", "GROCERY", "DELI"])
    monkeypatch.setattr(demo, "data_folder", lambda: tmp_path)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few days are enough to see each step."""
    monkeypatch.setattr(demo_command, "FIRST_DAY", dt.date(2017, 12, 30))
    # Six made-up series after Christmas: any first model shall serve.
    for guard in ("guard_bias_max_points", "guard_rmse_pct"):
        monkeypatch.setattr(ModelPolicy._meta.get_field(guard), "default", 1000)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict:
    monkeypatch.setenv("DEMO_SERVE", "0")
    call_command("demo", "--no-shock", "--json")
    return json.loads(capsys.readouterr().out)


def test_fuel_is_not_on_the_shelves(panel):
    assert set(demo.transactions()["product_id"]) == {"SOUP", "MILK", "HAM"}


def test_a_promotion_comes_from_the_leaflet_and_covers_every_day(panel):
    plan = demo.promotions(demo.transactions())

    assert len(plan) == 365 * 2 * 3
    assert not plan.loc[plan["product_id"] == "MILK", "promo"].any()
    assert plan.loc[plan["product_id"] == "HAM", "promo"].any()
    assert (plan["known_at"] <= plan["date"]).all()


def test_a_planted_shock_raises_the_sales_of_its_stores_from_its_day_on(panel):
    plain, shocked = demo.transactions(), demo.shocked(demo.transactions())
    grown = (shocked["quantity"] / plain["quantity"]).groupby([plain["store_id"], plain["date"]]).mean()
    busiest, other = plain["store_id"].value_counts().index

    assert grown[busiest, dt.date(2017, 11, 26)] == grown[other, dt.date(2017, 12, 17)] == 1
    assert grown[busiest, dt.date(2017, 11, 27)] == grown[busiest, dt.date(2017, 12, 31)] == demo.SHOCKS[0].factor
    assert grown[other, dt.date(2017, 12, 18)] == pytest.approx(demo.SHOCKS[1].factor)


def test_the_demo_replays_its_days_judges_and_names_people(panel, short, monkeypatch, capsys):
    report = run(monkeypatch, capsys)

    first, *departments = [row["department"] for row in report["departments"]]
    assert first == "All"
    assert sorted(departments) == ["DELI", "GROCERY"]
    assert all(row["mae"] > 0 and row["naive_mae"] > 0 for row in report["departments"])
    assert {login["role"] for login in report["logins"]} == {"ML manager", "Data scientist", "Retail operations"}
    manager = User.objects.get(email="manager@shelfops.example")
    assert manager.check_password(report["logins"][0]["password"])
    customer = Customer.objects.get(slug="demo")
    assert (customer.today(), customer.name) == (dt.date(2018, 1, 1), "Complete Journey Grocers")
    assert FeedDay.objects.filter(date=dt.date(2017, 12, 25), status="closed").count() == 2
    assert PlannedPrice.objects.count() == 365 * 2 * 3
    retrains = [row["day"] for row in report["decisions"] if "retrain" in row["what"]]
    assert retrains[:2] == ["2017-12-30", "2017-12-31"]  # the first day, for nobody served, and the Sunday
    served = Forecast.objects.filter(lead=1).values_list("date", flat=True).distinct()
    assert (min(served), max(served)) == (dt.date(2017, 12, 30), dt.date(2018, 1, 1))


def test_a_second_run_changes_nothing(panel, short, monkeypatch, capsys):
    first = run(monkeypatch, capsys)
    again = run(monkeypatch, capsys)

    assert again["departments"] == first["departments"]
    assert again["decisions"] == first["decisions"]


def test_without_its_data_the_demo_says_what_to_install(monkeypatch):
    monkeypatch.setattr(demo, "find_spec", lambda _name: None)

    with pytest.raises(demo.NoDemoData, match="Run `make demo`"):
        demo.data_folder()


# --- What the demo's people try


@pytest.fixture
def tried(acme, alice, bob, tmp_path, monkeypatch):
    """The demo's days of experiments, at another retailer with departments of its own."""
    load(acme, tmp_path)
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"segment_min_rows": 50})
    days = [LAST - dt.timedelta(days=back) for back in (9, 8, 0)]
    for name, day in zip(("PROPOSED_ON", "STARTED_ON", "ASKED_ON"), days, strict=True):
        monkeypatch.setattr(demo_experiments, name, day)
    monkeypatch.setattr(demo_experiments, "DEPARTMENTS", ("Electronics", "Grocery"))
    params = {"num_boost_round": 8, "max_leaves": 7, "learning_rate": 0.3}
    [champion] = retrain(acme, Order(Trigger.MANUAL, days[0], "first", params=params, promote=False)).versions.all()
    promotion.promote(champion, by=None, reason="something has to serve", as_of=days[0])
    for day in days:
        set_clock(acme, day)
        for _again in range(2):
            demo_experiments.take_steps(acme, day, scientist=alice, manager=bob)
    return acme


def test_one_experiment_has_gone_into_shadow_and_one_waits_for_a_manager(tried):
    tiered, longer = ModelExperiment.objects.filter(customer=tried).order_by("created_at")

    assert (tiered.status, tiered.experimental_version) == ("shadow_testing", "v2_electronics, v2_grocery")
    assert (tiered.proposed_by.email, tiered.approved_by.email) == ("alice@acme.example", "bob@acme.example")
    assert (longer.status, longer.plan) == ("proposed", {"window_days": 180})
