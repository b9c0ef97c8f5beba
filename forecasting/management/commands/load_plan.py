"""Loads planned prices and promotions from a CSV or Parquet file."""

from forecasting.management.load import LoadCommand
from forecasting.planning import load_plan


class Command(LoadCommand):
    help = (
        "Loads plans: date, store_id, product_id, unit_price or promo or both, and since when they are known "
        "(known_at, else the customer's today)."
    )
    load = staticmethod(load_plan)
