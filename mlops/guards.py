"""What must not get worse when a candidate is better: each guard of a promotion, with its verdict in words."""

from dataclasses import dataclass

from mlops.comparison import Comparison, Department, Measures
from mlops.models import ModelPolicy

NOISE = 1e-9  # 5.0 % computed in floats is 5.0 %


@dataclass(frozen=True)
class Guard:
    """One check: the value that was found, the limit it was held against, and what that means."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    sentence: str


def at_least(value: float, limit: float) -> bool:
    """value >= limit, whatever the last bits of the floats say."""
    return value >= limit - NOISE


def at_most(value: float, limit: float) -> bool:
    """value <= limit, whatever the last bits of the floats say."""
    return value <= limit + NOISE


def number(value: float, limit: float | None = None) -> str:
    """With as few digits as tell it from the limit: 4.96 beside a limit of 5 is not 5.0."""
    for digits in range(1, 7):
        text = f"{value:.{digits}f}"
        if limit is None or abs(value - limit) <= NOISE or abs(float(text) - limit) > NOISE:
            break
    return text.removeprefix("-") if float(text) == 0 else text


def against_champion(comparison: Comparison, policy: ModelPolicy) -> tuple[Guard, ...]:
    """Every guard of an automatic promotion over a champion."""
    candidate, champion = comparison.candidate, comparison.champion or Measures()
    return (
        _no_worse("RMSE", candidate.rmse, champion.rmse, policy.guard_rmse_pct),
        _bias_no_worse(candidate.bias, champion.bias, policy.guard_bias_points),
        bias_within(candidate.bias, policy.guard_bias_max_points),
        _coverage(candidate, champion, policy),
        _departments(comparison.departments, policy),
        _mape(comparison, candidate, champion, policy),
        *against_naive(comparison),
        lower_bound_above(comparison, 0),
    )


def for_a_first_champion(comparison: Comparison, policy: ModelPolicy) -> tuple[Guard, ...]:
    """What the first candidate of a segment has to show, without a champion to be measured by."""
    return (*against_naive(comparison), bias_within(comparison.candidate.bias, policy.guard_bias_max_points))


def against_naive(comparison: Comparison) -> tuple[Guard, Guard]:
    """Better than the same weekday a week ago, in MAE and in RMSE."""
    own, naive = comparison.candidate, comparison.naive
    return _better_than_naive("MAE", own.mae, naive.mae), _better_than_naive("RMSE", own.rmse, naive.rmse)


def lower_bound_above(comparison: Comparison, limit: float) -> Guard:
    """The improvement is real as far as these days can tell."""
    name, value = "Improvement's lower bound", comparison.lower
    if value is None:
        return _unknown(name, limit, "the interval of the improvement is unknown")
    level = f"{comparison.level:.0%}".replace("%", " %")
    found = f"the lower bound of the improvement ({level}) is {number(value, limit)} %"
    return Guard(name, value > limit, value, limit, f"{found} (must be above {limit:g})")


def bias_within(bias: float | None, limit: float) -> Guard:
    """|bias| in points of the units sold."""
    name = "Bias"
    if bias is None:
        return _unknown(name, limit, "the bias is unknown")
    value, side = abs(bias) * 100, " too high" if bias > 0 else " too low" if bias < 0 else ""
    found = f"the bias is {number(value, limit)} points{side}"
    return Guard(name, at_most(value, limit), value, limit, f"{found} (at most {limit:g})")


def _unknown(name: str, limit: float | None, sentence: str) -> Guard:
    return Guard(name, False, None, limit, sentence)


def _percent_worse(candidate: float | None, champion: float | None) -> float | None:
    if candidate is None or champion is None or champion <= 0:
        return None
    return (candidate - champion) / champion * 100


def _no_worse(name: str, candidate: float | None, champion: float | None, limit: float) -> Guard:
    value = _percent_worse(candidate, champion)
    if value is None:
        return _unknown(name, limit, f"the difference in {name} is unknown")
    sentence = f"{name} is {_worse(value, limit)} {_limit(value, limit, ' %')}"
    return Guard(name, at_most(value, limit), value, limit, sentence)


def _limit(value: float, limit: float, unit: str) -> str:
    """What is allowed, as one would say it of what is worse and of what is better."""
    return f"(at most {limit:g})" if value > 0 else f"(it may be {limit:g}{unit} worse)"


def _worse(value: float, limit: float) -> str:
    return f"{number(value, limit)} % worse" if value > 0 else f"{number(-value)} % better"


def _bias_no_worse(candidate: float | None, champion: float | None, limit: float) -> Guard:
    name = "Bias against the champion's"
    if candidate is None or champion is None:
        return _unknown(name, limit, "the difference in bias is unknown")
    value = (abs(candidate) - abs(champion)) * 100
    change = f"{number(value, limit)} points worse" if value > 0 else f"{number(-value)} points better"
    return Guard(name, at_most(value, limit), value, limit, f"the bias is {change} {_limit(value, limit, ' points')}")


def _coverage(candidate: Measures, champion: Measures, policy: ModelPolicy) -> Guard:
    """The velocity band in which the candidate's coverage is the furthest behind the champion's."""
    name, limit = "Coverage", policy.guard_coverage_points
    own, theirs = candidate.coverage or {}, champion.coverage or {}
    if not own:
        return _unknown(name, limit, "the coverage is unknown")
    further: dict[str, float] = {}
    for band, value in own.items():
        before = theirs.get(band)
        if value is None or before is None:
            return _unknown(name, limit, f"the coverage of {band} sellers is unknown")
        further[band] = (abs(value - policy.interval_level) - abs(before - policy.interval_level)) * 100
    band = max(further, key=lambda one: further[one])
    found = f"the coverage of {band} sellers is {number((own[band] or 0) * 100)} %"
    target = f"{policy.interval_level * 100:g} %"
    if abs(further[band]) <= NOISE:
        change = f"as near to {target} as"
    elif further[band] > 0:
        change = f"{number(further[band], limit)} points further from {target} than"
    else:
        change = f"{number(-further[band])} points nearer to {target} than"
    sentence = f"{found}, {change} the champion's (at most {limit:g} further)"
    return Guard(name, at_most(further[band], limit), further[band], limit, sentence)


def _departments(departments: tuple[Department, ...], policy: ModelPolicy) -> Guard:
    """The department that is the worst, of those that sold enough and where the days agree that it is worse."""
    name, limit = "Departments", policy.guard_department_mae_pct
    large = [one for one in departments if at_least(one.units, policy.guard_department_units)]
    unknown = [one.name for one in large if one.worse_pct is None or one.lower is None]
    if not departments or unknown:
        return _unknown(name, limit, f"the difference in MAE is unknown in {', '.join(unknown) or 'all departments'}")
    worse = {one.name: one.worse_pct or 0.0 for one in large if (one.lower or 0.0) > 0 and (one.worse_pct or 0.0) > 0}
    if not worse:
        return Guard(name, True, None, limit, f"no department is worse beyond doubt ({len(large)} judged)")
    worst = max(worse, key=lambda one: worse[one])
    sentence = f"MAE in {worst or 'no department'} is {_worse(worse[worst], limit)} (at most {limit:g})"
    return Guard(name, at_most(worse[worst], limit), worse[worst], limit, sentence)


def _mape(comparison: Comparison, candidate: Measures, champion: Measures, policy: ModelPolicy) -> Guard:
    share, least = comparison.positive_share, policy.guard_mape_min_share
    if share is not None and not at_least(share, least):
        sentence = f"MAPE does not count: {number(share * 100, least * 100)} % of the actuals are above 0"
        return Guard("MAPE", True, None, policy.guard_mape_pct, sentence)
    return _no_worse("MAPE", candidate.mape, champion.mape, policy.guard_mape_pct)


def _better_than_naive(measure: str, own: float | None, naive: float | None) -> Guard:
    name = f"{measure} against seasonal naive"
    if own is None or naive is None:
        return _unknown(name, naive, f"{measure} against seasonal naive is unknown")
    verdict = "below" if own < naive else "not below"
    return Guard(name, own < naive, own, naive, f"{measure} is {own:.4g}, {verdict} seasonal naive's {naive:.4g}")
