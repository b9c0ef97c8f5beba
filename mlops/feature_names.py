"""What people call the columns of a training matrix, in one place for every page and answer."""

import re

LAG = re.compile(r"lag(\d+)")
ROLLING = re.compile(r"rolling_(\w+?)_lag(\d+)_window_size(\d+)(_\w+)?")
SEASONAL = re.compile(r"seasonal_rolling_(\w+?)_lag\d+_season_length7_window_size(\d+)(_\w+)?")
OVER_DAYS = re.compile(r"rolling_([a-z]+)_(\d+)")
OVER_WEEKS = re.compile(r"seasonal_rolling_([a-z]+)_(\d+)_lag7")
NAMES = {
    "lag1": "sales of the day before",
    "relative_price": "price against its usual level",
    "promo": "promotion",
    "days_to_holiday": "days to the next holiday",
    "days_since_holiday": "days since the last holiday",
    "days_since_first_sale": "days since the first sale",
    "store_id": "store",
}


def feature_name(feature: str) -> str:
    """Such as: rolling mean of 28 days, for rolling_mean_lag1_window_size28."""
    if feature in NAMES:
        return NAMES[feature]
    if found := LAG.fullmatch(feature):
        return f"sales {found[1]} days before"
    if found := OVER_DAYS.fullmatch(feature):
        return f"rolling {found[1]} of {found[2]} days"
    if found := OVER_WEEKS.fullmatch(feature) or SEASONAL.fullmatch(feature):
        return f"{found[1]} of the same weekday, {found[2]} weeks back"
    if found := ROLLING.fullmatch(feature):
        until = "" if found[2] == "1" else f", up to {found[2]} days before"
        return f"rolling {found[1]} of {found[3]} days{until}"
    return feature.replace("_", " ")
