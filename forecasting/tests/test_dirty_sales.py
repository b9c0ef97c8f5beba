"""Invoice lines with every kind of dirt, against an independent computation in pandas."""

import datetime as dt
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.loading import load_sales
from forecasting.models import FeedDay, Sale, Series

KEY = ["date", "store_id", "product_id"]


def expected(lines):
    """What the rules say of these lines of text or numbers, row by row rules first, sums after."""
    date = pd.to_datetime(lines["date"].astype(str), format="%Y-%m-%d", errors="coerce")
    quantity = pd.to_numeric(lines["quantity"], errors="coerce")
    price = pd.to_numeric(lines["unit_price"], errors="coerce").astype(float)
    named = lines["store_id"].astype(str).str.strip().ne("") & lines["product_id"].astype(str).str.strip().ne("")
    good = date.notna() & date.lt("2026-11-01") & named & quantity.notna() & ~(price.le(0) & quantity.ne(0))
    kept = lines[KEY].astype(str).assign(date=date, quantity=quantity, price=price.where(price > 0))[good]
    sold = kept["quantity"].clip(lower=0).where(kept["price"].notna(), 0)
    kept = kept.assign(sold=sold, takings=sold * kept["price"].fillna(0))
    daily = kept.groupby(KEY).agg({"quantity": "sum", "sold": "sum", "takings": "sum"}).reset_index()
    dates = daily["date"].drop_duplicates()
    return (
        {
            "read": len(lines),
            "accepted": int(good.sum()),
            "rejected": int((~good).sum()),
            "keys": len(daily),
            "days": len(dates),
            "missing_days": len(pd.date_range(dates.min(), dates.max()).difference(dates)),
            "new_stores": daily["store_id"].nunique(),
            "new_products": daily["product_id"].nunique(),
            "first_date": dates.min().date(),
            "last_date": dates.max().date(),
        },
        daily,
        lines[["store_id"]].astype(str).assign(date=date)[~good],
    )


def check(customer, path, lines):
    counts, daily, rejected = expected(lines)
    report = load_sales(customer, path)
    assert {name: report[name] for name in counts} == counts
    _same_sales(daily)
    _same_firsts(daily)
    _same_days(daily, rejected)
    return report


def _same_sales(daily):
    fields = ["date", "store__code", "product__code", "quantity", "unit_price"]
    stored = pd.DataFrame.from_records(Sale.objects.values_list(*fields), columns=[*KEY, "quantity", "unit_price"])
    stored["date"] = pd.to_datetime(stored["date"])
    both = daily.merge(stored, on=KEY, suffixes=("", "_stored"), validate="one_to_one")
    assert len(both) == len(daily) == len(stored)
    np.testing.assert_allclose(both["quantity_stored"], both["quantity"])
    sold = both[both["sold"] > 0]
    # Sources in 32 bits carry seven digits.
    np.testing.assert_allclose(sold["unit_price"], sold["takings"] / sold["sold"], rtol=1e-6)


def _same_firsts(daily):
    firsts = daily[daily["quantity"] > 0].groupby(["store_id", "product_id"])["date"].min()
    stored = Series.objects.values_list("store__code", "product__code", "first_sold")
    assert {(store, product): first for store, product, first in stored} == {
        key: first.date() for key, first in firsts.items()
    }


def _same_days(daily, rejected):
    spoiled = set(zip(rejected["store_id"], rejected["date"], strict=True))
    rows = daily.groupby(["store_id", "date"]).size()
    dates = sorted(daily["date"].unique())
    covered = {
        (store, date.date()): int(rows.get((store, date), 0))
        for store, first in daily.groupby("store_id")["date"].min().items()
        for date in dates
        if date >= first and ((store, date) in rows.index or (store, date) not in spoiled)
    }
    stored = FeedDay.objects.filter(status="complete").values_list("store__code", "date", "rows")
    assert {(store, date): count for store, date, count in stored} == covered


@pytest.fixture
def dirty(tmp_path):
    """Invoice lines as a shop's export has them: returns, free goods, gaps, odd codes, notes of two lines."""
    rng = np.random.default_rng(20261101)
    count = 4_000
    weekday = pd.Series(pd.date_range("2026-01-01", "2026-04-30"))
    weekday = weekday[weekday.dt.dayofweek != 5].dt.strftime("%Y-%m-%d")
    lines = pd.DataFrame(
        {
            "date": np.sort(rng.choice(weekday, count)),
            "store_id": rng.choice(["United Kingdom", "EIRE", "Channel Islands", " "], count, p=[0.8, 0.1, 0.09, 0.01]),
            "product_id": rng.choice(["85123A", "22423", "POST", "M", "gift_0001_20", ""], count),
            "quantity": rng.choice(["1", "12", "-1", "0", "-80995", "", "6.5"], count),
            "unit_price": rng.choice(
                ["2.55", "0", "-11062.06", "0.85", "", "4.95"], count, p=[0.4, 0.1, 0.02, 0.2, 0.08, 0.2]
            ),
            "description": rng.choice(['SET OF 3, "RED"', "two\nlines", "", "Königsblau"], count),
        }
    )
    lines.loc[rng.choice(count, 40, replace=False), "date"] = "2026-12-24"
    lines.loc[rng.choice(count, 40, replace=False), "date"] = "24.12.2025"
    path = tmp_path / "dirty.csv"
    lines.to_csv(path, index=False)
    return path, lines


def test_a_dirty_file_loads_as_pandas_says(acme, dirty, time_machine):
    time_machine.move_to(dt.datetime(2026, 10, 31, 12, tzinfo=dt.UTC))
    path, lines = dirty
    report = check(acme, path, lines)
    rejects = pd.read_csv(report["rejects_file"], dtype=str, keep_default_na=False)
    text = path.read_text().split("\n")
    assert len(rejects) == report["rejected"] > 500
    assert all(text[int(row.line) - 1].startswith(f"{row.date},{row.store_id},") for row in rejects.itertuples())


def test_online_retail_loads_as_pandas_says(acme):
    folder = os.environ.get("SHELFOPS_BENCH_DATA")
    if not folder:
        pytest.skip("set SHELFOPS_BENCH_DATA to the folder of the benchmark data to run it")
    path = Path(folder) / "online_retail" / "transactions.parquet"
    report = check(acme, path, pd.read_parquet(path))
    assert report["rejected_by_reason"] == {"unit_price is not above 0 though something was sold": 2517}
    assert (report["accepted"], report["keys"], report["missing_days"]) == (539_392, 308_383, 69)
