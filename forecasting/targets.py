"""The tables of the engine that are written in bulk."""

from shelfops.bulk import Target

SALES = Target("sales", ("store_id", "product_id", "date"), ("quantity", "unit_price", "promo"))
PLANS = Target("planned_prices", ("store_id", "product_id", "date", "known_at"), ("unit_price", "promo"))
SERIES = Target("series", ("store_id", "product_id"), ("first_sold",), "excluded.first_sold < series.first_sold")
FORECASTS = Target(
    "forecasts",
    ("run_id", "store_id", "product_id", "date"),
    (
        "version_id", "rule_id", "origin", "lead", "prediction", "lower", "upper", "seasonal_naive", "department",
        "band", "replayed",
    ),
)  # fmt: skip
SHADOW = Target(
    "shadow_predictions",
    ("version_id", "forecast_date", "store_id", "product_id"),
    (
        "customer_id", "champion_id", "champion_prediction", "challenger_prediction", "champion_lower",
        "champion_upper", "challenger_lower", "challenger_upper", "seasonal_naive", "department", "band", "replayed",
        "created_at",
    ),
)  # fmt: skip
