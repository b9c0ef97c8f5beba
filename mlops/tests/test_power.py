import numpy as np
import pytest

from mlops.power import days_needed, pooled_sd


def test_days_by_hand():
    # z(0.95) = 1.6449 and z(0.8) = 0.8416: (2.4865 x 2 / 1)^2 = 24.73
    assert days_needed(2.0, 1.0, level=0.9) == 25
    # half the effect takes four times as long: 98.92
    assert days_needed(2.0, 0.5, level=0.9) == 99


def test_a_stricter_interval_takes_longer():
    # z(0.975) = 1.9600: (2.8016 x 2)^2 = 31.40
    assert days_needed(2.0, 1.0, level=0.95) == 32


def test_differences_that_never_vary_need_one_day():
    assert days_needed(0.0, 1.0, level=0.9) == 1


@pytest.mark.parametrize(("sd", "effect"), [(None, 1.0), (1.0, None), (1.0, 0.0)])
def test_what_is_unknown_stays_unknown(sd, effect):
    assert days_needed(sd, effect, level=0.9) is None


def test_each_group_varies_around_its_own_mean():
    # (-1, 1) around 0 and (9, 10, 11) around 10: squares 2 + 2, freedom 1 + 2
    assert pooled_sd([[-1.0, 1.0], [9.0, 10.0, 11.0], [77.0]]) == (pytest.approx((4 / 3) ** 0.5), 5)


def test_single_values_say_nothing():
    assert pooled_sd([[1.0], []]) == (None, 0)


def test_so_many_days_find_four_of_five_true_improvements():
    days, rng = days_needed(2.0, 0.5, level=0.9), np.random.default_rng(7)
    means = rng.normal(0.5, 2.0, (4000, days)).mean(axis=1)
    found = (means - 1.6449 * 2.0 / days**0.5 > 0).mean()
    assert found == pytest.approx(0.8, abs=0.02)
