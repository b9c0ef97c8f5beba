"""How wrong a forecast was: every measure that decides or is shown, computed in one place."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

METRICS = [
    "n", "units", "mae", "wape", "rmse", "mape", "mape_n", "bias", "mase", "mase_n",
    "coverage", "width", "missed_above", "missed_below",
]  # fmt: skip
COUNTS = ("n", "mape_n", "mase_n")


def measure(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """One row of METRICS per group of `by` (one row in all without it); what is unknown is NaN, never 0.

    `rows` has `y` and `prediction` in units a day; with `lower` and `upper` intervals are judged, with `scale`
    (the series' mean absolute weekly difference in training) MASE. Rows without a finite y or prediction are an error:
    the caller decides which rows count.

    wape = sum|error| / sum(y); bias = sum(prediction - y) / sum(y); mape over y > 0, whose number is mape_n;
    mase = mean(|error| / scale) over rows with scale > 0, whose number is mase_n; coverage, missed_above and
    missed_below are shares of rows; width is the mean of upper - lower.
    """
    return ratios(sums(rows, by))


def sums(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """What the measures are made of, per group: these add up, so that groups can be joined before `ratios`."""
    y, prediction = rows["y"].to_numpy(np.float64), rows["prediction"].to_numpy(np.float64)
    if not (np.isfinite(y).all() and np.isfinite(prediction).all()):
        raise ValueError("A row to be scored has no finite actual or prediction; leave it out and count it.")
    error = prediction - y
    absolute, positive = np.abs(error), y > 0
    terms = {
        "n": np.ones(len(y)),
        "y": y,
        "absolute": absolute,
        "error": error,
        "squared": error**2,
        "relative": np.where(positive, absolute / np.where(positive, y, 1), 0),
        "positive": positive,
    }
    if "scale" in rows:
        scale = rows["scale"].to_numpy(np.float64)
        scaled = np.isfinite(scale) & (scale > 0)
        terms |= {"scaled": np.where(scaled, absolute / np.where(scaled, scale, 1), 0), "scaled_n": scaled}
    if "lower" in rows:
        lower, upper = rows["lower"].to_numpy(np.float64), rows["upper"].to_numpy(np.float64)
        known = np.isfinite(lower) & np.isfinite(upper)
        terms |= {
            "known": known,
            "above": known & (y > upper),
            "below": known & (y < lower),
            "breadth": np.where(known, upper - lower, 0),
        }
    table = pd.DataFrame({name: values.astype(np.float64) for name, values in terms.items()}, index=rows.index)
    if not by:
        return table.sum().to_frame().T
    return table.groupby([rows[name] for name in by], observed=True, sort=True).sum()


def ratios(sums: pd.DataFrame) -> pd.DataFrame:
    """METRICS of such sums; 0 / 0 is unknown."""
    unknown = np.full(len(sums), np.nan)

    def per(top: str, bottom: str) -> npt.NDArray[np.float64]:
        if top not in sums or bottom not in sums:
            return unknown
        divisor = sums[bottom].to_numpy(np.float64)
        return sums[top].to_numpy(np.float64) / np.where(divisor != 0, divisor, np.nan)

    def count(name: str) -> npt.NDArray[np.int64]:
        return (sums[name].to_numpy() if name in sums else np.zeros(len(sums))).astype(np.int64)

    missed_above, missed_below = per("above", "known"), per("below", "known")
    values = {
        "n": count("n"),
        "units": sums["y"].to_numpy(),
        "mae": per("absolute", "n"),
        "wape": per("absolute", "y"),
        "rmse": np.sqrt(per("squared", "n")),
        "mape": per("relative", "positive"),
        "mape_n": count("positive"),
        "bias": per("error", "y"),
        "mase": per("scaled", "scaled_n"),
        "mase_n": count("scaled_n"),
        "coverage": 1 - missed_above - missed_below,
        "width": per("breadth", "known"),
        "missed_above": missed_above,
        "missed_below": missed_below,
    }
    return pd.DataFrame(values, index=sums.index, columns=METRICS)


def improvement_pct(champion_mae: float, candidate_mae: float) -> float | None:
    """(champion - candidate) / champion x 100; None where the champion's MAE is 0 or either is unknown."""
    if not (np.isfinite(champion_mae) and np.isfinite(candidate_mae)) or champion_mae <= 0:
        return None
    return (champion_mae - candidate_mae) / champion_mae * 100
