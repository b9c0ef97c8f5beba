"""The two ways in which a recipe is fitted and judged: with a hold-out of a month, and in an emergency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pandas as pd

from forecasting.evaluate import Judged, Past, beside_champion, calibrated, judge, roll, with_intervals
from forecasting.panel import Panel
from forecasting.train import Model, Recipe, fit, target_rows, threads
from mlops import backtests
from mlops.models import ModelPolicy

FITS_AT_ONCE = 2
MOST_ROWS_SIDE_BY_SIDE = 500_000  # 50 MB of features each

Stage = Callable[[str], None]
Window = tuple[dt.date, dt.date]
LoggedForecasts = Callable[[list[dt.date], int], pd.DataFrame]


@dataclass(frozen=True)
class Fitted:
    """Both fits of one recipe, and how the first one did on the days after it."""

    evaluation: Model
    serving: Model
    judged: Judged
    split: backtests.Split
    past: Past


@dataclass(frozen=True)
class Champion:
    """The champion as it can be judged: the fit it stored for that, its recipe, and the window that it serves with.

    `panel` is what its recipe is fitted on, where that is another one than is judged: a wider segment's.
    """

    evaluation: Model
    serving_first: dt.date
    serving_last: dt.date
    panel: Panel | None = None

    def before(self, cutoff: dt.date, holdout_days: int, panel: Panel) -> Model:
        """A fit of its recipe that has seen nothing after `cutoff`: the stored one, or its own window moved back.

        A refitted one has no widths: the stored ones were calibrated on days that are judged now.
        """
        if self.evaluation.last_target <= cutoff:
            return self.evaluation
        back = dt.timedelta(days=holdout_days)
        last = min(self.serving_last - back, cutoff)
        first = last - (self.serving_last - self.serving_first)
        own = panel if self.panel is None else self.panel
        return fit(own, self.evaluation.recipe, first=first, last=last)


def standard(panel: Panel, recipe: Recipe, split: backtests.Split, policy: ModelPolicy, stage: Stage) -> Fitted:
    """The evaluation fit, scored and calibrated on the hold-out, and the serving fit with its widths."""
    windows = [(split.evaluation_start, split.cutoff), (split.serving_start, split.last_day)]
    models = _fits(panel, recipe, windows)
    stage("fitting the days before the hold-out")
    evaluation = next(models)
    stage("forecasting the hold-out")
    past = Past(panel, policy)
    judged = judge(evaluation, past, split, policy)
    backtests.no_day_scored_was_trained_on(judged.rows["ds"], split.holdout_start, evaluation.last_target)
    widths, judged = calibrated(judged, policy)
    stage("fitting up to the last day")
    serving = next(models)
    return Fitted(replace(evaluation, widths=widths), replace(serving, widths=widths), judged, split, past)


def _fits(panel: Panel, recipe: Recipe, windows: Sequence[Window]) -> Iterator[Model]:
    """The recipe fitted on the targets of each window, in order.

    The trees of few rows do not keep several cores busy: then fits run side by side, ahead of whoever asks for the
    next one. Of many rows two would take too much memory.
    """
    if max(target_rows(panel, *window).sum() for window in windows) > MOST_ROWS_SIDE_BY_SIDE:
        yield from (fit(panel, recipe, first=first, last=last) for first, last in windows)
        return
    cores = max(1, threads() // FITS_AT_ONCE)
    with ThreadPoolExecutor(FITS_AT_ONCE) as pool:
        yield from pool.map(lambda window: fit(panel, recipe, first=window[0], last=window[1], cores=cores), windows)


def beside_standard(fitted: Fitted, champion: Champion, panel: Panel, policy: ModelPolicy) -> pd.DataFrame:
    """The fit's deciding rows beside the champion's recipe on its own window, on identical rows."""
    model = champion.before(fitted.split.cutoff, fitted.split.holdout_days, panel)
    judged = roll(model, fitted.past, fitted.split.origins, horizon=policy.decision_leads, policy=policy)
    backtests.no_day_scored_was_trained_on(judged.rows["ds"], fitted.split.holdout_start, model.last_target)
    judged = with_intervals(judged, model.widths) if model.widths else calibrated(judged, policy)[1]
    return beside_champion(fitted.judged, judged, policy.decision_leads)


def emergency(panel: Panel, recipe: Recipe, split: backtests.Split, policy: ModelPolicy, stage: Stage) -> Fitted:
    """A fit of 30 days, judged by refitting at each origin of the last week and forecasting one and two days ahead."""
    stage("refitting at each origin of the last week")
    back = dt.timedelta(days=policy.emergency_train_days - 1)
    windows = [(origin - back, origin) for origin in split.origins]
    models = _fits(panel, recipe, [*windows, (split.serving_start, split.last_day)])
    parts, excluded, first_fit, past = [], 0, None, Past(panel, policy)
    for origin in split.origins:
        model = next(models)
        first_fit = first_fit or model
        judged = roll(model, past, [origin], horizon=backtests.EMERGENCY_LEADS, policy=policy)
        backtests.no_day_scored_was_trained_on(judged.rows["ds"], origin + dt.timedelta(days=1), model.last_target)
        parts.append(judged.rows)
        excluded += judged.excluded
    if first_fit is None:
        raise ValueError("An emergency split has at least one origin.")
    rows = pd.concat(parts, ignore_index=True)
    rows["store_id"], rows["department"] = rows["store_id"].astype("category"), rows["department"].astype("category")
    widths, judged = calibrated(Judged(rows, excluded), policy)
    stage("fitting up to the last day")
    serving = next(models)
    return Fitted(replace(first_fit, widths=widths), replace(serving, widths=widths), judged, split, past)


def beside_emergency(
    fitted: Fitted, champion: Champion, panel: Panel, policy: ModelPolicy, logged: LoggedForecasts
) -> pd.DataFrame:
    """The fit's rows beside the champion's logged forecasts of the same origin and lead, else recomputed ones."""
    model = champion.before(fitted.split.cutoff, fitted.split.holdout_days, panel)
    judged = roll(model, fitted.past, fitted.split.origins, horizon=backtests.EMERGENCY_LEADS, policy=policy)
    judged = with_intervals(judged, model.widths) if model.widths else calibrated(judged, policy)[1]
    known = logged(list(fitted.split.origins), backtests.EMERGENCY_LEADS)
    if len(known):
        judged = replace(judged, rows=_as_logged(judged.rows, known))
    return beside_champion(fitted.judged, judged, policy.decision_leads)


def _as_logged(rows: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The rows with what was published where it was: prediction and interval together, and the interval only on days
    that are judged."""
    merged = rows.merge(known, on=["unique_id", "ds", "origin"], how="left", suffixes=("", "_logged"))
    published = merged["prediction_logged"].notna()
    for name in ("prediction", "lower", "upper"):
        replaced = published if name == "prediction" else published & merged[name].notna()
        merged[name] = merged[name].mask(replaced, merged[f"{name}_logged"].astype(merged[name].dtype))
    return merged[rows.columns]
