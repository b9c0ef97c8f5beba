"""Features, fit and forecast against the bare libraries doing the same, in one run; growth and memory beside."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost as xgb
from mlforecast import MLForecast

from benchmarks.measure import peak_mib, rounds, table
from forecasting import features, predict, train
from forecasting.outlook import Outlook
from forecasting.panel import Panel, as_date, day_number
from forecasting.tiers import tier_named
from forecasting.tiers.base import Tier

DAYS = 150
TARGET_DAYS = 90
HORIZON = 14
SERIES = 30_490
PARAMS = {"num_boost_round": 50, "max_leaves": 127}
GROWN = (3_000, 30_000)
TIMES = {"features": 7, "fit": 1, "forecast": 5}


def synthetic(series: int, days: int = DAYS) -> Panel:
    """Seeded slow and fast sellers in ten stores, with prices."""
    rng = np.random.default_rng(11)
    level = rng.gamma(0.6, 2.0, series)
    y = rng.poisson(level[:, None] * (1 + 0.3 * np.sin(np.arange(days) * 2 * np.pi / 7)), (series, days))
    y[:, 0] = 1
    names = pd.Series(np.arange(series))
    first = day_number("2026-01-01")
    items = pd.DataFrame(
        {
            "unique_id": names.astype(str),
            "store_id": "S" + (names % 10).astype(str),
            "product_id": names.astype(str),
            "department": "D" + (names % 7).astype(str),
            "category": "C" + (names % 40).astype(str),
            "first_sold": first,
        }
    )
    return Panel(
        items=items,
        start=np.full(series, first),
        last_day=first + days - 1,
        y=y.astype(np.float32).ravel(),
        observed=np.ones(series * days, dtype=bool),
        price=np.repeat(rng.uniform(1, 20, series), days).astype(np.float32),
        promo=np.full(series * days, np.nan, dtype=np.float32),
        country="US",
    )


def bare_frame(panel: Panel, tier: Tier) -> pd.DataFrame:
    """What somebody would hand to mlforecast directly: units, the tier's static codes, and its columns as they are."""
    frame = features.lag_frame(panel)
    for name in tier.statics:
        frame[name] = pd.factorize(panel.items[name])[0].astype(np.float32)[panel.series]
    for name in tier.column_names:
        frame[name] = panel.price
    return frame


def features_pair(panel: Panel, tier_name: str) -> tuple[float, float]:
    """Seconds for our matrix, and for mlforecast's preprocess to a matrix of the same columns.

    The bare call gets price, holidays and the other columns ready-made and only carries them; ours computes them.
    """
    tier = tier_named(tier_name)
    categories = features.categories_of(panel, tier)
    rows = panel.days > panel.last_day - TARGET_DAYS
    frame = bare_frame(panel, tier)

    def ours() -> None:
        features.matrix(panel, tier, categories, rows=rows, training=True)

    def bare() -> None:
        made = features.lag_engine(tier).preprocess(frame, dropna=False, static_features=list(tier.statics))
        made.loc[rows, features.feature_names(tier)].to_numpy(np.float32)

    return rounds(ours, bare)


def fit_pair(panel: Panel, tier_name: str) -> tuple[float, float]:
    """Seconds for our booster and for `xgboost.train` on the same matrix."""
    recipe = train.Recipe(tier_name, params=PARAMS)
    rows = panel.days > panel.last_day - TARGET_DAYS
    X = features.matrix(
        panel, tier_named(tier_name), features.categories_of(panel, tier_named(tier_name)), rows=rows, training=True
    )
    y = panel.y[X.at]
    types = train.feature_types(X.names, tier_named(tier_name))
    matrix = np.ascontiguousarray(X.X)

    def ours() -> None:
        train.boost(X.X, y, X.names, recipe)

    def bare() -> None:
        data = xgb.QuantileDMatrix(matrix, label=y, feature_names=X.names, feature_types=types, max_bin=1024)
        xgb.train(recipe.booster_params(), data, num_boost_round=recipe.rounds)

    return rounds(ours, bare)


class _Bare:
    """A model that mlforecast can call, for the bare forecast."""

    def __init__(self, booster: xgb.Booster, extra: npt.NDArray[np.float32]) -> None:
        self.booster, self.extra = booster, extra

    def predict(self, lags: pd.DataFrame) -> npt.NDArray[np.float32]:
        X = np.hstack([lags.to_numpy(np.float32), self.extra])
        return self.booster.inplace_predict(X)


def forecast_pair(panel: Panel, model: train.Model) -> tuple[float, float]:
    """Seconds for our 14 days and for mlforecast's with the same lags and booster, from the same recent history."""
    recent = panel.between(first_day=panel.last_day - model.tier.lag_days)
    frame = features.lag_frame(recent)
    columns = Outlook(panel).columns(model, np.arange(len(panel.items)), 1)[:, 0]

    def ours() -> None:
        predict.predict(model, panel, HORIZON)

    def bare() -> None:
        engine: MLForecast = features.lag_engine(model.tier)
        engine.preprocess(frame, dropna=False, static_features=[])
        engine.models_ = {"y": _Bare(model.booster, columns)}
        engine.predict(HORIZON)

    return rounds(ours, bare)


def main(tier: str = "production") -> None:
    """Prints the ratios, the growth from 3,000 to 30,000 series, and the peak of memory."""
    panel = synthetic(SERIES)
    print(f"{len(panel.items):,} series, {len(panel):,} days, tier {tier}, {TARGET_DAYS} days of targets")
    last = as_date(panel.last_day)
    pairs = [("features", *features_pair(panel, tier)), ("fit", *fit_pair(panel, tier))]
    model = train.fit(
        panel,
        train.Recipe(tier, params=PARAMS),
        first=as_date(panel.last_day - TARGET_DAYS + 1),
        last=last,
    )
    pairs.append((f"forecast of {HORIZON} days", *forecast_pair(panel, model)))
    print(table(("stage", "ours, s", "bare, s", "ratio"), [(n, a, b, a / b) for n, a, b in pairs]))
    print(growth(tier, model))
    print(f"peak memory {peak_mib():,.0f} MiB")


def growth(tier: str, model: train.Model) -> str:
    """How time grows with series: 1 is linear.

    The smaller panel is worked on so often that both take about as long, in turn, and the fastest round of each counts:
    what is slower is the doing of other programs and of the kernel, which seeks room for the larger matrix.
    """
    few, many = (_stages(synthetic(size), tier, model) for size in GROWN)
    seconds = {name: _again_and_again(few[name], many[name], times) for name, times in TIMES.items()}
    seconds["all three"] = tuple(np.sum(list(seconds.values()), axis=0))
    rows = [(name, a, b, np.log(b / a) / np.log(GROWN[1] / GROWN[0])) for name, (a, b) in seconds.items()]
    return table(("stage", *(f"{size:,} series, s" for size in GROWN), "exponent"), rows)


def _again_and_again(few: Callable[[], object], many: Callable[[], object], times: int) -> tuple[float, ...]:
    often = GROWN[1] // GROWN[0]
    one, other = rounds(lambda: [few() for _ in range(often)], many, times, of=min)
    return one / often, other


def _stages(panel: Panel, tier: str, model: train.Model) -> dict[str, Callable[[], object]]:
    """What is timed."""
    rows = panel.days > panel.last_day - TARGET_DAYS
    recipe = train.Recipe(tier, params=PARAMS)

    def make() -> features.Matrix:
        return features.matrix(panel, tier_named(tier), model.categories, rows=rows, training=True)

    X = make()
    return {
        "features": make,
        "fit": lambda: train.boost(X.X, panel.y[X.at], X.names, recipe),
        "forecast": lambda: predict.predict(model, panel, HORIZON),
    }


if __name__ == "__main__":
    main()
