"""A fit judged on days it never saw: by rolling origins, beside seasonal naive, on the same rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from forecasting.outlook import Outlook, days_back
from forecasting.panel import WEEK, Panel, as_date, day_number
from forecasting.predict import expected, predict_lead_one, seasonal_naive
from forecasting.train import Model
from mlops import backtests, intervals
from mlops.models import ModelPolicy

SEASONAL_NAIVE = "seasonal_naive"
BAND_DAYS = 28
MOST_ROWS_KEPT = 500_000  # of a panel; of a larger one the pasts together would take too much memory


@dataclass(frozen=True)
class Judged:
    """Scored rows: unique_id, ds, origin, lead, band, prediction, naive, y, scale, department, store_id, and with
    intervals lower and upper.

    `rows` are forecasts of rolling origins; `lead_one` is every held-out day forecast on the day before, in one batch
    on true lags. `excluded` counts forecasts whose day was not covered: they are shown, never scored as 0.
    """

    rows: pd.DataFrame
    excluded: int
    lead_one: pd.DataFrame | None = None

    def near(self, decision_leads: int) -> pd.DataFrame:
        """The rows that decide: each day once, at the leads 1 to `decision_leads`."""
        return self.rows[self.rows["lead"] <= decision_leads]


class Past:
    """A panel as it was known at earlier origins, worked out once for all models that are judged from there."""

    def __init__(self, panel: Panel, policy: ModelPolicy) -> None:
        self.panel, self._active_days = panel, policy.active_days
        self._known: dict[dt.date, Origin] = {}

    def at(self, origin: dt.date) -> Origin:
        """What a night with this origin reads, of the series that were active then."""
        known = self._known.get(origin) or self._read(origin)
        if len(self.panel) <= MOST_ROWS_KEPT:
            self._known[origin] = known
        return known

    def _read(self, origin: dt.date) -> Origin:
        last = day_number(origin)
        begun = self.panel.start <= last
        night = self.panel.between(last - days_back(self._active_days), last)
        active = night.active(self._active_days)
        return Origin(Outlook(night.select(active)), np.flatnonzero(begun)[active])


@dataclass(frozen=True)
class Origin:
    """One origin: what forecasts are made of, and which rows of the whole panel's `items` its series are."""

    outlook: Outlook
    series: npt.NDArray[np.intp]


def roll(model: Model, past: Past, origins: Sequence[dt.date], *, horizon: int, policy: ModelPolicy) -> Judged:
    """The model's forecasts from each origin for the series active then, with actuals and seasonal naive beside."""

    def at(origin: dt.date, days_ahead: int) -> pd.DataFrame:
        return forecast_beside_naive(model, past.at(origin), days_ahead)

    forecasts = backtests.rolling(at, origins, horizon=horizon, last_day=as_date(past.panel.last_day))
    return with_actuals(forecasts, past.panel, model, policy)


def forecast_beside_naive(model: Model, origin: Origin, days_ahead: int) -> pd.DataFrame:
    """One origin: series (row of the whole panel's `items`), ds, prediction and naive, from sales up to the origin."""
    rows = seasonal_naive(origin.outlook.panel, days_ahead).rename(columns={"prediction": "naive"})
    return rows.drop(columns=["unique_id", "lead"]).assign(
        prediction=expected(model, origin.outlook, days_ahead).ravel(), series=np.repeat(origin.series, days_ahead)
    )


def judge(model: Model, past: Past, split: backtests.Split, policy: ModelPolicy) -> Judged:
    """The model on the whole hold-out: rolling origins, and every day one day ahead."""
    panel = past.panel
    rolled = roll(model, past, split.origins, horizon=policy.horizon_days, policy=policy)
    batch = predict_lead_one(model, panel, split.holdout_start, split.last_day, policy.active_days)
    batch["series"] = pd.Index(panel.items["unique_id"]).get_indexer(batch["unique_id"].astype(str))
    batch["naive"] = _week_before(panel, batch)
    lead_one = with_actuals(batch.drop(columns="unique_id"), panel, model, policy)
    return replace(rolled, lead_one=lead_one.rows)


def calibrated(judged: Judged, policy: ModelPolicy) -> tuple[intervals.Widths, Judged]:
    """Widths per band and lead from the first half of the held-out days; intervals on the second half only.

    Lead 1 is calibrated on the batch of every day where there is one, the others on the rolling origins.
    """
    batch = judged.lead_one
    pooled = judged.rows if batch is None else pd.concat([judged.rows[judged.rows["lead"] > 1], batch])
    widths = intervals.calibrate(pooled[backtests.calibration_half(pooled)], policy.interval_level)
    return widths, with_intervals(judged, widths)


def with_intervals(judged: Judged, widths: intervals.Widths) -> Judged:
    """The rows with intervals on the second half of the held-out days.

    Rows of the first half, which calibrates, have none: a coverage measured on them would flatter.
    """

    def bounded(rows: pd.DataFrame) -> pd.DataFrame:
        first = backtests.calibration_half(rows)
        rows = intervals.apply(rows, widths)
        rows.loc[first, ["lower", "upper"]] = np.nan
        return rows

    batch = judged.lead_one
    return replace(judged, rows=bounded(judged.rows), lead_one=None if batch is None else bounded(batch))


def beside_champion(candidate: Judged, champion: Judged, decision_leads: int) -> pd.DataFrame:
    """The candidate's deciding rows with the champion's forecast and interval, where both have one."""
    mine, theirs = backtests.identical_rows(candidate.near(decision_leads), champion.near(decision_leads))
    return mine.assign(
        champion=theirs["prediction"], champion_lower=theirs.get("lower"), champion_upper=theirs.get("upper")
    )


def with_actuals(forecasts: pd.DataFrame, panel: Panel, model: Model, policy: ModelPolicy) -> Judged:
    """Forecast rows (series, ds, origin, lead) with what was sold, the velocity band at the origin, the scale of MASE,
    and each item's department and store."""
    series = forecasts.pop("series").to_numpy(np.int64)
    day = forecasts["ds"].to_numpy().astype("datetime64[D]").astype(np.int64)
    at = panel.offsets[series] + day - panel.start[series]
    known = panel.observed[at]
    speed = mean_before(panel, at - forecasts["lead"].to_numpy() + 1, series, BAND_DAYS)
    items = panel.items.iloc[series]
    rows = forecasts.assign(
        unique_id=panel.unique_ids(series),
        y=panel.y[at],
        band=intervals.velocity_band(speed, policy.velocity_medium_from, policy.velocity_fast_from),
        scale=weekly_difference(panel, model.first_target, model.last_target)[series],
        department=pd.Categorical(items["department"]),
        store_id=pd.Categorical(items["store_id"]),
    )
    return Judged(rows[known].reset_index(drop=True), int((~known).sum()))


def mean_before(
    panel: Panel, at: npt.NDArray[np.integer], series: npt.NDArray[np.integer], days: int
) -> npt.NDArray[np.float64]:
    """Mean daily units of the `days` before each position of the panel, fewer where the series is younger."""
    sums = np.concatenate(([0.0], np.cumsum(panel.y, dtype=np.float64)))
    begin = np.maximum(panel.offsets[series], at - days)
    return (sums[at] - sums[begin]) / np.maximum(at - begin, 1)


def weekly_difference(panel: Panel, first: dt.date, last: dt.date) -> npt.NDArray[np.float64]:
    """Each series' mean |y(t) - y(t - 7)| over the training days; NaN without a pair. The denominator of MASE."""
    days, series = panel.days, panel.series
    pair = days >= np.maximum(day_number(first), np.repeat(panel.start, panel.sizes)) + WEEK
    pair &= (days <= day_number(last)) & panel.observed
    at = np.flatnonzero(pair)
    at = at[panel.observed[at - WEEK]]
    gaps = np.abs(panel.y[at].astype(np.float64) - panel.y[at - WEEK])
    count = np.bincount(series[at], minlength=len(panel.items))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.bincount(series[at], weights=gaps, minlength=len(panel.items)) / count


def _week_before(panel: Panel, rows: pd.DataFrame) -> npt.NDArray[np.float32]:
    """Seasonal naive one day ahead: the same weekday a week before, 0 where the series had not begun."""
    series = rows["series"].to_numpy(np.int64)
    day = rows["ds"].to_numpy().astype("datetime64[D]").astype(np.int64)
    at = panel.offsets[series] + day - panel.start[series] - WEEK
    return np.where(at >= panel.offsets[series], panel.y[np.maximum(at, 0)], 0).astype(np.float32)
