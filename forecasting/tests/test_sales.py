"""The customer's rows as a panel: the same on both databases as the frame they came from."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.db.models import Q

from forecasting import sales
from forecasting.feed import mark_day
from forecasting.loading import load_sales
from forecasting.models import CategoryDepartment, FeedDay, Product, Store
from forecasting.panel import day_number, from_transactions
from forecasting.planning import load_plan
from forecasting.tests.synthetic import FIRST, LAST, shop
from mlops.models import ModelPolicy

pytestmark = pytest.mark.django_db
TOMORROW = LAST + dt.timedelta(days=1)


@pytest.fixture
def load(acme, tmp_path: Path):
    def put(rows: pd.DataFrame, loader=load_sales) -> None:
        path = tmp_path / "rows.parquet"
        rows.to_parquet(path, index=False)
        loader(acme, path)

    return put


def names(panel) -> list[str]:
    return (panel.items["store_id"] + "|" + panel.items["product_id"]).tolist()


def test_rows_from_the_database_are_the_panel_they_came_from(acme, load):
    load(shop())
    expected = from_transactions(shop())

    found = sales.panel(acme, last_day=LAST)

    assert names(found) == names(expected)
    for name in ("department", "category", "first_sold"):
        assert found.items[name].tolist() == expected.items[name].tolist()
    for name in ("start", "y", "observed", "price", "promo"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_window_reads_no_more_than_it_needs(acme, load):
    load(shop())
    since = LAST - dt.timedelta(days=20)

    found = sales.panel(acme, last_day=LAST - dt.timedelta(days=5), since=since)

    assert (found.start >= day_number(since)).all()
    assert found.last_day == day_number(LAST) - 5
    assert found.items["first_sold"].min() == day_number(FIRST)


def test_a_single_series_can_be_asked_for(acme, load):
    load(shop())
    store, product = Store.objects.get(customer=acme, code="S1"), Product.objects.get(customer=acme, code="P3")

    assert names(sales.panel(acme, last_day=LAST, only=Q(store=store, product=product))) == ["S1|P3"]


def test_a_closed_day_is_not_an_actual(acme, alice, load):
    load(shop())
    closed = LAST - dt.timedelta(days=3)
    mark_day(Store.objects.get(customer=acme, code="S0"), closed, FeedDay.Status.CLOSED, by=alice, note="stocktaking")

    found = sales.panel(acme, last_day=LAST)

    hidden = pd.Series(~found.observed).groupby([found.items["store_id"].to_numpy()[found.series], found.days]).any()
    assert hidden[hidden].index.tolist() == [("S0", day_number(closed))]


def test_a_day_that_no_load_covered_is_not_an_actual(acme, load):
    rows = shop()
    gap = LAST - dt.timedelta(days=9)
    load(rows[rows["date"].dt.date != gap])

    found = sales.panel(acme, last_day=LAST)

    assert set(found.days[~found.observed]) == {day_number(gap)}


def test_a_plan_arrives_with_the_day_it_became_known(acme, load):
    load(shop(stores=1, products=1))
    plan = pd.DataFrame({"date": [TOMORROW], "store_id": ["S0"], "product_id": ["P0"], "promo": [True]})
    load(plan.assign(known_at=LAST), load_plan)

    plans = sales.panel(acme, last_day=LAST).plans

    assert plans[["series", "ds", "known_at", "promo"]].to_numpy().tolist() == [
        [0, day_number(TOMORROW), day_number(LAST), 1]
    ]
    assert plans["price"].isna().all()


def test_the_department_comes_from_the_table_where_the_product_has_none(acme, load):
    load(shop(products=1).drop(columns="department"))
    CategoryDepartment.objects.create(customer=acme, category="C0", department="Toys")

    assert set(sales.panel(acme, last_day=LAST).items["department"]) == {"Toys"}


def test_another_customers_sales_stay_out(acme, globex, load):
    load(shop(products=1))

    with pytest.raises(sales.NoSales, match="has no sales before"):
        sales.last_complete_day(globex, TOMORROW, ModelPolicy.of(globex))
    assert len(sales.panel(globex, last_day=LAST)) == 0


def test_the_last_complete_day_lies_before_the_day_asked_on(acme, load):
    load(shop())

    policy = ModelPolicy.of(acme)
    assert sales.last_complete_day(acme, TOMORROW, policy) == LAST
    assert sales.last_complete_day(acme, LAST, policy) == LAST - dt.timedelta(days=1)


def test_a_day_on_which_too_few_stores_reported_is_not_complete(acme, load):
    load(shop(stores=3))
    FeedDay.objects.filter(store__code="S1", date=LAST).delete()

    assert sales.last_complete_day(acme, TOMORROW, ModelPolicy.of(acme)) == LAST - dt.timedelta(days=1)


def test_stores_that_closed_for_good_do_not_make_a_day_complete(acme, alice, load):
    load(shop(stores=2))
    for place in range(3):
        gone = Store.objects.create(customer=acme, code=f"gone {place}")
        mark_day(gone, TOMORROW, FeedDay.Status.CLOSED, by=alice, note="closed for good")

    after = TOMORROW + dt.timedelta(days=1)
    assert sales.last_complete_day(acme, after, ModelPolicy.of(acme)) == LAST


def test_a_day_on_which_every_store_was_closed_is_complete(acme, alice, load):
    load(shop())
    for store in Store.objects.filter(customer=acme):
        mark_day(store, TOMORROW, FeedDay.Status.CLOSED, by=alice, note="holiday")

    after = TOMORROW + dt.timedelta(days=1)
    assert sales.last_complete_day(acme, after, ModelPolicy.of(acme)) == TOMORROW
