"""How many days a comparison has to last before a true improvement would show."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean

USUAL_POWER = 0.8  # the convention: four of five true improvements are found


def days_needed(sd: float | None, effect: float | None, *, level: float, power: float = USUAL_POWER) -> int | None:
    """Days after which an improvement of `effect` units in daily MAE is told from chance; None where unknown.

    n = ceil(((z[(1 + level) / 2] + z[power]) x sd / effect)^2), where `sd` is the standard deviation of the paired
    daily differences of both MAEs: the interval of `level` then lies above 0 with probability `power`. Days count as
    independent and n as large enough for the normal distribution (Cohen, *Statistical Power Analysis*, 1988).
    """
    if sd is None or effect is None or effect <= 0:
        return None
    normal = NormalDist()
    z = normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)
    return max(1, math.ceil((z * sd / effect) ** 2))


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float | None, int]:
    """The standard deviation around each group's own mean, and how many values it rests on.

    None where no group has two values; groups of one say nothing and are left out.
    """
    telling = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in telling)
    if not freedom:
        return None, 0
    squares = sum((value - mean) ** 2 for group in telling for mean in [fmean(group)] for value in group)
    return math.sqrt(squares / freedom), sum(map(len, telling))
