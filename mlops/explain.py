"""Which features move a model's forecasts: SHAP values on a sample, as factors where the model multiplies."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xgboost as xgb

SAMPLE_ROWS = 250  # a mean effect to about 5 % of itself; deep trees cost 3 ms a row
LOG_LINK = ("reg:tweedie", "count:poisson", "reg:gamma")


@dataclass(frozen=True)
class Importance:
    """`share` of all attributed effect (sums to 1); `effect` is the typical factor (1.10 = 10 % up or down) of a model
    with a log link, else the typical difference in units."""

    feature: str
    share: float
    effect: float


def sample(rows: int, size: int = SAMPLE_ROWS) -> npt.NDArray[np.int64]:
    """Positions of at most `size` rows, the same ones for the same number of rows."""
    if rows <= size:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, size, replace=False))


def shap_values(booster: xgb.Booster, data: xgb.DMatrix) -> npt.NDArray[np.float64]:
    """rows x features in the model's raw score (log units for a log link); with the base value they add up to it."""
    import shap  # costs a second and 200 MB that only a training worker should pay

    return np.asarray(shap.TreeExplainer(booster).shap_values(data), dtype=np.float64)


def importances(booster: xgb.Booster, data: xgb.DMatrix, objective: str) -> list[Importance]:
    """Features by mean absolute SHAP value on the given rows, strongest first."""
    typical = np.abs(shap_values(booster, data)).mean(axis=0)
    total = typical.sum() or 1.0
    effects = np.exp(typical) if objective in LOG_LINK else typical
    found = [
        Importance(name, float(value / total), float(effect))
        for name, value, effect in zip(data.feature_names or [], typical, effects, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.share, one.feature))
