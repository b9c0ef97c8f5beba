"""A small seeded shop: weekly rhythm, slow and fast sellers, prices, promotions that lift sales."""

import datetime as dt

import numpy as np
import pandas as pd

from forecasting.panel import Panel, from_transactions

FIRST, LAST = dt.date(2026, 1, 5), dt.date(2026, 6, 28)
UPLIFT = 2.5


def shop(
    *, stores: int = 2, products: int = 6, first: dt.date = FIRST, last: dt.date = LAST, seed: int = 1
) -> pd.DataFrame:
    """One row for every store, product and day: date, store_id, product_id, department, quantity, unit_price, promo."""
    rng = np.random.default_rng(seed)
    keys = pd.MultiIndex.from_product(
        [pd.date_range(first, last), [f"S{s}" for s in range(stores)], [f"P{p}" for p in range(products)]],
        names=["date", "store_id", "product_id"],
    )
    rows = keys.to_frame(index=False)
    product = rows["product_id"].str[1:].astype(int)
    weekend = rows["date"].dt.dayofweek >= 5
    rows["promo"] = rng.random(len(rows)) < 0.15
    level = 0.4 * 2.0**product
    mean = level * np.where(weekend, 1.6, 0.8) * np.where(rows["promo"], UPLIFT, 1)
    rows["quantity"] = rng.poisson(mean)
    rows["unit_price"] = 2.0 + product
    rows["department"] = np.where(product % 2 == 0, "Grocery", "Electronics")
    rows["category"] = "C" + product.astype(str)
    return rows


def shop_panel(country: str = "US", **options: int | dt.date) -> Panel:
    """The shop as a panel."""
    return from_transactions(shop(**options), country=country)  # type: ignore[arg-type]  # options of any kind
