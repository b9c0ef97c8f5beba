"""The two ways in which a recipe is fitted and judged: with a hold-out of a month, and in an emergency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from forecasting.evaluate import Judged, beside_champion, calibrated, judge, roll, with_intervals
from forecasting.panel import Panel
from forecasting.train import Model, Recipe, fit, target_rows
from mlops import backtests
from mlops.models import ModelPolicy

MOST_ROWS_OF_TWO_FITS = 500_000  # 50 MB of features each

Stage = Callable[[str], None]
LoggedForecasts = Callable[[list[dt.date], int], pd.DataFrame]


@dataclass(frozen=True)
class Fitted:
    """Both fits of one recipe, and how the first one did on the days after it."""

    evaluation: Model
    serving: Model
    judged: Judged
    split: backtests.Split


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
    fit_serving = partial(fit, panel, recipe, first=split.serving_start, last=split.last_day)
    with _beside(fit_serving, panel, split) as serving:
        stage("fitting the days before the hold-out")
        evaluation = fit(panel, recipe, first=split.evaluation_start, last=split.cutoff)
        stage("forecasting the hold-out")
        judged = judge(evaluation, panel, split, policy)
        backtests.no_day_scored_was_trained_on(judged.rows["ds"], split.holdout_start, evaluation.last_target)
        widths, judged = calibrated(judged, policy)
        stage("fitting up to the last day")
        return Fitted(replace(evaluation, widths=widths), replace(serving(), widths=widths), judged, split)


@contextmanager
def _beside(work: Callable[[], Model], panel: Panel, split: backtests.Split) -> Iterator[Callable[[], Model]]:
    """The fit, begun at once in a thread of its own; where two at a time would take much memory, when it is asked for.

    The trees of few rows are too small to keep several cores busy.
    """
    if target_rows(panel, split.serving_start, split.last_day).sum() > MOST_ROWS_OF_TWO_FITS:
        yield work
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(work).result


def beside_standard(fitted: Fitted, champion: Champion, panel: Panel, policy: ModelPolicy) -> pd.DataFrame:
    """The fit's deciding rows beside the champion's recipe on its own window, on identical rows."""
    model = champion.before(fitted.split.cutoff, fitted.split.holdout_days, panel)
    judged = roll(model, panel, fitted.split.origins, horizon=policy.decision_leads, policy=policy)
    backtests.no_day_scored_was_trained_on(judged.rows["ds"], fitted.split.holdout_start, model.last_target)
    judged = with_intervals(judged, model.widths) if model.widths else calibrated(judged, policy)[1]
    return beside_champion(fitted.judged, judged, policy.decision_leads)


def emergency(panel: Panel, recipe: Recipe, split: backtests.Split, policy: ModelPolicy, stage: Stage) -> Fitted:
    """A fit of 30 days, judged by refitting at each origin of the last week and forecasting one and two days ahead."""
    stage("refitting at each origin of the last week")
    window = dt.timedelta(days=policy.emergency_train_days - 1)
    parts, excluded, first_fit = [], 0, None
    for origin in split.origins:
        model = fit(panel, recipe, first=origin - window, last=origin)
        first_fit = first_fit or model
        judged = roll(model, panel, [origin], horizon=backtests.EMERGENCY_LEADS, policy=policy)
        backtests.no_day_scored_was_trained_on(judged.rows["ds"], origin + dt.timedelta(days=1), model.last_target)
        parts.append(judged.rows)
        excluded += judged.excluded
    if first_fit is None:
        raise ValueError("An emergency split has at least one origin.")
    rows = pd.concat(parts, ignore_index=True)
    rows["store_id"], rows["department"] = rows["store_id"].astype("category"), rows["department"].astype("category")
    widths, judged = calibrated(Judged(rows, excluded), policy)
    stage("fitting up to the last day")
    serving = fit(panel, recipe, first=split.serving_start, last=split.last_day)
    return Fitted(replace(first_fit, widths=widths), replace(serving, widths=widths), judged, split)


def beside_emergency(
    fitted: Fitted, champion: Champion, panel: Panel, policy: ModelPolicy, logged: LoggedForecasts
) -> pd.DataFrame:
    """The fit's rows beside the champion's logged forecasts of the same origin and lead, else recomputed ones."""
    model = champion.before(fitted.split.cutoff, fitted.split.holdout_days, panel)
    judged = roll(model, panel, fitted.split.origins, horizon=backtests.EMERGENCY_LEADS, policy=policy)
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
