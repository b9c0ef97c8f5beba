"""A candidate against the champion and seasonal naive on the very same held-out rows."""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mlops.metrics import improvement_pct, measure

DRAWS = 2000
MIN_DAYS = 5  # resampling fewer days says nothing about the next one
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measures:
    """How one forecast did; None is unknown. Bias is sum(error) / sum(actual), coverage is by velocity band."""

    mae: float | None = None
    rmse: float | None = None
    mape: float | None = None
    bias: float | None = None
    coverage: Mapping[str, float | None] | None = None


@dataclass(frozen=True)
class Department:
    """One department's MAE of both in units a day; `worse_pct` is above 0 where the candidate is worse."""

    name: str
    n: int
    units: float
    candidate_mae: float | None
    champion_mae: float | None
    worse_pct: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class Comparison:
    """Everything that a decision needs, in plain numbers; `champion` is None where none was compared."""

    n: int
    days: int
    first_day: dt.date | None
    last_day: dt.date | None
    units: float
    positive_share: float | None
    level: float
    candidate: Measures
    champion: Measures | None
    naive: Measures
    improvement_pct: float | None
    lower: float | None
    upper: float | None
    departments: tuple[Department, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON takes it: dates as text, what is unknown as null."""
        days = {"first_day": _text(self.first_day), "last_day": _text(self.last_day)}
        return asdict(self) | days | {"departments": [asdict(one) for one in self.departments]}


def compare(rows: pd.DataFrame, *, level: float = 0.9, seed: int = 0) -> Comparison:
    """Measures of all on these rows, and the improvement with its bootstrap interval over whole days.

    `rows` has ds, y, prediction, naive, department and band, with `champion` where there is one, and the intervals
    lower and upper, champion_lower and champion_upper where they are known. A forecast with a gap is unknown as a
    whole: leaving out the rows that one of them could not forecast would flatter it.
    """
    has_champion = "champion" in rows
    candidate = _measures(rows, "prediction", "")
    champion = _measures(rows, "champion", "champion_") if has_champion else None
    errors = Errors.of(rows) if champion and candidate.mae is not None and champion.mae is not None else None
    interval = errors.interval(level, seed) if errors else (None, None)
    return Comparison(
        n=len(rows),
        days=int(rows["ds"].nunique()),
        first_day=rows["ds"].min().date() if len(rows) else None,
        last_day=rows["ds"].max().date() if len(rows) else None,
        units=_known(rows["y"].sum()) or 0.0,
        positive_share=_known((rows["y"] > 0).mean()),
        level=level,
        candidate=candidate,
        champion=champion,
        naive=_measures(rows, "naive", None),
        improvement_pct=_improvement(champion, candidate),
        lower=interval[0],
        upper=interval[1],
        departments=errors.departments(level, seed) if errors else (),
    )


def _measures(rows: pd.DataFrame, column: str, bounds: str | None) -> Measures:
    scored = rows[["y", "band"]].assign(prediction=rows[column])
    if not len(scored) or not np.isfinite(scored[["y", "prediction"]].to_numpy(np.float64)).all():
        return Measures()
    if bounds is not None and f"{bounds}lower" in rows:
        scored = scored.assign(lower=rows[f"{bounds}lower"], upper=rows[f"{bounds}upper"])
    whole = measure(scored).iloc[0]
    coverage = measure(scored, ["band"])["coverage"] if "lower" in scored else pd.Series(dtype=float)
    return Measures(
        mae=_known(whole["mae"]),
        rmse=_known(whole["rmse"]),
        mape=_known(whole["mape"]),
        bias=_known(whole["bias"]),
        coverage={str(band): _known(value) for band, value in coverage.items()},
    )


def _improvement(champion: Measures | None, candidate: Measures) -> float | None:
    if champion is None or champion.mae is None or candidate.mae is None:
        return None
    return improvement_pct(champion.mae, candidate.mae)


@dataclass(frozen=True)
class Errors:
    """Sums of |error| by day and department (or store): all that resampling days needs."""

    names: list[str]
    candidate: Floats  # days x departments
    champion: Floats
    n: npt.NDArray[np.int64]
    units: Floats

    @classmethod
    def of(cls, rows: pd.DataFrame) -> "Errors":
        day, _ = pd.factorize(rows["ds"], sort=True)
        department, names = pd.factorize(rows["department"], sort=True, use_na_sentinel=False)
        shape = (int(day.max()) + 1, len(names))
        cell = day * shape[1] + department
        y = rows["y"].to_numpy(np.float64)

        def sums(column: str) -> Floats:
            off = np.abs(rows[column].to_numpy(np.float64) - y)
            return _sums(cell, off, shape[0] * shape[1]).reshape(shape)

        return cls(
            names=["" if pd.isna(name) else str(name) for name in names],
            candidate=sums("prediction"),
            champion=sums("champion"),
            n=np.bincount(department, minlength=shape[1]),
            units=_sums(department, y, shape[1]),
        )

    def interval(self, level: float, seed: int) -> tuple[float | None, float | None]:
        """Of the improvement in percent over all rows."""
        whole = self._resampled(self.candidate.sum(1, keepdims=True), self.champion.sum(1, keepdims=True), seed)
        return _bounds(whole[:, 0], level)

    def departments(self, level: float, seed: int) -> tuple[Department, ...]:
        drawn = -self._resampled(self.candidate, self.champion, seed)
        return tuple(self._department(at, _bounds(drawn[:, at], level)) for at in range(len(self.names)))

    def _department(self, at: int, bounds: tuple[float | None, float | None]) -> Department:
        n = int(self.n[at])
        candidate, champion = (float(sums[:, at].sum()) / n for sums in (self.candidate, self.champion))
        better = improvement_pct(champion, candidate)
        return Department(
            name=self.names[at],
            n=n,
            units=float(self.units[at]),
            candidate_mae=candidate,
            champion_mae=champion,
            worse_pct=None if better is None else -better,
            lower=bounds[0],
            upper=bounds[1],
        )

    @staticmethod
    def _resampled(candidate: Floats, champion: Floats, seed: int) -> Floats:
        """Improvement in percent (draws x columns); NaN where a draw leaves the champion without any error."""
        days = len(candidate)
        if days < MIN_DAYS:
            return np.full((1, candidate.shape[1]), np.nan)
        times = np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=DRAWS).astype(np.float64)
        theirs = times @ champion
        return (theirs - times @ candidate) / np.where(theirs > 0, theirs, np.nan) * 100


def _sums(groups: npt.NDArray[np.int64], values: Floats, size: int) -> Floats:
    return np.bincount(groups, weights=values, minlength=size).astype(np.float64)


def _bounds(drawn: Floats, level: float) -> tuple[float | None, float | None]:
    lower, upper = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return _known(lower), _known(upper)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _text(day: dt.date | None) -> str | None:
    return day.isoformat() if day else None
