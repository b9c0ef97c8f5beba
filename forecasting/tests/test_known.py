import dataclasses

import numpy as np
import pandas as pd

from forecasting import known
from forecasting.panel import Panel, build
from forecasting.tests.synthetic import shop_panel
from forecasting.tests.test_panel import daily, items


def lead_one(panel: Panel, *, training: bool) -> known.Known:
    return known.at_lead_one(panel, np.arange(len(panel)), known.Evidence(panel), training=training)


def plan(*lines: tuple[int, int, int, float, float]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["series", "ds", "known_at", "price", "promo"]).astype(
        {"price": "float32", "promo": "float32"}
    )


def priced() -> Panel:
    sales = daily((0, 0, 1), (0, 3, 1), (1, 2, 1))
    sales["price"] = [5.0, 6.0, 9.0]
    return build(items(0, 2), sales, last_day=5)


def test_the_last_seen_price_does_not_leak_from_one_series_into_the_next():
    assert known.last_seen(priced().price, priced()).tolist() == [5, 5, 5, 6, 6, 6, 9, 9, 9, 9]


def test_the_day_before_has_no_value_on_a_series_first_day():
    values = known.before(known.last_seen(priced().price, priced()), priced())

    assert np.isnan(values[[0, 6]]).all()
    assert values[1:6].tolist() == [5, 5, 5, 6, 6]


def test_a_price_seen_only_with_a_sale_is_used_from_the_next_day_on():
    panel = dataclasses.replace(shop_panel(), promo=np.full(len(shop_panel()), np.nan, dtype=np.float32))
    sparse = dataclasses.replace(panel, price=np.where(panel.y > 0, panel.price, np.nan).astype(np.float32))
    late = sparse.days > sparse.start.min() + 60
    changed = sparse.price.copy()
    changed[late & (sparse.y > 0)] += 1

    before = lead_one(sparse, training=True).price
    after = lead_one(dataclasses.replace(sparse, price=changed), training=True).price

    first_change = np.flatnonzero(late & (sparse.y > 0))[0]
    assert before[first_change] == after[first_change]
    assert before[first_change + 1] != after[first_change + 1]


def test_a_promotion_that_only_occurs_with_a_sale_is_ignored():
    panel = shop_panel()
    derived = dataclasses.replace(panel, promo=(panel.y > 0).astype(np.float32))
    late = derived.days > derived.start.min() + 60

    assert lead_one(derived, training=True).promo[late].max() == 0


def test_a_promotion_recorded_apart_from_sales_counts_on_its_own_day_in_training_only():
    panel = shop_panel()

    training = lead_one(panel, training=True).promo
    serving = lead_one(panel, training=False).promo

    assert np.array_equal(training, panel.promo)
    assert np.array_equal(serving, np.nan_to_num(known.before(panel.promo, panel)))


def test_without_a_plan_the_last_known_value_holds():
    ahead = known.ahead(priced(), 3)

    assert ahead.price.tolist() == [6, 6, 6, 9, 9, 9]
    assert ahead.promo.tolist() == [0] * 6


def test_a_plan_counts_from_the_morning_on_which_it_is_known():
    panel = dataclasses.replace(priced(), plans=plan((0, 7, 6, 4.0, 1.0), (0, 8, 7, 3.0, 1.0)))

    ahead = known.ahead(panel, 3)  # made on the morning of day 6

    assert ahead.price[:3].tolist() == [6, 4, 6]
    assert ahead.promo[:3].tolist() == [0, 1, 0]


def test_of_several_plans_for_a_day_the_latest_known_counts():
    panel = dataclasses.replace(priced(), plans=plan((0, 6, 5, 4.0, np.nan), (0, 6, 1, 2.0, 1.0), (0, 6, 9, 1.0, 0.0)))

    ahead = known.ahead(panel, 1)

    assert ahead.price[0] == 4
    assert ahead.promo[0] == 1
