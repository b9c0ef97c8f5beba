"""Forecasts from a customer's own rows, and of what has never been sold."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting import sales
from forecasting.loading import load_sales
from forecasting.models import Store
from forecasting.panel import Panel, build, day_number, from_transactions
from forecasting.planning import load_plan
from forecasting.predict import NEWCOMER_DAYS, predict, predict_unsold
from forecasting.tests.synthetic import LAST, shop
from forecasting.tests.test_panel import daily, items
from forecasting.tiers import TIERS
from forecasting.train import Model, Recipe, fit

SMALL = {"num_boost_round": 30, "max_leaves": 15, "learning_rate": 0.2}
HORIZON = 14


@pytest.fixture
def load(acme, tmp_path: Path):
    def put(rows: pd.DataFrame, loader=load_sales) -> None:
        path = tmp_path / "rows.parquet"
        rows.to_parquet(path, index=False)
        loader(acme, path)

    return put


def trained(panel: Panel, tier: str) -> Model:
    return fit(panel, Recipe(tier, SMALL), first=LAST - dt.timedelta(days=89), last=LAST)


def by_day(forecast: pd.DataFrame) -> np.ndarray:
    return forecast["prediction"].to_numpy().reshape(-1, HORIZON)


# --- From the database's rows


@pytest.mark.parametrize("tier", TIERS)
def test_rows_of_the_database_give_the_forecasts_of_the_frame(acme, load, tier):
    load(shop())
    stored, frame = sales.panel(acme, last_day=LAST), from_transactions(shop())

    model, expected = trained(stored, tier), predict(trained(frame, tier), frame, HORIZON)

    forecast = predict(model, stored, HORIZON)
    np.testing.assert_array_equal(forecast["prediction"], expected["prediction"])
    keys = [tuple(map(int, key.split("|"))) for key in forecast["unique_id"].astype(str)[::HORIZON]]
    assert keys == list(stored_keys(acme))
    assert forecast["ds"].tolist() == expected["ds"].tolist()


def stored_keys(customer):
    found = Store.objects.filter(customer=customer).order_by("pk", "series__product")
    return found.values_list("pk", "series__product")


@pytest.fixture
def model(acme, load) -> Model:
    """A model that has seen in sales of half a year what a promotion does."""
    load(shop())
    return trained(sales.panel(acme, last_day=LAST), "production")


def planned(**known) -> pd.DataFrame:
    day = LAST + dt.timedelta(days=5)
    every = pd.MultiIndex.from_product([["S0", "S1"], [f"P{place}" for place in range(6)]])
    return every.to_frame(name=["store_id", "product_id"], index=False).assign(date=day, promo=True, **known)


def test_a_planned_promotion_on_day_five_changes_day_five(acme, load, model):
    without = by_day(predict(model, sales.panel(acme, last_day=LAST), HORIZON))
    load(planned(known_at=LAST + dt.timedelta(days=1)), load_plan)

    with_plan = by_day(predict(model, sales.panel(acme, last_day=LAST), HORIZON))

    assert np.median(with_plan[:, 4] / without[:, 4]) > 1.5  # in some series the last promotion held anyway
    np.testing.assert_array_equal(with_plan[:, :4], without[:, :4])


def test_a_plan_that_comes_after_the_morning_of_the_forecast_changes_nothing(acme, load, model):
    without = predict(model, sales.panel(acme, last_day=LAST), HORIZON)
    load(planned(known_at=LAST + dt.timedelta(days=2)), load_plan)

    assert predict(model, sales.panel(acme, last_day=LAST), HORIZON).equals(without)


def test_sales_of_later_days_change_no_forecast_of_an_earlier_morning(acme, load, model):
    cutoff = LAST - dt.timedelta(days=10)
    before = predict(model, sales.panel(acme, last_day=cutoff), HORIZON)
    later = shop().query("date > @cutoff")
    new = later.head(1).assign(product_id="new")
    load(pd.concat([later.assign(quantity=later["quantity"] * 7 + 3, unit_price=99.0, promo=True), new]))

    assert predict(model, sales.panel(acme, last_day=cutoff), HORIZON).equals(before)


# --- What has never been sold

NEVER = pd.DataFrame({"unique_id": ["S|new", "S|odd"], "department": ["", "Garden"]})


def launches(*first_sold: int, last_day: int = 99, department: str = "") -> Panel:
    """Series that sell 9 on their first day, 2 on each of the next four weeks, and 5 on each day after them."""
    lines = [
        (place, day, 9 if day == first else 2 if day <= first + NEWCOMER_DAYS else 5)
        for place, first in enumerate(first_sold)
        for day in range(first, last_day + 1)
    ]
    return build(items(*first_sold).assign(department=department), daily(*lines), last_day=last_day)


def test_an_item_that_never_sold_is_expected_to_begin_like_others_of_its_department():
    forecast = predict_unsold(launches(0, 40, 60), NEVER.head(1), HORIZON)

    assert forecast["prediction"].tolist() == [2] * HORIZON
    assert forecast["unique_id"].unique().tolist() == ["S|new"]
    assert [day_number(day) for day in forecast["ds"]] == list(range(100, 100 + HORIZON))
    assert forecast["lead"].tolist() == list(range(1, HORIZON + 1))


def test_where_nothing_was_launched_the_department_s_last_weeks_stand_in():
    assert set(predict_unsold(launches(0, 0), NEVER.head(1), HORIZON)["prediction"]) == {5}


def test_an_unknown_department_is_expected_to_begin_like_all_others():
    forecast = predict_unsold(launches(0, 40), NEVER, HORIZON)

    assert by_day(forecast)[:, 0].tolist() == [2, 2]


def test_where_nothing_was_ever_sold_nothing_is_expected():
    never = launches(0).select(np.array([False]))

    assert set(predict_unsold(never, NEVER, HORIZON)["prediction"]) == {0}


def test_days_that_are_not_covered_say_nothing_of_a_launch():
    panel = launches(0, 40)
    panel.y[panel.days == 50] = 1000
    panel.observed[panel.days == 50] = False

    assert set(predict_unsold(panel, NEVER, HORIZON)["prediction"]) == {2}
