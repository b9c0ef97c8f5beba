"""The demo in small: the files of its package, made up."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

CATEGORIES = ["SOUP", "MILK", "HAM", "BREAD", "TEA", "FISH"]
FUEL = 9
FIRST_STORE = 367


def write_package(folder: Path, rows: pd.DataFrame, departments: Sequence[str]) -> None:
    """Rows of `synthetic.shop` as transactions, products and promotions, with fuel, which the demo leaves out.

    `departments` has one for each product; every other week the leaflet shows the second one on its first page.
    """
    rows = rows[rows["quantity"] > 0]
    lines = pd.DataFrame(
        {
            "store_id": FIRST_STORE + rows["store_id"].str[1:].astype(int),
            "product_id": rows["product_id"].str[1:].astype(int),
            "quantity": rows["quantity"],
            "sales_value": rows["quantity"] * rows["unit_price"],
            "week": rows["date"].dt.dayofyear.add(5) // 7 + 1,
            "transaction_timestamp": rows["date"],
        }
    )
    fuel = lines.head(50).assign(product_id=FUEL, quantity=9_000)
    pd.concat([lines, fuel]).to_parquet(folder / "transactions.parquet")
    pd.DataFrame(
        {
            "product_id": [*range(len(departments)), FUEL],
            "department": [*departments, "FUEL"],
            "product_category": [*CATEGORIES[: len(departments)], "GASOLINE"],
        }
    ).to_parquet(folder / "products.parquet")
    shown = lines[lines["week"] % 2 == 0][["product_id", "store_id", "week"]].drop_duplicates()
    shown = shown.assign(mailer_location="D", display_location="0")
    shown.loc[shown["product_id"] == 1, "mailer_location"] = "A"
    shown.to_parquet(folder / "promotions.parquet")
