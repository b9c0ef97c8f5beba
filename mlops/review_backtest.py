"""The hold-out of a challenger by day, by days ahead and by store, beside the champion and seasonal naive."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from django.db.models import F, Q, QuerySet, Sum

from mlops import comparison
from mlops.backtests import EMERGENCY_LEADS
from mlops.charts import Chart, Kind, Line, Tone
from mlops.figures import UNKNOWN, Row, Table, better, figure, span
from mlops.kept import Question
from mlops.models import BacktestResult, ModelRetrainingLog, ModelVersion

NAIVE = "seasonal_naive"
UNIT = "units per product and day"
MOST_STORES = 50
DECIDING = "1-"  # how the lead band that decides begins
COLUMNS = ["baseline", "lead_band", "first_day", "day", "mae"]
STORE_COLUMNS = ["baseline", "scope_value", "day", "n", "units", "mae"]
Scope = BacktestResult.Scope


class Backtest:
    """A version's stored hold-out results; the champion's recipe was scored on the rows that decide."""

    def __init__(self, version: ModelVersion) -> None:
        self.version, self.champion = version, version.decision.get("champion", "")
        self.level = version.decision.get("comparison", {}).get("level", 0.9)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Over everything, for the whole hold-out and each day."""
        whole = self._results().filter(scope_type=Scope.ALL)
        return pd.DataFrame.from_records(whole.values_list(*COLUMNS), columns=COLUMNS)

    def _results(self) -> "QuerySet[BacktestResult]":
        return self.version.backtests.filter(kind=BacktestResult.Kind.HOLDOUT).order_by()

    def by_day(self) -> Chart:
        """Each held-out day's MAE."""
        rows = self.rows[self.rows["lead_band"].str.startswith(DECIDING)]
        daily = rows[rows["first_day"] == rows["day"]].pivot_table(index="day", columns="baseline", values="mae")
        lines = self._lines(daily)
        return Chart("by-day", "Error on each held-out day", "Day", UNIT, [str(day) for day in daily.index], lines)

    def by_horizon(self) -> Chart:
        """MAE over the whole hold-out by how far ahead the forecast looked."""
        rows = self.rows[self.rows["first_day"] < self.rows["day"]]
        bands = rows.pivot_table(index="lead_band", columns="baseline", values="mae")
        bands = bands.loc[sorted(bands.index, key=lambda band: [int(day) for day in band.split("-")])]
        note = f"{self.champion}’s recipe was scored on the days that decide." if self.champion in bands else ""
        labels = [days_ahead(self.version, band) for band in bands.index]
        lines = self._lines(bands)
        return Chart("by-horizon", "Error by days ahead", "Days ahead", UNIT, labels, lines, Kind.BARS, note)

    def _lines(self, table: pd.DataFrame) -> list[Line]:
        names = {self.champion: (self.champion, Tone.OTHER), NAIVE: ("Seasonal naive", Tone.NAIVE)}
        names = {"": (self.version.version, Tone.OWN)} | {key: name for key, name in names.items() if key}
        return [Line(name, _known(table[key]), tone) for key, (name, tone) in names.items() if key in table]

    def stores(self) -> Table:
        """Each store's MAE of both, the one that loses the most first, with intervals by resampling days."""
        return Table(**self.question.answer())

    @property
    def question(self) -> Question:
        """Of the stores: a hold-out is scored once."""
        name = f"stores:{self.version.model_name}:{self.version}"
        made_of = (self.version.artefact_sha256, self.champion, self.level, MOST_STORES)
        return Question(self.version.customer, name, made_of, lambda: asdict(self._stores()))

    def _stores(self) -> Table:
        names = [f"{self.version}’s MAE, units", f"{self.champion}’s MAE, units"]
        headers = ["Store", "Units sold", *names, "Difference", f"{self.level * 100:g} % interval"]
        daily = self._results().filter(
            scope_type=Scope.STORE, lead_band__startswith=DECIDING, first_day=F("day"), baseline__in=["", self.champion]
        )
        losing, stores = self._losing(daily)
        rows = daily.filter(scope_value__in=losing).values_list(*STORE_COLUMNS)
        found = pd.DataFrame.from_records(rows, columns=STORE_COLUMNS)
        title = (
            f"By store, the worst {MOST_STORES} of {stores}" if stores > MOST_STORES else "By store, the worst first"
        )
        return Table(title, headers, scope_rows(_compared(found, self.champion, losing, self.level) if losing else ()))

    def _losing(self, daily: "QuerySet[BacktestResult]") -> tuple[list[str], int]:
        """The stores whose error has grown most by its share, at most MOST_STORES, and how many stores there are."""
        error = F("n") * F("mae")
        sums = daily.values_list("scope_value").annotate(
            own=Sum(error, filter=Q(baseline="")), theirs=Sum(error, filter=Q(baseline=self.champion))
        )
        shares = {name: own / theirs for name, own, theirs in sums if own is not None and theirs}
        return sorted(shares, key=lambda name: (-shares[name], name))[:MOST_STORES], len(sums)


def scope_rows(scopes: Iterable[comparison.Department]) -> list[Row]:
    """Departments or stores as rows of a table, the one that loses the most first."""
    worst_first = sorted(scopes, key=lambda one: float("-inf") if one.worse_pct is None else -one.worse_pct)
    return [
        [
            one.name or "none",
            f"{one.units:,.0f}",
            figure(one.candidate_mae),
            figure(one.champion_mae),
            UNKNOWN if one.worse_pct is None else better(-one.worse_pct, "%"),
            UNKNOWN if one.lower is None or one.upper is None else span(-one.upper, -one.lower),
        ]
        for one in worst_first
    ]


def _compared(daily: pd.DataFrame, champion: str, names: list[str], level: float) -> Sequence[comparison.Department]:
    errors = daily.assign(error=daily["n"] * daily["mae"]).set_index(["day", "baseline", "scope_value"])["error"]
    error = errors.unstack(["baseline", "scope_value"]).fillna(0)
    sums = daily[daily["baseline"] == ""].groupby("scope_value")[["n", "units"]].sum().loc[names]
    both = comparison.Errors(
        names=names,
        candidate=error[""][names].to_numpy(np.float64),
        champion=error[champion][names].to_numpy(np.float64),
        n=sums["n"].to_numpy(np.int64),
        units=sums["units"].to_numpy(np.float64),
    )
    return both.departments(level, seed=0)


def days_ahead(version: ModelVersion, band: str) -> str:
    """A lead band for people; the one that decides holds fewer leads of a version that answered a drift."""
    first, _, last = band.partition("-")
    if last and version.run and version.run.trigger_type == ModelRetrainingLog.Trigger.DRIFT:
        last = str(min(int(last), EMERGENCY_LEADS))
    return f"{first} to {last} days" if last else f"{first} day"


def _known(values: "pd.Series[Any]") -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in values]
