"""Lags, windows and the calendar: works with any history."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mlforecast.lag_transforms import RollingMean, SeasonalRollingMean

from forecasting.known import Ints, Known
from forecasting.panel import Panel
from forecasting.tiers.base import Columns, Tier

LAGS = (1, 2, 3, 4, 5, 6, 7, 14, 28)
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0

# Chosen on blocks of two panels: of M5 before its last four weeks, of Complete Journey with its last four weeks too, so
# that these are no untouched test of it. A higher power fits the many zeros a little better and pays with forecasts
# that are too low when demand rises.
PARAMS: dict[str, Any] = {
    "objective": "reg:tweedie",
    "tweedie_variance_power": 1.2,
    "num_boost_round": 100,
    "learning_rate": 0.1,
    "max_leaves": 127,
    "max_depth": 0,
    "grow_policy": "lossguide",
    "min_child_weight": 5.0,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "tree_method": "hist",
    # Most values of a slow seller's lags are 0: 256 bins leave too few for the days that matter.
    "max_bin": 1024,
    "seed": 7,
}


def transforms() -> Mapping[int, Sequence[Any]]:
    """Window functions per lag; fresh objects, since mlforecast keeps state in them."""
    return {
        1: [
            RollingMean(7, min_samples=1),
            RollingMean(14, min_samples=1),
            RollingMean(28, min_samples=1),
            RollingMean(56, min_samples=1),
        ],
        7: [
            SeasonalRollingMean(season_length=7, window_size=4, min_samples=1),
            SeasonalRollingMean(season_length=7, window_size=8, min_samples=1),
        ],
    }


def columns(panel: Panel, series: Ints, days: Ints, known: Known) -> Columns:
    """The weekday, Monday 0."""
    return {"weekday": ((days + EPOCH_WEEKDAY) % 7).astype(np.float32)}


TIER = Tier(
    name="cold_start",
    lags=LAGS,
    transforms=transforms,
    columns=columns,
    column_names=("weekday",),
    lag_days=63,
    lookback_days=63,
    params=PARAMS,
)
