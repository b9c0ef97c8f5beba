"""Everything of `cold_start` plus price, promotion, department, store, age of the series and holidays."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forecasting import public_holidays
from forecasting.known import REMEMBERED_DAYS, Ints, Known, last_seen
from forecasting.panel import Panel, as_date, day_number
from forecasting.tiers import cold_start
from forecasting.tiers.base import Columns, Tier

# A window of 90 days holds few holidays: finer distances would only name the date.
DAYS_BEFORE, DAYS_AFTER = 3, 1
# Older is just old: an age that grows on would be a trend that no training day has seen.
OLD_DAYS = 60
USUAL_PRICE_DAYS = 28


def columns(panel: Panel, series: Ints, days: Ints, known: Known) -> Columns:
    """Weekday, relative price, promotion, days since the first sale, days to and since a public holiday."""
    first_sold = panel.items["first_sold"].to_numpy(np.int64)[series]
    to_next, since_last = _holiday_distances(panel.country, int(days.min()), int(days.max()))
    at = days - int(days.min())
    return cold_start.columns(panel, series, days, known) | {
        "price": known.price,
        "relative_price": known.price / _usual_price(panel, series, days),
        "promo": known.promo,
        "days_since_first_sale": np.clip(days - first_sold, 0, OLD_DAYS).astype(np.float32),
        "days_to_holiday": to_next[at],
        "days_since_holiday": since_last[at],
    }


def _usual_price(panel: Panel, series: Ints, days: Ints) -> npt.NDArray[np.float32]:
    """Mean of the price last seen on each of the days before; after the panel's end, on its last days."""
    price = last_seen(panel.price, panel)
    seen = ~np.isnan(price)
    sums = np.concatenate(([0.0], np.cumsum(np.where(seen, price, 0), dtype=np.float64)))
    counts = np.concatenate(([0], np.cumsum(seen, dtype=np.int32)))
    begin = panel.offsets[series]
    end = begin + np.minimum(days, panel.last_day + 1) - panel.start[series]
    begin = np.maximum(begin, end - USUAL_PRICE_DAYS)
    with np.errstate(invalid="ignore"):
        return ((sums[end] - sums[begin]) / (counts[end] - counts[begin])).astype(np.float32)


@lru_cache(maxsize=64)
def _holiday_distances(country: str, first: int, last: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """For each day from `first` to `last`: days to the next and since the last public holiday, cut off."""
    days = np.arange(first, last + 1)
    dates = public_holidays.listed(country, as_date(first - DAYS_AFTER), as_date(last + DAYS_BEFORE))
    listed = np.array([day_number(date) for date in dates], dtype=np.int64)
    to_next, since_last = np.full(len(days), DAYS_BEFORE + 1), np.full(len(days), DAYS_AFTER + 1)
    for holiday in listed:
        ahead = holiday - days
        to_next = np.where((ahead >= 0) & (ahead < to_next), ahead, to_next)
        since_last = np.where((ahead <= 0) & (-ahead < since_last), -ahead, since_last)
    return to_next.astype(np.float32), since_last.astype(np.float32)


TIER = Tier(
    name="production",
    lags=cold_start.LAGS,
    transforms=cold_start.transforms,
    columns=columns,
    column_names=(
        *cold_start.TIER.column_names,
        "price",
        "relative_price",
        "promo",
        "days_since_first_sale",
        "days_to_holiday",
        "days_since_holiday",
    ),
    lag_days=cold_start.TIER.lag_days,
    lookback_days=USUAL_PRICE_DAYS + REMEMBERED_DAYS,
    params=cold_start.PARAMS,
    statics=("store_id", "department", "category"),
    needs=("price", "department"),
    min_history_days=56,
)
