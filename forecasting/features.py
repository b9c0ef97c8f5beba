"""From a panel to the matrix that a model sees; training and serving share every line of it."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from mlforecast import MLForecast

from forecasting import known, segments
from forecasting.panel import Panel, as_date, from_transactions
from forecasting.tiers import TIERS, tier_named
from forecasting.tiers.base import Tier, codes
from mlops.models import GLOBAL, ModelPolicy

logger = logging.getLogger(__name__)
PARTS_AT_ONCE = 2  # more than that wait for the interpreter's lock

Categories = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Matrix:
    """`X` (rows x features, float32, NaN = unknown) and which panel positions its rows are."""

    X: npt.NDArray[np.float32]
    names: list[str]
    at: npt.NDArray[np.integer]


def lag_engine(tier: Tier) -> MLForecast:
    """An unfitted mlforecast with the tier's lags and windows."""
    return MLForecast(
        models=[],
        freq="D",
        lags=list(tier.lags),
        lag_transforms=dict(tier.transforms()),
        lag_transforms_namer=window_name,
    )


def window_name(window: Any, lag: int, *_args: object) -> str:
    """Such as `rolling_mean_28` for the 28 days before, or `seasonal_rolling_mean_4_lag7` for four weekdays."""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(window).__name__).lower()
    return f"{kind}_{window.window_size}" + (f"_lag{lag}" if lag > 1 else "")


def lag_frame(panel: Panel) -> pd.DataFrame:
    """The panel as mlforecast takes it; ids are rows of `panel.items`.

    Windows are summed along a series. Whole units sum exactly in float32; fractions get doubles, since their last bits
    would depend on where the history was cut, which is enough to fall on the other side of a tree's split.
    """
    y = panel.y
    if (y != np.rint(y)).any():
        y = y.astype(np.float64)
    return pd.DataFrame({"unique_id": panel.series, "ds": dates(panel.days), "y": y}, copy=False)


def dates(days: npt.NDArray[np.integer]) -> npt.NDArray[np.datetime64]:
    """Day numbers as the timestamps of a frame."""
    return days.astype("datetime64[D]").astype("datetime64[ns]")


def lag_names(tier: Tier) -> list[str]:
    """The features that mlforecast computes, in its order."""
    return list(lag_engine(tier).ts.transforms)


def feature_names(tier: Tier) -> list[str]:
    """All features of the tier in the order of the matrix."""
    return [*lag_names(tier), *tier.column_names, *tier.statics]


def categories_of(panel: Panel, tier: Tier) -> dict[str, list[str]]:
    """The categories that a model of this tier will know, from the series it is trained on."""
    return {name: sorted(set(panel.items[name].astype(str)) - {""}) for name in tier.statics}


def matrix(
    panel: Panel,
    tier: Tier,
    categories: Categories,
    *,
    rows: npt.NDArray[np.bool_],
    training: bool,
) -> Matrix:
    """The features of the panel's `rows`, each from what was known on the morning of its day.

    `training` lets a price or promotion recorded on the day itself count (see `known.at_lead_one`).
    """
    at = np.flatnonzero(rows).astype(np.int32)
    names = feature_names(tier)
    X = np.empty((len(names), len(at)), dtype=np.float32).T  # each feature's values lie together, as they are written
    if not len(at):
        return Matrix(X, names, at)
    evidence = known.Evidence(panel)

    def fill(days: slice, part: Panel) -> None:
        into = slice(*np.searchsorted(at, np.array([days.start, days.stop], at.dtype)))
        if into.start < into.stop:
            asked = at[into].astype(np.intp) - days.start
            known_then = known.at_lead_one(part, asked, evidence, training=training)
            for place, values in enumerate(_columns(part, tier, categories, asked, known_then)):
                X[into, place] = values

    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
        list(pool.map(fill, *zip(*panel.parts(), strict=True)))
    return Matrix(X, names, at)


def _columns(
    panel: Panel, tier: Tier, categories: Categories, at: npt.NDArray[np.integer], known_then: known.Known
) -> Iterator[npt.NDArray]:
    """The features of these days (positions in the panel), one after the other in the order of `feature_names`."""
    # The panel has no gaps and no duplicates by construction, so mlforecast's checks of that are left out.
    lags = lag_engine(tier).ts
    frame = lags.fit_transform(lag_frame(panel), "unique_id", "ds", "y", static_features=[], dropna=False)
    yield from (frame[name].to_numpy()[at] for name in lags.transforms)
    series = panel.series[at]
    columns = tier.columns(panel, series, panel.days[at], known_then)
    yield from (columns[name] for name in tier.column_names)
    yield from (codes(panel.items, name, categories[name])[series] for name in tier.statics)


def detect_feature_tier(transactions_df: pd.DataFrame) -> str:
    """`production` where its columns are there and filled and the history is long enough, else `cold_start`."""
    return tier_for(from_transactions(transactions_df))


def tier_for(panel: Panel) -> str:
    """The richest tier that this panel can feed."""
    history = panel.last_day - int(panel.start.min(initial=panel.last_day)) + 1
    has = {
        "price": bool(np.isfinite(panel.price).any() or len(panel.plans)),
        "department": bool((panel.items["department"].astype(str) != "").any()),
    }
    able = [
        tier for tier in TIERS.values() if history >= tier.min_history_days and all(has[need] for need in tier.needs)
    ]
    return max(able, key=lambda tier: len(tier.needs)).name


def create_features(
    transactions_df: pd.DataFrame,
    force_tier: str | None = None,
    *,
    country: str = "",
    policy: ModelPolicy | None = None,
) -> dict[str, pd.DataFrame]:
    """Segment -> feature frame (`unique_id, ds, y`, then the tier's features) from a long frame of sales.

    `force_tier` is a feature tier, or department_tiered, store_cluster_tiered or lifecycle_tiered: one frame a segment,
    with the features of the richest tier that the data feed. See `panel.from_transactions` for the columns it takes.
    Every value of a day follows from earlier days, from what was planned, and from price and promotion of the day.
    """
    panel = from_transactions(transactions_df, country=country)
    tier = _feature_tier(panel, force_tier)
    days = _days_by_segment(panel, force_tier, policy or ModelPolicy())
    return {segment: _frame_of(panel, tier, rows, training=True) for segment, rows in days.items()}


def create_features_for_prediction(
    transactions_df: pd.DataFrame,
    force_tier: str | None = None,
    *,
    country: str = "",
    policy: ModelPolicy | None = None,
) -> dict[str, pd.DataFrame]:
    """Segment -> the features of the day after the last one in the frame, one row a series."""
    sold = from_transactions(transactions_df, country=country)
    tier = _feature_tier(sold, force_tier)
    panel = from_transactions(transactions_df, country=country, last_day=as_date(sold.last_day + 1))
    days = _days_by_segment(panel, force_tier, policy or ModelPolicy())
    next_day = {segment: rows & (panel.days == panel.last_day) for segment, rows in days.items()}
    return {
        segment: _frame_of(panel, tier, rows, training=False).drop(columns="y") for segment, rows in next_day.items()
    }


def _feature_tier(panel: Panel, force_tier: str | None) -> Tier:
    return tier_named(tier_for(panel) if force_tier is None or force_tier in segments.TIERED else force_tier)


def _days_by_segment(panel: Panel, force_tier: str | None, policy: ModelPolicy) -> dict[str, segments.Mask]:
    if force_tier not in segments.TIERED:
        return {GLOBAL: np.ones(len(panel), dtype=bool)}
    division = segments.divide(panel, segments.TIERED[force_tier], policy)
    for note in division.notes:
        logger.warning("%s: %s.", force_tier, note)
    return division.days


def _frame_of(panel: Panel, tier: Tier, rows: segments.Mask, *, training: bool) -> pd.DataFrame:
    """Of these days only; series without any are not computed."""
    keep = np.bincount(panel.series[rows], minlength=len(panel.items)) > 0
    return feature_frame(panel.select(keep), tier, rows[np.repeat(keep, panel.sizes)], training=training)


def feature_frame(panel: Panel, tier: Tier, rows: npt.NDArray[np.bool_], *, training: bool) -> pd.DataFrame:
    """The matrix as a frame that a person can read."""
    computed = matrix(panel, tier, categories_of(panel, tier), rows=rows, training=training)
    keys = {
        "unique_id": panel.unique_ids(panel.series[computed.at]),
        "ds": dates(panel.days[computed.at]),
        "y": panel.y[computed.at],
    }
    return pd.DataFrame(keys | {name: computed.X[:, place] for place, name in enumerate(computed.names)})
