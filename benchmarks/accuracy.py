"""How good the forecasts of the last 28 days of three real stores are, beside baselines, on identical rows."""

import datetime as dt
import warnings

import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean
from xgboost import XGBRegressor

from benchmarks.measure import benchmark_file, table
from forecasting.evaluate import Past, roll
from forecasting.features import dates
from forecasting.panel import Panel, as_date, day_number, from_transactions
from forecasting.protocols import standard
from forecasting.train import Recipe
from mlops import backtests, intervals
from mlops.metrics import measure
from mlops.models import ModelPolicy

JUDGED_DAYS = 28
STEP = 7
KEYS = ["unique_id", "ds", "origin"]


def three_stores() -> Panel:
    """The panel of the benchmark data; first sales are sought in all of it, the rest in the last 300 days."""
    rows = pd.read_parquet(benchmark_file("three_stores"))
    for name in ("store_id", "product_id", "department", "category"):
        rows[name] = rows[name].astype(str)
    panel = from_transactions(rows, country="US")
    return panel.between(first_day=panel.last_day - 300)


def plain(panel: Panel, first: dt.date, last: dt.date, origins: tuple[dt.date, ...]) -> pd.DataFrame:
    """mlforecast and xgboost as their documentation puts them together: lags, two means, weekday, squared error."""
    engine = MLForecast(
        models={"prediction": XGBRegressor(n_estimators=200)},
        freq="D",
        lags=[1, 2, 3, 4, 5, 6, 7, 14, 28],
        lag_transforms={1: [RollingMean(7), RollingMean(28)]},
        date_features=["dayofweek"],
    )
    window = _plain_frame(panel.between(day_number(first) - 28, day_number(last)))
    warnings.filterwarnings("ignore", message="The following series were dropped")
    engine.fit(window, static_features=[])
    warnings.filterwarnings("ignore", message="Found null values")
    parts = []
    for origin in origins:
        past = panel.between(day_number(origin) - 60, day_number(origin))
        fitted = engine.models_
        engine.preprocess(_plain_frame(past), dropna=False, static_features=[])
        engine.models_ = fitted
        ahead = engine.predict(STEP)
        ahead["prediction"] = ahead["prediction"].clip(lower=0)
        parts.append(ahead.assign(origin=pd.Timestamp(origin)))
    return pd.concat(parts, ignore_index=True)


def _plain_frame(panel: Panel) -> pd.DataFrame:
    return pd.DataFrame(
        {"unique_id": panel.unique_ids(panel.series).astype(str), "ds": dates(panel.days), "y": panel.y}
    )


def mean_28(panel: Panel, rows: pd.DataFrame) -> pd.DataFrame:
    """The mean of the 28 days before the origin."""
    parts = []
    for origin in rows["origin"].unique():
        past = panel.between(last_day=day_number(origin))
        means = pd.Series(past.trailing_mean(28), index=past.items["unique_id"].astype(str))
        mine = rows[rows["origin"] == origin]
        parts.append(mine.assign(prediction=mine["unique_id"].astype(str).map(means).to_numpy()))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Prints both tables. Everything is fitted on the 90 days that end 28 days before the last."""
    policy, panel = ModelPolicy(), three_stores()
    last = as_date(panel.last_day)
    cutoff = last - dt.timedelta(days=JUDGED_DAYS)
    past = panel.between(last_day=day_number(cutoff))
    split = backtests.split(as_date(int(past.start.min())), cutoff, policy)
    origins = backtests.origins(cutoff, last, STEP)
    judged: dict[str, pd.DataFrame] = {}
    for tier in ("cold_start", "production"):
        model = standard(past, Recipe(tier), split, policy, lambda _stage: None).serving
        rows = roll(model, Past(panel, policy), origins, horizon=STEP, policy=policy).rows
        judged[f"ShelfOps, {tier}"] = intervals.apply(rows, model.widths) if model.widths else rows
    ours = judged["ShelfOps, production"]
    bare = ours.drop(columns=["lower", "upper"])
    judged["seasonal naive"] = bare.assign(prediction=bare["naive"])
    judged["28-day mean"] = mean_28(panel, bare)
    other = plain(panel, split.serving_start, cutoff, origins).astype({"unique_id": str})
    keyed = bare.drop(columns="prediction").astype({"unique_id": str})
    judged["plain mlforecast + xgboost"] = keyed.merge(other, on=KEYS, how="left")
    print(f"{len(ours):,} rows, {JUDGED_DAYS} days to {last}, origins every {STEP} days\n")
    head = ("model", "MAE", "WAPE", "RMSE", "bias")
    print(table(head, [_row(name, rows) for name, rows in judged.items()]))
    gains = _gain(judged["ShelfOps, production"], judged["plain mlforecast + xgboost"])
    print(f"\nproduction against plain: MAE {gains['mae']:+.1f} %, RMSE {gains['rmse']:+.1f} % (less is better)\n")
    print(
        table(("velocity band", "rows", "MAE", "naive MAE", "coverage", "missed above", "missed below"), _bands(ours))
    )


def _row(name: str, rows: pd.DataFrame) -> tuple[object, ...]:
    found = measure(rows).iloc[0]
    return (name, *(f"{found[metric]:.4f}" for metric in ("mae", "wape", "rmse")), f"{found['bias']:+.1%}")


def _gain(ours: pd.DataFrame, other: pd.DataFrame) -> dict[str, float]:
    mine, theirs = measure(ours).iloc[0], measure(other).iloc[0]
    return {name: float((mine[name] / theirs[name] - 1) * 100) for name in ("mae", "rmse")}


def _bands(rows: pd.DataFrame) -> list[tuple[object, ...]]:
    naive = measure(rows.assign(prediction=rows["naive"]).drop(columns=["lower", "upper"]), ["band"])["mae"]
    found = measure(rows, ["band"]).reindex(list(intervals.BANDS))
    return [
        (band, f"{int(row['n']):,}", f"{row['mae']:.3f}", f"{naive.loc[str(band)]:.3f}",
         f"{row['coverage']:.1%}", f"{row['missed_above']:.1%}", f"{row['missed_below']:.1%}")
        for band, row in found.iterrows()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
