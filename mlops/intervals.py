"""Split-conformal intervals: one width factor per velocity band and lead, calibrated on held-out days.

Vovk, Gammerman and Shafer, *Algorithmic Learning in a Random World*, 2005; the finite-sample rank as in Lei et al.,
*Distribution-Free Predictive Inference for Regression*, 2018.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

BANDS = ("slow", "medium", "fast")
MIN_SCORES = 50  # a factor from fewer residuals would be noise: the next wider group decides
ANY = "any"


def velocity_band(units_a_day: npt.NDArray[np.floating], medium_from: float, fast_from: float) -> pd.Categorical:
    """slow, medium or fast, by mean daily units before the origin."""
    codes = np.digitize(units_a_day, [medium_from, fast_from])
    return pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(BANDS), ordered=True)


def spread(prediction: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The scale of an error at this prediction: counts vary with the root of their mean, from a floor upwards."""
    return np.sqrt(np.maximum(prediction.astype(np.float64), 0) + 0.05)


@dataclass(frozen=True)
class Widths:
    """`factors[band][lead]`: the interval is prediction +- factor x spread(prediction), cut off at 0."""

    level: float
    factors: Mapping[str, Mapping[str, float]]

    def factor(self, band: str, lead: int) -> float:
        """The factor of a band and lead; the nearest lead, then any band, where residuals were too few."""
        for group in (band, ANY):
            leads = self.factors.get(group, {})
            if leads:
                return leads[min(leads, key=lambda known: (abs(int(known) - lead), int(known)))]
        return float("nan")


def calibrate(rows: pd.DataFrame, level: float) -> Widths:
    """Widths from held-out rows with `y`, `prediction`, `band` and `lead`.

    The factor is the ceil((n + 1) x level)-th smallest |y - prediction| / spread(prediction), which covers at least
    `level` of exchangeable new rows.
    """
    score = np.abs(rows["y"].to_numpy(np.float64) - rows["prediction"].to_numpy(np.float64))
    score /= spread(rows["prediction"].to_numpy())
    scored = pd.DataFrame(
        {"band": rows["band"].astype(str).to_numpy(), "lead": rows["lead"].to_numpy(), "score": score}
    )
    factors: dict[str, dict[str, float]] = {}
    for (band, lead), group in scored.groupby(["band", "lead"])["score"]:
        if len(group) >= MIN_SCORES:
            factors.setdefault(str(band), {})[str(lead)] = _quantile(group.to_numpy(), level)
    factors[ANY] = {
        str(lead): _quantile(group.to_numpy(), level) for lead, group in scored.groupby("lead")["score"] if len(group)
    }
    return Widths(level=level, factors=factors)


def _quantile(scores: npt.NDArray[np.float64], level: float) -> float:
    rank = min(int(np.ceil((len(scores) + 1) * level)), len(scores))
    return float(np.partition(scores, rank - 1)[rank - 1])


def apply(rows: pd.DataFrame, widths: Widths) -> pd.DataFrame:
    """`rows` (prediction, band, lead) with `lower` and `upper`; NaN where nothing was calibrated."""
    bands = pd.Categorical(rows["band"], categories=list(BANDS))
    leads, lead_at = np.unique(rows["lead"].to_numpy(), return_inverse=True)
    table = np.array([[widths.factor(band, int(lead)) for lead in leads] for band in (*BANDS, ANY)])
    factor = table[bands.codes.astype(int), lead_at]  # code -1, an unknown band, is the last row: any
    prediction = rows["prediction"].to_numpy(np.float64)
    half = factor * spread(prediction)
    return rows.assign(
        lower=np.maximum(prediction - half, 0).astype(np.float32), upper=(prediction + half).astype(np.float32)
    )
