import numpy as np
import pandas as pd
import pytest

from mlops import intervals
from mlops.intervals import ANY, MIN_SCORES, Widths, apply, calibrate, spread, velocity_band


def rows(n: int, seed: int = 1, band: str = "medium", lead: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    mean = rng.gamma(3, 1, n)
    return pd.DataFrame({"y": rng.poisson(mean).astype(float), "prediction": mean, "band": band, "lead": lead})


def test_the_factor_is_the_rank_worked_by_hand():
    table = pd.DataFrame({"y": np.arange(1.0, 100.0), "prediction": 0.0, "band": "slow", "lead": 1})

    widths = calibrate(table, 0.9)

    assert widths.factor("slow", 1) == pytest.approx(90 / spread(np.zeros(1))[0])  # ceil(100 x 0.9) = 90th of 99


def test_it_covers_new_days_as_often_as_asked():
    widths = calibrate(rows(4000), 0.9)

    judged = apply(rows(4000, seed=2), widths)

    inside = (judged["y"] >= judged["lower"]) & (judged["y"] <= judged["upper"])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)


def test_bands_and_leads_have_factors_of_their_own():
    wide = rows(500, band="fast", lead=7).assign(y=lambda table: table["y"] * 3)

    widths = calibrate(pd.concat([rows(500), wide]), 0.9)

    assert widths.factor("fast", 7) > 1.5 * widths.factor("medium", 1)


def test_too_few_residuals_fall_back_to_any_band():
    few = rows(MIN_SCORES - 1, band="fast").assign(y=1000.0)

    widths = calibrate(pd.concat([rows(1000), few]), 0.9)

    assert "fast" not in widths.factors
    assert widths.factor("fast", 1) == widths.factors[ANY]["1"]


def test_an_unknown_lead_takes_the_nearest_one():
    widths = Widths(0.9, {"slow": {"1": 1.0, "7": 2.0}})

    assert widths.factor("slow", 14) == 2.0
    assert widths.factor("slow", 3) == 1.0
    assert np.isnan(widths.factor("fast", 1))


def test_the_interval_holds_the_prediction_and_never_goes_below_zero():
    judged = apply(rows(200), calibrate(rows(200), 0.9))

    assert (judged["lower"] >= 0).all()
    assert (judged["lower"] <= judged["prediction"]).all()
    assert (judged["upper"] >= judged["prediction"]).all()


def test_velocity_bands_begin_at_their_edge():
    bands = velocity_band(np.array([0.0, 0.49, 0.5, 2.99, 3.0]), 0.5, 3.0)

    assert list(bands) == ["slow", "slow", "medium", "medium", "fast"]
    assert tuple(bands.categories) == intervals.BANDS
