"""Forecasts: the days after a panel's last, one step at a time, each step from the ones before."""

import datetime as dt
import warnings
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting import features
from forecasting.known import before, last_seen
from forecasting.outlook import Outlook
from forecasting.panel import WEEK, Panel, day_number
from forecasting.train import Model
from mlops import intervals

NEWCOMER_DAYS = 28


@dataclass
class _Stepper:
    """What mlforecast calls at each step: its lag features, joined by the columns of that day."""

    model: Model
    columns: npt.NDArray[np.float32]
    step: int = field(default=0)

    def predict(self, lags: pd.DataFrame) -> npt.NDArray[np.float32]:
        X = np.hstack([lags.to_numpy(np.float32), self.columns[:, self.step]])
        self.step += 1
        return self.model.predict(X)


def expected(
    model: Model, outlook: Outlook, horizon: int, series: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.float32]:
    """Units of the `horizon` days after the outlook's last (series x horizon; finite, never negative).

    `series` are rows of its `items` in ascending order; none named means all.
    """
    wanted = np.arange(len(outlook.panel.items)) if series is None else series
    if not len(wanted):
        return np.zeros((0, horizon), dtype=np.float32)
    engine = outlook.lags(model.tier)
    engine.models_ = {"prediction": _Stepper(model, outlook.columns(model, wanted, horizon))}
    ids = None if series is None else wanted.tolist()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found null values")  # a young series has no long lags yet
        values = engine.predict(horizon, ids=ids)["prediction"].to_numpy(np.float32)
    return values.reshape(len(wanted), horizon)


def predict(model: Model, panel: Panel, horizon: int) -> pd.DataFrame:
    """The `horizon` days after the panel's last day for each of its series, in the order of `panel.items`.

    Columns: unique_id, ds, lead (1 = the next day), prediction (finite, never negative).
    """
    values = expected(model, Outlook(panel), horizon)
    return _long(panel.items["unique_id"], panel.last_day, horizon, values.ravel())


def predict_active(model: Model, panel: Panel, origin: dt.date, horizon: int, active_days: int) -> pd.DataFrame:
    """`predict` as of an earlier origin, for the series that were active then."""
    past = panel.between(last_day=day_number(origin))
    return predict(model, past.select(past.active(active_days)), horizon)


def predict_lead_one(model: Model, panel: Panel, first: dt.date, last: dt.date, active_days: int) -> pd.DataFrame:
    """One day ahead for every day from `first` to `last`, each from its own past, in one batch on true lags."""
    earliest = day_number(first) - max(model.tier.lookback_days, active_days)
    recent = panel.between(earliest, day_number(last))
    wanted = (recent.days >= day_number(first)) & _sold_recently(recent, active_days)
    computed = features.matrix(recent, model.tier, model.categories, rows=wanted, training=False)
    ds = features.dates(recent.days[computed.at])
    return pd.DataFrame(
        {
            "unique_id": recent.unique_ids(recent.series[computed.at]),
            "ds": ds,
            "lead": np.int16(1),
            "origin": ds - np.timedelta64(1, "D"),
            "prediction": model.predict(computed.X),
        }
    )


def _sold_recently(panel: Panel, active_days: int) -> npt.NDArray[np.bool_]:
    """For each day whether its series sold within the `active_days` before it."""
    sold = np.where((panel.y > 0) & panel.observed, np.float32(1), np.float32(np.nan))
    return ~np.isnan(before(last_seen(sold, panel, within=active_days), panel))


def predict_unsold(panel: Panel, items: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """The `horizon` days after the panel's last for items that have never sold, as `predict` gives them.

    No lag is known of them, and no training row is without, so the model has nothing to say. What says something is
    how items of the same department sold in their first NEWCOMER_DAYS after the day of their first sale (which is
    above zero by selection): the mean of these days, the same for each day ahead. Items that were there when the
    records began do not count as new. Where the department, or anybody, has launched nothing, its mean of the last
    NEWCOMER_DAYS stands in, and 0 where nothing was ever sold. `items` has unique_id and department.
    """
    first_sold = panel.items["first_sold"].to_numpy(np.int64)
    age = panel.days - np.repeat(first_sold, panel.sizes)
    launched = np.repeat(first_sold >= first_sold.min(initial=panel.last_day) + NEWCOMER_DAYS, panel.sizes)
    launch = panel.observed & launched & (age > 0) & (age <= NEWCOMER_DAYS)
    recent = panel.observed & (panel.days > panel.last_day - NEWCOMER_DAYS)
    wanted = items["department"].astype(str)
    level = pd.Series(np.nan, index=items.index, dtype=np.float32)
    for rows in (launch, recent):
        sold = pd.Series(panel.y[rows]).groupby(panel.items["department"].astype(str).to_numpy()[panel.series[rows]])
        level = level.fillna(wanted.map(sold.mean()))
    overall = panel.y[launch] if launch.any() else panel.y[recent]
    level = level.fillna(float(overall.mean()) if len(overall) else 0.0)
    values = np.repeat(level.to_numpy(np.float32), horizon)
    return _long(items["unique_id"], panel.last_day, horizon, values)


def seasonal_naive(panel: Panel, horizon: int) -> pd.DataFrame:
    """The same weekday of the last week before the origin, for each of the `horizon` days after the panel's last."""
    ends = panel.offsets + panel.sizes
    back = WEEK - np.arange(horizon) % WEEK
    at = ends[:, None] - back[None, :]
    values = np.where(at >= panel.offsets[:, None], panel.y[np.maximum(at, 0)], 0).astype(np.float32)
    return _long(panel.items["unique_id"], panel.last_day, horizon, values.ravel())


def with_intervals(rows: pd.DataFrame, model: Model, bands: pd.Series) -> pd.DataFrame:
    """Forecast rows with `band`, `lower` and `upper`; `bands` gives each unique_id's velocity band at the origin."""
    rows = rows.assign(band=rows["unique_id"].astype(str).map(bands).to_numpy())
    if model.widths is None:
        return rows.assign(lower=np.float32(np.nan), upper=np.float32(np.nan))
    return intervals.apply(rows, model.widths)


def velocity_bands(panel: Panel, medium_from: float, fast_from: float) -> pd.Series:
    """Each series' band by its mean of the last 28 days, by unique_id."""
    bands = intervals.velocity_band(panel.trailing_mean(NEWCOMER_DAYS), medium_from, fast_from)
    return pd.Series(bands, index=panel.items["unique_id"].astype(str))


def _long(ids: pd.Series, last_day: int, horizon: int, values: npt.NDArray[np.float32]) -> pd.DataFrame:
    n = len(ids)
    days = np.tile(last_day + 1 + np.arange(horizon), n)
    codes = np.repeat(np.arange(n, dtype=np.int32), horizon)
    return pd.DataFrame(
        {
            "unique_id": pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(pd.Index(ids))),  # type: ignore[arg-type]  # an array will do
            "ds": features.dates(days),
            "lead": np.tile(np.arange(1, horizon + 1, dtype=np.int16), n),
            "prediction": values,
        }
    )
