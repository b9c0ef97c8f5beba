"""Honest scoring: days that no model was trained on, rolling origins, and the same rows for everybody."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
from django.utils import timezone

from mlops.metrics import COUNTS, METRICS, ratios, sums
from mlops.models import BacktestResult, ModelPolicy, ModelVersion
from shelfops import bulk
from shelfops.models import Customer
from shelfops.refusals import Refusal

Predict = Callable[[dt.date, int], pd.DataFrame]
"""(origin, horizon) -> one row per active series and day: unique_id, ds, prediction, from sales up to the origin."""

KEYS = ["unique_id", "ds"]
EMERGENCY_LEADS = 2
SCOPES = {
    BacktestResult.Scope.DEPARTMENT: "department",
    BacktestResult.Scope.STORE: "store_id",
    BacktestResult.Scope.VELOCITY: "band",
}
WHOSE = ["version", "baseline"]
GRAIN = ["ds", *SCOPES.values()]  # what all results can be added up from

ONE_DAY_AHEAD = "1"  # the lead band
DATES = ["origin", "first_day", "day"]
RESULTS = bulk.Target(
    "backtest_results",
    ("version_id", "baseline", "kind", "origin", "lead_band", "first_day", "day", "scope_type", "scope_value"),
    tuple(METRICS),
    once=("customer_id", "created_at"),
)


class TooShort(Refusal):
    """The history is too short to train and to judge; `possible_on` is the first day on which it is not."""

    def __init__(self, have_days: int, need_days: int, possible_on: dt.date) -> None:
        self.possible_on = possible_on
        super().__init__(
            f"There are {have_days} days of sales and a fit with an honest test needs {need_days}: "
            f"possible from {possible_on.isoformat()}, when that many days are in."
        )


class NothingToScore(Refusal):
    """None of the days that should judge a fit has sales of an active series."""


@dataclass(frozen=True)
class Split:
    """Which days train and which judge. All dates are inclusive.

    The evaluation fit learns targets up to `cutoff` and is scored on the days after it; the serving fit is the same
    recipe with its window moved to the end.
    """

    evaluation_start: dt.date
    cutoff: dt.date
    holdout_start: dt.date
    last_day: dt.date
    serving_start: dt.date
    origins: tuple[dt.date, ...]

    @property
    def holdout_days(self) -> int:
        return (self.last_day - self.holdout_start).days + 1


def split(first_day: dt.date, last_day: dt.date, policy: ModelPolicy, *, train_days: int | None = None) -> Split:
    """The days of a scheduled, manual or experimental fit, from the policy.

    hold-out = min(holdout_days, a quarter of the history), at least a week; at least `min_target_days` of targets
    before it; else TooShort.
    """
    window = train_days or policy.train_days
    history = (last_day - first_day).days + 1
    holdout = _holdout_days(history, policy)
    if history - holdout < policy.min_target_days:
        need = next(days for days in count(history) if days - _holdout_days(days, policy) >= policy.min_target_days)
        raise TooShort(history, need, last_day + dt.timedelta(days=need - history + 1))
    cutoff = last_day - dt.timedelta(days=holdout)
    return Split(
        evaluation_start=max(first_day, cutoff - dt.timedelta(days=window - 1)),
        cutoff=cutoff,
        holdout_start=cutoff + dt.timedelta(days=1),
        last_day=last_day,
        serving_start=max(first_day, last_day - dt.timedelta(days=window - 1)),
        origins=origins(cutoff, last_day, policy.origin_step_days),
    )


def emergency_split(first_day: dt.date, last_day: dt.date, policy: ModelPolicy) -> Split:
    """The days of a retrain that drift asked for: short windows, an origin every second day of the last week.

    Raises TooShort where the first origin has no full window before it.
    """
    need, history = policy.emergency_train_days + policy.emergency_holdout_days, (last_day - first_day).days + 1
    if history < need:
        raise TooShort(history, need, last_day + dt.timedelta(days=need - history + 1))
    cutoff = last_day - dt.timedelta(days=policy.emergency_holdout_days)
    window = dt.timedelta(days=policy.emergency_train_days - 1)
    return Split(
        evaluation_start=cutoff - window,
        cutoff=cutoff,
        holdout_start=cutoff + dt.timedelta(days=1),
        last_day=last_day,
        serving_start=last_day - window,
        origins=origins(cutoff, last_day, EMERGENCY_LEADS),
    )


def _holdout_days(history: int, policy: ModelPolicy) -> int:
    return max(min(policy.holdout_days, int(history * policy.holdout_share)), policy.min_holdout_days)


def origins(first: dt.date, last_day: dt.date, step: int) -> tuple[dt.date, ...]:
    """Every `step` days from `first` on, as long as a day is left to score."""
    return tuple(first + dt.timedelta(days=ahead) for ahead in range(0, (last_day - first).days, step))


def rolling(predict: Predict, at: Iterable[dt.date], *, horizon: int, last_day: dt.date) -> pd.DataFrame:
    """Forecasts from each origin: unique_id, ds, prediction, origin, lead; days after `last_day` are left out."""
    parts = []
    for origin in at:
        days_ahead = min(horizon, (last_day - origin).days)
        rows = predict(origin, days_ahead)
        lead = (rows["ds"] - pd.Timestamp(origin)).dt.days.astype(np.int16)
        parts.append(rows.assign(origin=pd.Timestamp(origin), lead=lead))
    return pd.concat(parts, ignore_index=True)


def identical_rows(*forecasts: pd.DataFrame) -> list[pd.DataFrame]:
    """The given forecasts cut down to the (series, day, origin) rows that all of them have, in the same order."""
    keys = [*KEYS, "origin"]
    common = forecasts[0][keys]
    for other in forecasts[1:]:
        common = common.merge(other[keys], on=keys)
    common = common.sort_values(keys, ignore_index=True)
    return [common.merge(rows, on=keys, how="left", sort=False) for rows in forecasts]


def calibration_half(rows: pd.DataFrame) -> pd.Series:
    """Which held-out rows calibrate the intervals: those of the first half of the held-out days.

    Raises NothingToScore where there are no rows.
    """
    if rows.empty:
        raise NothingToScore("None of the days to be judged on has sales: they are missing or closed. Load them first.")
    days = np.sort(rows["ds"].unique())
    return rows["ds"] <= days[(len(days) - 1) // 2]


def no_day_scored_was_trained_on(scored: pd.Series, holdout_start: dt.date, last_target: dt.date) -> None:
    """Raises AssertionError where a scored day lies within the training targets: a fault of ours, not of the data."""
    if scored.empty:
        return
    first_scored = scored.min().date()
    if first_scored <= last_target or first_scored < holdout_start:
        raise AssertionError(f"{first_scored} was scored but the model was trained up to {last_target}.")


def results(rows: pd.DataFrame, lead_one: pd.DataFrame | None, policy: ModelPolicy) -> pd.DataFrame:
    """METRICS per lead band, for the whole period and each day, over all and per department, store and velocity band.

    `rows` are forecasts of rolling origins, by deciding and later leads; `lead_one` is each day one day ahead.
    Further columns: lead_band, origin, first_day, day, scope_type, scope_value.
    """
    near, far = policy.decision_leads, policy.horizon_days
    bands = {f"1-{near}": rows[rows["lead"] <= near], f"{near + 1}-{far}": rows[rows["lead"] > near]}
    if lead_one is not None:
        bands[ONE_DAY_AHEAD] = lead_one
    parts = [
        _by_scope(fine, by_day=by_day).assign(lead_band=label)
        for label, fine in ((label, _sums_by_grain(chosen)) for label, chosen in bands.items() if len(chosen))
        for by_day in (False, True)
    ]
    return pd.concat(parts, ignore_index=True)


def one_day_ahead(sums: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """`results` of a single day one day ahead for several at once: with version and baseline, by which they differ.

    `sums` are `metrics.sums` by version, baseline, store_id, department and band.
    """
    dated = sums.assign(ds=pd.Timestamp(day), origin=pd.Timestamp(day) - pd.Timedelta(days=1))
    return _by_scope(dated, by_day=False, whose=WHOSE).assign(lead_band=ONE_DAY_AHEAD)


def _by_scope(rows: pd.DataFrame, *, by_day: bool, whose: Sequence[str] = ()) -> pd.DataFrame:
    """`rows` are sums by day and all scopes at once, with the first origin of each; `whose` keeps several apart."""
    scopes: dict[BacktestResult.Scope, list[str]] = {BacktestResult.Scope.ALL: []}
    scopes |= {scope: [column] for scope, column in SCOPES.items()}
    adding = [name for name in rows if name not in (*GRAIN, *whose, "origin")]
    parts = []
    for scope, column in scopes.items():
        keys = [*whose, *column, *(["ds"] if by_day else [])]
        groups = rows.groupby(keys, observed=True, sort=True) if keys else rows.groupby(np.zeros(len(rows)))
        table, ds = groups[adding].sum(), groups["ds"]
        table = table.assign(
            origin=groups["origin"].min(), first_day=ds.min(), day=ds.max(), scope_type=scope.value, scope_value=""
        )
        for name in [*whose, *column]:
            table["scope_value" if name in column else name] = table.index.get_level_values(name)
        parts.append(table.astype({"scope_value": str}))
    both = pd.concat(parts, ignore_index=True)
    return ratios(both).join(both[["origin", "first_day", "day", "scope_type", "scope_value", *whose]])


def _sums_by_grain(rows: pd.DataFrame) -> pd.DataFrame:
    fine = sums(rows, GRAIN)
    fine["origin"] = rows.groupby(GRAIN, observed=True, sort=True)["origin"].min()
    return fine.reset_index()


def store(version: ModelVersion, table: pd.DataFrame, *, kind: BacktestResult.Kind, baseline: str = "") -> None:
    """Writes `results` into the ledger; what was scored before is replaced, since actuals may have been corrected."""
    _write(table.assign(version=version.pk, baseline=baseline), version.customer_id, kind)


def replace_day(customer: Customer, versions: Iterable[ModelVersion], day: dt.date, scored: pd.DataFrame) -> None:
    """Writes the day's results of these versions (`one_day_ahead`) into the ledger; what is scored no more goes."""
    daily = BacktestResult.objects.filter(version__in=versions, kind=BacktestResult.Kind.DAILY, day=day)
    wanted = {*scored[[*WHOSE, "scope_type", "scope_value"]].itertuples(index=False, name=None)}
    former = daily.order_by().values_list("pk", "version_id", "baseline", "scope_type", "scope_value")
    if gone := [pk for pk, *key in former if tuple(key) not in wanted]:
        BacktestResult.objects.filter(pk__in=gone).delete()
    _write(scored, customer.pk, BacktestResult.Kind.DAILY)


def _write(table: pd.DataFrame, customer: UUID, kind: BacktestResult.Kind) -> None:
    """Results with the version and baseline that each is of."""
    same_in_all: dict[str, Any] = {
        "customer_id": customer.hex,
        "kind": BacktestResult.Kind(kind).value,
        "created_at": timezone.now().strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    named = table[[*METRICS, *DATES, "lead_band", "scope_type", "scope_value", *WHOSE]].assign(**same_in_all)
    named = named.astype(dict.fromkeys(COUNTS, "int64")).rename(columns={"version": "version_id"})
    rows = pa.Table.from_pandas(named, preserve_index=False)
    for name in DATES:
        rows = rows.set_column(rows.schema.get_field_index(name), name, rows[name].cast(pa.date32()))
    bulk.upsert(RESULTS, rows)
