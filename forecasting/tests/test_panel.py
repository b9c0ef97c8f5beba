import datetime as dt

import numpy as np
import pandas as pd
import pytest

from forecasting.panel import COMPLETE, MISSING, BadFrame, as_date, build, day_number, from_transactions

MONDAY = dt.date(2026, 3, 2)


def rows(*lines: tuple[str, int, float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"unique_id": key, "ds": MONDAY + dt.timedelta(days=day), "y": units} for key, day, units in lines]
    )


def items(*first_sold: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unique_id": [f"S|P{place}" for place in range(len(first_sold))],
            "store_id": "S",
            "product_id": [f"P{place}" for place in range(len(first_sold))],
            "department": "",
            "category": "",
            "store_cluster": "",
            "first_sold": first_sold,
            "store": 0,
        }
    )


def daily(*lines: tuple[int, int, float]) -> pd.DataFrame:
    table = pd.DataFrame(lines, columns=["series", "ds", "y"])
    return table.assign(price=np.nan, promo=np.nan)


def test_a_series_begins_with_its_first_sale():
    panel = from_transactions(rows(("a", 0, 0), ("a", 2, 3), ("a", 4, 1), ("b", 0, 1)))

    assert panel.sizes.tolist() == [3, 5]
    assert panel.y[:3].tolist() == [3, 0, 1]


def test_a_day_without_a_row_is_a_day_without_a_sale():
    panel = from_transactions(rows(("a", 0, 5), ("a", 3, 2)))

    assert panel.y.tolist() == [5, 0, 0, 2]
    assert panel.observed.all()


def test_lines_of_one_day_are_summed_and_a_negative_day_counts_as_zero():
    panel = from_transactions(rows(("a", 0, 5), ("a", 0, 2), ("a", 1, -3), ("a", 2, 4)))

    assert panel.y.tolist() == [7, 0, 4]


def test_an_item_that_never_sold_has_no_days():
    panel = from_transactions(rows(("a", 0, 1), ("b", 0, 0), ("b", 1, 0)))

    assert panel.items["unique_id"].tolist() == ["a"]


def test_a_day_that_is_not_covered_is_not_observed_and_holds_the_week_before():
    feed = np.full((1, 21), COMPLETE, dtype=np.int8)
    feed[0, [9, 16]] = MISSING
    panel = build(items(0), daily((0, 0, 1), (0, 2, 6)), last_day=20, feed=feed)

    assert not panel.observed[[9, 16]].any()
    assert panel.y[[9, 16]].tolist() == [6, 6]
    assert panel.observed.sum() == 19


def test_a_hole_at_the_beginning_of_a_series_holds_zero():
    feed = np.full((1, 10), COMPLETE, dtype=np.int8)
    feed[0, 3] = MISSING
    panel = build(items(2), daily((0, 2, 4)), last_day=9, feed=feed)

    assert panel.y.tolist() == [4, 0, 0, 0, 0, 0, 0, 0]


def test_between_cuts_days_and_leaves_out_series_that_begin_later():
    panel = build(items(0, 8), daily((0, 0, 1), (0, 5, 2), (1, 8, 3)), last_day=9)

    cut = panel.between(4, 6)

    assert cut.items["unique_id"].tolist() == ["S|P0"]
    assert cut.days.tolist() == [4, 5, 6]
    assert cut.y.tolist() == [0, 2, 0]


def test_select_keeps_the_plans_of_the_series_that_stay():
    plans = pd.DataFrame({"series": [0, 1], "ds": [9, 9], "known_at": [1, 1], "price": [1.0, 2.0], "promo": [1.0, 0.0]})
    panel = build(items(0, 0), daily((0, 0, 1), (1, 0, 1)), last_day=5, plans=plans)

    kept = panel.select(np.array([False, True]))

    assert kept.plans["series"].tolist() == [0]
    assert kept.plans["price"].tolist() == [2.0]


def test_a_series_is_active_for_as_many_days_as_asked():
    panel = build(items(0), daily((0, 0, 1)), last_day=9)

    assert panel.active(10).tolist() == [True]
    assert panel.active(9).tolist() == [False]


def test_a_frame_without_its_columns_is_refused_by_name():
    with pytest.raises(BadFrame, match="lacks ds, y; it has unique_id, when"):
        from_transactions(pd.DataFrame({"unique_id": ["a"], "when": [MONDAY]}))


def test_rows_without_y_are_refused():
    with pytest.raises(BadFrame, match="1 rows have no y"):
        from_transactions(rows(("a", 0, 1), ("a", 1, np.nan)))


def test_a_frame_without_rows_is_refused():
    with pytest.raises(BadFrame, match="has no rows"):
        from_transactions(rows(("a", 0, 1)).iloc[:0])


def test_rows_without_a_day_or_with_endless_units_are_refused():
    with pytest.raises(BadFrame, match="1 rows have no ds"):
        from_transactions(rows(("a", 0, 1), ("a", 1, 2)).assign(ds=[MONDAY, None]))
    with pytest.raises(BadFrame, match="1 rows have no y"):
        from_transactions(rows(("a", 0, 1), ("a", 1, np.inf)))


def test_a_moment_belongs_to_the_day_on_the_shops_wall():
    evening = pd.Timestamp(MONDAY).tz_localize("America/New_York") + pd.Timedelta(hours=23)

    assert as_date(from_transactions(rows(("a", 0, 1)).assign(ds=[evening])).last_day) == MONDAY


def test_day_numbers_count_from_1970():
    assert day_number(dt.date(1970, 1, 2)) == 1
    assert day_number("2026-01-01") == (dt.date(2026, 1, 1) - dt.date(1970, 1, 1)).days
