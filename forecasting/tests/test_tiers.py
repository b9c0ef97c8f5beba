"""What every feature tier owes, whatever it is made of."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from forecasting import features
from forecasting.outlook import Outlook
from forecasting.panel import Panel, day_number, from_transactions
from forecasting.predict import expected, predict, predict_active, predict_lead_one
from forecasting.tests.synthetic import LAST, shop, shop_panel
from forecasting.tiers import TIERS, UnknownTier, tier_named
from forecasting.train import Model, NothingToLearn, Recipe, fit
from mlops.feature_names import feature_name

SMALL = {"num_boost_round": 30, "max_leaves": 15, "learning_rate": 0.2}
TRAIN_LAST = LAST - dt.timedelta(days=14)

pytestmark = pytest.mark.parametrize("tier", TIERS)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return shop_panel()


@pytest.fixture(scope="module")
def models(panel: Panel) -> dict[str, Model]:
    return {name: trained(panel, name) for name in TIERS}


def trained(panel: Panel, tier: str, last: dt.date = TRAIN_LAST) -> Model:
    return fit(panel, Recipe(tier, params=SMALL), first=last - dt.timedelta(days=89), last=last)


def leaflet(panel: Panel) -> pd.DataFrame:
    """The promotions that took place, as a plan that was always known."""
    known = {"series": panel.series, "ds": panel.days, "known_at": 0, "price": panel.price, "promo": panel.promo}
    return pd.DataFrame(known)


def seldom(panel: Panel) -> Panel:
    """The shop with a sale about once a month, whose price is recorded with a sale only and changes now and then."""
    sold = (np.random.default_rng(4).random(len(panel)) < 0.03) & (panel.y > 0)
    price = panel.price + (panel.days // 25 % 3).astype(np.float32)
    return replace(
        panel,
        y=np.where(sold, panel.y, 0).astype(np.float32),
        price=np.where(sold, price, np.nan).astype(np.float32),
        promo=np.full(len(panel), np.nan, dtype=np.float32),
    )


def sound(forecast: pd.DataFrame) -> bool:
    values = forecast["prediction"].to_numpy()
    return bool(np.isfinite(values).all() and (values >= 0).all() and len(values))


def test_it_forecasts_the_next_days_of_every_series(tier, panel, models):
    forecast = predict(models[tier], panel, 14)

    assert forecast["unique_id"].astype(str).tolist() == np.repeat(panel.items["unique_id"], 14).tolist()
    assert forecast["ds"].dt.date.unique().tolist() == [LAST + dt.timedelta(days=lead) for lead in range(1, 15)]
    assert forecast["lead"].tolist() == list(range(1, 15)) * len(panel.items)
    assert sound(forecast)


def test_it_gives_the_same_answer_twice(tier, panel, models):
    again = trained(panel, tier)

    assert predict(again, panel, 14).equals(predict(models[tier], panel, 14))


def test_it_comes_back_from_its_files_the_same(tier, panel, models):
    back = Model.from_files(models[tier].files())

    assert predict(back, panel, 14).equals(predict(models[tier], panel, 14))
    assert replace(back, booster=None) == replace(models[tier], booster=None)


def test_it_learns_the_shop(tier, panel, models):
    past = replace(panel.between(last_day=day_number(TRAIN_LAST)), plans=leaflet(panel))
    forecast = predict(models[tier], past, 14).groupby("unique_id", observed=True)["prediction"].mean()
    sold = pd.Series(panel.y, index=panel.unique_ids(panel.series))[panel.days > past.last_day]

    assert forecast.sum() == pytest.approx(sold.groupby(level=0, observed=True).mean().sum(), rel=0.15)


def test_nothing_after_a_day_changes_what_was_known_on_it(tier, panel, models):
    later = shop()
    cutoff = LAST - dt.timedelta(days=10)
    after = later["date"].dt.date > cutoff
    later.loc[after, "quantity"] = later.loc[after, "quantity"] * 7 + 3
    later.loc[after, "unit_price"] *= 3
    later.loc[after, "promo"] = ~later.loc[after, "promo"]
    changed = from_transactions(later, country="US")

    rows = panel.days <= day_number(cutoff)
    for training in (True, False):
        mine = features.feature_frame(panel, tier_named(tier), rows, training=training)
        theirs = features.feature_frame(changed, tier_named(tier), rows, training=training)
        pd.testing.assert_frame_equal(mine, theirs)
    assert trained(panel, tier, cutoff).files() == trained(changed, tier, cutoff).files()
    ahead = [predict(models[tier], known.between(last_day=day_number(cutoff)), 14) for known in (panel, changed)]
    assert ahead[0].equals(ahead[1])


def test_features_do_not_depend_on_how_much_older_history_is_there(tier, panel):
    rows = panel.days == panel.last_day
    for history in (panel, seldom(panel)):
        short = history.between(first_day=history.last_day - tier_named(tier).lookback_days)

        whole = features.feature_frame(history, tier_named(tier), rows, training=False)
        part = features.feature_frame(short, tier_named(tier), short.days == short.last_day, training=False)

        pd.testing.assert_frame_equal(whole, part)


@pytest.mark.parametrize("training", [True, False])
def test_features_do_not_depend_on_how_many_series_are_worked_on_at_a_time(tier, training, panel, monkeypatch):
    history = panel.select(np.arange(len(panel.items)) % 4 > 0)
    # Some parts alone would say that a price, or a promotion, follows from a sale: the whole panel does not.
    few = history.series < 4
    price = np.where(few, seldom(history).price, history.price)
    promo = np.where(few, history.y > 0, history.promo).astype(np.float32)
    mixed = replace(history, price=price, promo=promo, plans=leaflet(history)[::7])
    rows = mixed.days > mixed.last_day - 60

    whole = features.feature_frame(mixed, tier_named(tier), rows, training=training)
    monkeypatch.setattr("forecasting.panel.SERIES_PER_PART", 3)
    parts = features.feature_frame(mixed, tier_named(tier), rows, training=training)

    assert len(mixed.items) == 9
    pd.testing.assert_frame_equal(whole, parts, check_exact=True)


def test_one_day_ahead_is_the_same_alone_and_in_a_batch_for_slow_sellers(tier, panel):
    slow = seldom(panel)
    model = trained(slow, tier)

    batch = predict_lead_one(model, slow, LAST, LAST, 56)
    alone = predict_active(model, slow, LAST - dt.timedelta(days=1), 1, 56)

    assert len(batch) > len(panel.items) / 2
    np.testing.assert_array_equal(batch["prediction"], alone["prediction"])


def test_models_that_share_an_outlook_say_what_each_says_alone(tier, panel, models):
    sharing = (models[tier], trained(panel, tier, LAST), *models.values())
    few, outlook = np.array([1, 4, 5]), Outlook(panel)
    chosen = np.isin(np.arange(len(panel.items)), few)

    together = [
        expected(model, outlook, horizon, series)
        for horizon, series in ((1, few), (14, None), (7, few))  # longer than what is worked out already, and shorter
        for model in sharing
    ]

    alone = [
        predict(model, part, horizon)["prediction"].to_numpy().reshape(-1, horizon)
        for horizon, part in ((1, panel.select(chosen)), (14, panel), (7, panel.select(chosen)))
        for model in sharing
    ]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_ahead_sees_the_features_of_that_day(tier, panel, models):
    past = panel.between(last_day=panel.last_day - 1)
    computed = features.matrix(
        panel, tier_named(tier), models[tier].categories, rows=panel.days == panel.last_day, training=False
    )

    ahead = predict(models[tier], past, 1)["prediction"].to_numpy()

    assert np.array_equal(models[tier].predict(computed.X), ahead)


@pytest.mark.parametrize("days", [1, 3])
def test_an_item_with_a_short_history_gets_a_forecast(tier, days, models):
    young = from_transactions(shop(first=LAST - dt.timedelta(days=days - 1)))

    assert sound(predict(models[tier], young, 14))


def test_an_item_that_stopped_selling_is_forecast_lower(tier, panel, models):
    stopped = replace(panel, y=np.where(panel.days > panel.last_day - 60, 0, panel.y).astype(np.float32))

    forecast = predict(models[tier], stopped, 14)

    assert sound(forecast)
    assert forecast["prediction"].sum() < 0.5 * predict(models[tier], panel, 14)["prediction"].sum()


def test_a_store_closed_for_a_week_gets_a_forecast_like_before(tier, panel, models):
    closed = panel.days > panel.last_day - 7
    week_ago = np.flatnonzero(closed) - 7
    y = panel.y.copy()
    y[closed] = panel.y[week_ago]

    forecast = predict(models[tier], replace(panel, y=y, observed=~closed), 14)

    assert sound(forecast)
    usual = predict(models[tier], panel, 14)["prediction"].sum()
    assert forecast["prediction"].sum() == pytest.approx(usual, rel=0.25)


def test_a_category_that_training_did_not_see_gets_a_forecast(tier, panel, models):
    unseen = replace(panel, items=panel.items.assign(department="Garden", category="Rakes", store_id="S9"))

    assert sound(predict(models[tier], unseen, 14))


def test_days_that_are_not_covered_teach_nothing(tier, panel):
    holes = panel.days % 3 == 0
    wild = np.where(holes, 10_000, panel.y).astype(np.float32)

    model = trained(replace(panel, observed=~holes), tier)
    rows = features.matrix(panel, model.tier, model.categories, rows=panel.days == panel.last_day, training=False)

    assert model.rows < trained(panel, tier).rows
    assert model.predict(rows.X).max() < wild.max() / 10


def test_a_window_without_sales_is_refused(tier, panel):
    with pytest.raises(NothingToLearn, match="No sales between 2019-01-01 and 2019-02-01"):
        fit(panel, Recipe(tier), first=dt.date(2019, 1, 1), last=dt.date(2019, 2, 1))


def test_every_feature_has_a_name_for_people(tier):
    names = [feature_name(feature) for feature in features.feature_names(tier_named(tier))]
    assert not [name for name in names if "_" in name]
    assert len(set(names)) == len(names)


def test_create_features_maps_a_segment_to_a_frame(tier):
    frames = features.create_features(shop(products=2), force_tier=tier)

    frame = frames["global"]
    assert list(frame)[:3] == ["unique_id", "ds", "y"]
    assert list(frame)[3:] == features.feature_names(tier_named(tier))
    next_day = features.create_features_for_prediction(shop(products=2), force_tier=tier)["global"]
    assert next_day["ds"].dt.date.unique().tolist() == [LAST + dt.timedelta(days=1)]
    assert list(next_day) == [name for name in frame if name != "y"]


def test_a_panel_in_which_nothing_sold_has_no_features_and_no_forecasts(tier, panel, models):
    never = shop(products=1).assign(quantity=0)
    empty = panel.select(np.zeros(len(panel.items), dtype=bool))

    assert features.create_features(never, force_tier=tier)["global"].empty
    assert features.create_features_for_prediction(never, force_tier=tier)["global"].empty
    assert predict(models[tier], empty, 14).empty
    assert predict_lead_one(models[tier], empty, LAST, LAST, 56).empty


@pytest.mark.parametrize("country", ["us", "XX"])
def test_a_country_is_known_in_any_case_and_may_have_no_calendar(tier, country):
    frame = features.create_features(shop(products=1), force_tier=tier, country=country)["global"]

    assert len(frame)
    if "days_to_holiday" in frame:
        assert (frame["days_to_holiday"].min() == 0) == (country == "us")


def test_an_unknown_tier_is_refused_by_name(tier):
    with pytest.raises(UnknownTier, match=f"no feature tier “{tier}s”. There are: .*{tier}"):
        tier_named(f"{tier}s")
