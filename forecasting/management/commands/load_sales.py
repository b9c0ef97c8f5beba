"""Loads sales from a CSV or Parquet file."""

from forecasting.loading import load_sales
from forecasting.management.load import LoadCommand


class Command(LoadCommand):
    help = (
        "Loads sales: date, store_id, product_id, quantity and, when present, department, category, unit_price, "
        "promo. Loading a file again changes nothing; a later file replaces the keys it holds."
    )
    load = staticmethod(load_sales)
    adds_up = True
