import numpy as np
import pytest
import xgboost as xgb

from mlops import explain


@pytest.fixture(scope="module")
def fitted() -> tuple[xgb.Booster, xgb.DMatrix]:
    rng = np.random.default_rng(2)
    X = rng.integers(0, 5, (800, 3)).astype(np.float32)
    y = rng.poisson(np.exp(0.5 * X[:, 0]))
    data = xgb.DMatrix(X, label=y, feature_names=["lag1", "weekday", "store"], feature_types=["q", "q", "c"])
    params = {"objective": "reg:tweedie", "tweedie_variance_power": 1.3, "max_depth": 4}
    return xgb.train(params, data, num_boost_round=20), data


def test_the_values_and_the_base_add_up_to_the_raw_score(fitted):
    booster, data = fitted
    base = booster.predict(data, pred_contribs=True)[:, -1]

    raw = explain.shap_values(booster, data).sum(axis=1) + base

    np.testing.assert_allclose(raw, booster.predict(data, output_margin=True), atol=1e-4)


def test_what_moves_the_target_comes_first(fitted):
    found = explain.importances(*fitted, "reg:tweedie")

    assert found[0].feature == "lag1"
    assert found[0].share > 0.8
    assert sum(one.share for one in found) == pytest.approx(1)


def test_a_log_link_is_explained_in_factors(fitted):
    booster, data = fitted
    typical = np.abs(explain.shap_values(booster, data)).mean(axis=0)

    found = {one.feature: one.effect for one in explain.importances(booster, data, "reg:tweedie")}

    assert found["lag1"] == pytest.approx(np.exp(typical[0]))
    assert all(effect >= 1 for effect in found.values())


def test_a_sample_is_the_same_each_time_and_never_larger_than_asked():
    assert explain.sample(10).tolist() == list(range(10))
    assert len(explain.sample(10_000)) == explain.SAMPLE_ROWS
    assert np.array_equal(explain.sample(10_000), explain.sample(10_000))
