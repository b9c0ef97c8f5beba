import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecasting import protocols
from forecasting.panel import Panel, as_date, day_number
from forecasting.protocols import Champion, Fitted
from forecasting.tests.synthetic import LAST, shop_panel
from forecasting.train import Recipe
from mlops import backtests
from mlops.models import ModelPolicy

POLICY = ModelPolicy()
RECIPE = Recipe("cold_start", {"num_boost_round": 15, "max_leaves": 15, "learning_rate": 0.2})
SHORT = replace(RECIPE, window_days=30)
STAGES: list[str] = []


def no_logged(_origins: list[dt.date], _leads: int) -> pd.DataFrame:
    return pd.DataFrame()


def champion(fitted: Fitted) -> Champion:
    return Champion(fitted.evaluation, fitted.serving.first_target, fitted.serving.last_target)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return shop_panel()


def month(panel: Panel, last: dt.date = LAST) -> Fitted:
    past = panel.between(last_day=day_number(last))
    split = backtests.split(as_date(int(past.start.min())), last, POLICY)
    return protocols.standard(past, RECIPE, split, POLICY, STAGES.append)


def week(panel: Panel, last: dt.date = LAST) -> Fitted:
    past = panel.between(last_day=day_number(last))
    split = backtests.emergency_split(as_date(int(past.start.min())), last, POLICY)
    return protocols.emergency(past, SHORT, split, POLICY, STAGES.append)


@pytest.fixture(scope="module")
def fitted(panel: Panel) -> Fitted:
    return month(panel)


@pytest.fixture(scope="module")
def urgent(panel: Panel) -> Fitted:
    return week(panel)


def test_neither_fit_of_a_month_saw_a_scored_day(fitted):
    scored = fitted.judged.rows["ds"].dt.date

    assert fitted.evaluation.last_target < scored.min()
    assert fitted.serving.last_target == scored.max() == LAST
    assert fitted.evaluation.widths == fitted.serving.widths


def test_a_recipe_beside_itself_is_not_better(fitted, panel):
    rows = protocols.beside_standard(fitted, champion(fitted), panel, POLICY)

    np.testing.assert_array_equal(rows["champion"], rows["prediction"])
    np.testing.assert_array_equal(rows["champion_lower"], rows["lower"])
    assert len(rows) == len(fitted.judged.near(POLICY.decision_leads))


def test_last_weeks_champion_is_judged_by_the_fit_that_it_stored(panel, fitted):
    older = champion(month(panel, LAST - dt.timedelta(days=7)))

    assert older.before(fitted.split.cutoff, 30, panel) is older.evaluation


def test_a_champion_from_an_emergency_is_refitted_on_its_own_window_moved_back(urgent, panel, fitted):
    model = champion(urgent).before(fitted.split.cutoff, fitted.split.holdout_days, panel)

    assert urgent.evaluation.last_target > fitted.split.cutoff
    assert model.last_target == fitted.split.cutoff
    assert (model.last_target - model.first_target).days == 29
    assert model.recipe == SHORT
    assert model.widths is None


def test_a_champion_from_an_emergency_is_compared_on_days_it_never_saw(urgent, panel, fitted):
    rows = protocols.beside_standard(fitted, champion(urgent), panel, POLICY)

    assert rows["champion"].notna().all()
    assert not np.array_equal(rows["champion"], rows["prediction"])


def test_an_emergency_scores_the_last_week_once(urgent):
    days = urgent.judged.rows.groupby("unique_id", observed=True)["ds"].agg(["nunique", "size"])

    assert (days == 7).all(axis=None)
    assert urgent.judged.rows["lead"].isin([1, 2]).all()
    assert (urgent.serving.last_target - urgent.serving.first_target).days == 29


def test_an_emergency_refits_at_each_origin_without_looking_ahead(urgent, panel):
    wild = np.where(panel.days > panel.last_day - 3, panel.y * 9 + 5, panel.y).astype(np.float32)

    changed = week(replace(panel, y=wild))

    until = urgent.judged.rows["origin"].dt.date <= LAST - dt.timedelta(days=3)
    np.testing.assert_array_equal(
        urgent.judged.rows.loc[until, "prediction"], changed.judged.rows.loc[until, "prediction"]
    )
    assert not np.array_equal(urgent.judged.rows["y"], changed.judged.rows["y"])


def test_in_an_emergency_the_champions_published_forecasts_count(urgent, panel, fitted):
    own = champion(month(panel, LAST - dt.timedelta(days=14)))
    recomputed = protocols.beside_emergency(urgent, own, panel, POLICY, no_logged)
    judged = recomputed["champion_lower"].notna()
    published = recomputed.loc[judged, ["unique_id", "ds", "origin"]].head(1)
    published = published.assign(prediction=123.0, lower=120.0, upper=130.0)

    rows = protocols.beside_emergency(urgent, own, panel, POLICY, lambda _origins, _leads: published)

    at = published.index[0]
    assert rows.loc[at, ["champion", "champion_lower", "champion_upper"]].tolist() == [123.0, 120.0, 130.0]
    np.testing.assert_array_equal(rows["champion"].drop(at), recomputed["champion"].drop(at))


def test_fits_side_by_side_are_those_of_one_after_the_other(panel, fitted, urgent, monkeypatch):
    monkeypatch.setattr(protocols, "MOST_ROWS_SIDE_BY_SIDE", 0)

    for together, apart in ((fitted, month(panel)), (urgent, week(panel))):
        for name in ("evaluation", "serving"):
            one, other = getattr(together, name), getattr(apart, name)
            assert (one.first_target, one.last_target, one.rows) == (other.first_target, other.last_target, other.rows)
        np.testing.assert_allclose(together.judged.rows["prediction"], apart.judged.rows["prediction"], rtol=1e-4)
