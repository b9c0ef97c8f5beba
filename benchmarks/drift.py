"""How good drift detection is: false incidents in a year of real and of made-up sales, and days to find shifts."""

import datetime as dt
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.measure import data_folder, table
from forecasting import drift, public_holidays
from forecasting.panel import WEEK, Panel, as_date, day_number, from_transactions
from forecasting.predict import predict_lead_one
from forecasting.served import State
from forecasting.train import Model, Recipe, fit
from mlops import degradation
from mlops.models import DriftCheck, ModelPolicy

POLICY = ModelPolicy()
RECIPE = Recipe("production")
YEAR, WATCHED = 365, 60
REFIT_DAYS = 28  # a champion of this age is refreshed
PLANTED = range(20, YEAR - WATCHED, 55)  # nights of the year on which each shift begins
WINDOWS = POLICY.drift_recent_days + POLICY.drift_baseline_days
NEEDED = YEAR + WINDOWS + POLICY.train_days + POLICY.holdout_days + 120
OUT_OF_STOCK = 0.3, 14  # share of the products, and for how many days
DAY = dt.timedelta(days=1)

Units = npt.NDArray[np.float32]
Rows = npt.NDArray[np.bool_]
Shift = Callable[[Panel, Rows, int], Units]
"""(panel, its rows from the first day of the shift on, that day) -> units sold instead."""


# --- What is planted


def doubled(panel: Panel, after: Rows, _first: int) -> Units:
    return np.where(after, 2 * panel.y, panel.y)


def halved(panel: Panel, after: Rows, first: int) -> Units:
    kept = np.random.default_rng(first).binomial(panel.y.astype(np.int64), 0.5)
    return np.where(after, kept, panel.y)


def one_department_doubled(panel: Panel, after: Rows, first: int) -> Units:
    names = sorted(panel.items["department"].unique())
    mine = (panel.items["department"] == names[first % len(names)]).to_numpy()
    return np.where(after & mine[panel.series], 2 * panel.y, panel.y)


def growing(panel: Panel, after: Rows, first: int) -> Units:
    """One percent more each day; parts of units are rounded at random."""
    factor = 1.01 ** np.maximum(panel.days - first + 1, 0)
    return np.where(after, np.floor(panel.y * factor + np.random.default_rng(first).random(len(panel))), panel.y)


def out_of_stock(panel: Panel, after: Rows, first: int) -> Units:
    share, days = OUT_OF_STOCK
    gone = np.random.default_rng(first).random(len(panel.items)) < share
    return np.where(after & (panel.days < first + days) & gone[panel.series], 0, panel.y)


SHIFTS: dict[str, Shift] = {
    "all sales doubled": doubled,
    "all sales halved": halved,
    "one department doubled": one_department_doubled,
    "1 % more each day": growing,
    "30 % of products out of stock for 14 days": out_of_stock,
}


# --- A year of service


@dataclass(frozen=True)
class Champion:
    """Serves from the day after its training on; its hold-out is the month before, forecast by its evaluation fit."""

    model: Model
    holdout_wape: float

    @classmethod
    def of(cls, panel: Panel, origin: dt.date) -> "Champion":
        cutoff, window = origin - POLICY.holdout_days * DAY, (POLICY.train_days - 1) * DAY
        evaluation = fit(panel, RECIPE, first=cutoff - window, last=cutoff)
        held_out = sums(evaluation, panel, cutoff + DAY, origin).sum()
        model = fit(panel, RECIPE, first=origin - window, last=origin)
        return cls(model, float(held_out["absolute"] / held_out["units"]))


@dataclass(frozen=True)
class Service:
    """What served in a year: sums by day, and each day's champion, by the day on which it began."""

    days: pd.DataFrame
    champions: dict[dt.date, Champion]


def sums(model: Model, panel: Panel, first: dt.date, last: dt.date) -> pd.DataFrame:
    """rows, units, absolute (error), naive and naive_rows of each day, one day ahead."""
    made = predict_lead_one(model, panel, first, last, POLICY.active_days)
    series = pd.Index(panel.items["unique_id"]).get_indexer(made["unique_id"].astype(str))
    at = panel.offsets[series] + made["ds"].to_numpy().astype("datetime64[D]").astype(np.int64) - panel.start[series]
    y = panel.y[at].astype(np.float64)
    naive = np.where(at - WEEK >= panel.offsets[series], panel.y[np.maximum(at - WEEK, 0)], 0)
    off = {"absolute": made["prediction"].to_numpy() - y, "naive": naive - y}
    rows = pd.DataFrame({"rows": 1.0, "naive_rows": 1.0, "units": y, **{name: np.abs(v) for name, v in off.items()}})
    return rows.groupby(pd.Index(made["ds"].dt.date, name="date")).sum()


def serve(panel: Panel, first: dt.date, last: dt.date, before: Service | None = None) -> Service:
    """Each champion serves REFIT_DAYS; those that began before the first day are taken from `before`."""
    champions = {day: one for day, one in (before.champions if before else {}).items() if day <= first}
    day = max(champions, default=first)
    parts = []
    while day <= last:
        champion = champions.setdefault(day, Champion.of(panel, day - DAY)) if day not in champions else champions[day]
        until = min(day + (REFIT_DAYS - 1) * DAY, last)
        parts.append(sums(champion.model, panel, max(day, first), until))
        day = until + DAY
    return Service(pd.concat(parts), champions)


def with_calendar(days: pd.DataFrame, country: str) -> pd.DataFrame:
    holidays = list(public_holidays.listed(country, days.index[0], days.index[-1]))
    return days.assign(state=np.where(days.index.isin(holidays), State.HOLIDAY, State.COUNTS))


# --- The nights


@dataclass(frozen=True)
class Nights:
    """On which nights each detector finds something, by the last day that it has seen."""

    drift: list[dt.date]
    degradation: list[dt.date]


def nights(service: Service, country: str, first: dt.date, last: dt.date) -> Nights:
    """Every night whose last day is from `first` to `last`."""
    days = with_calendar(service.days, country)
    found = Nights([], [])
    for back in range((last - first).days + 1):
        day = first + back * DAY
        seen = days.loc[day - (WINDOWS - 1) * DAY : day]
        if drift.measure(seen, POLICY, as_of=day + DAY).verdict == DriftCheck.Verdict.DRIFT:
            found.drift.append(day)
        began = max(one for one in service.champions if one <= day)
        if degradation.measure(_window(service.days, day, began), _holdout(service, began), POLICY).degraded:
            found.degradation.append(day)
    return found


def _holdout(service: Service, began: dt.date) -> float:
    return service.champions[began].holdout_wape


def _window(days: pd.DataFrame, last: dt.date, began: dt.date) -> degradation.Window:
    first = last - (POLICY.drift_recent_days - 1) * DAY
    seen = days.loc[max(first, began) : last]
    added = seen.sum()
    return degradation.Window(
        first, last, len(seen), int(added["rows"]), float(added["absolute"]), float(added["units"])
    )


def incidents(found: Iterable[dt.date]) -> int:
    """How often people are called where each incident is rejected at once and the cooldown then holds."""
    count, quiet_until = 0, dt.date.min
    for day in found:
        if day >= quiet_until:
            count, quiet_until = count + 1, day + POLICY.drift_cooldown_days * DAY
    return count


def episodes(found: list[dt.date]) -> int:
    """How often degradation begins."""
    return sum(day - DAY not in found for day in found)


# --- The two panels


def small_m5() -> Panel:
    rows = pd.read_parquet(data_folder() / "m5" / "small.parquet")
    for name in ("store_id", "product_id", "department", "category"):
        rows[name] = rows[name].astype(str)
    panel = from_transactions(rows, country="US")
    return panel.between(first_day=panel.last_day - NEEDED)


def made_up(series: int = 600) -> Panel:
    """Three stores; weekday, season and noise as in shops, and no event of any kind."""
    rng, days = np.random.default_rng(5), NEEDED
    names = pd.Series(np.arange(series))
    first = day_number("2024-01-01")
    day = first + np.arange(days)
    weekday = np.array([0.8, 0.75, 0.8, 0.9, 1.15, 1.4, 1.2])[day % 7]
    season = 1 + 0.2 * np.sin(2 * np.pi * (day / 365.25 + rng.random((series, 1))))
    level = rng.gamma(0.8, 2.0, (series, 1)) * weekday * season
    y = rng.poisson(level * rng.gamma(4, 0.25, (series, days)))
    y[:, 0] = 1
    items = pd.DataFrame(
        {
            "unique_id": names.astype(str),
            "store_id": "S" + (names % 3).astype(str),
            "product_id": (names // 3).astype(str),
            "department": "D" + (names // 3 % 7).astype(str),
            "category": "C" + (names // 3 % 20).astype(str),
            "first_sold": first,
        }
    )
    return Panel(
        items=items,
        start=np.full(series, first),
        last_day=first + days - 1,
        y=y.astype(np.float32).ravel(),
        observed=np.ones(series * days, dtype=bool),
        price=np.repeat(rng.uniform(1, 20, series), days).astype(np.float32),
        promo=np.full(series * days, np.nan, dtype=np.float32),
    )


# --- The tables


def report(name: str, panel: Panel) -> None:
    """Prints the year without any shift, then what each shift took to be found."""
    started = time.perf_counter()
    last = as_date(panel.last_day)
    first_night = last - (YEAR - 1) * DAY
    undisturbed = serve(panel, first_night - (WINDOWS - 1) * DAY, last)
    quiet = nights(undisturbed, panel.country, first_night, last)
    print(f"### {name}: {len(panel.items):,} series, {YEAR} nights to {last}\n")
    print(
        f"Without any shift, drift incidents: {incidents(quiet.drift)} ({len(quiet.drift)} nights), "
        f"episodes of degradation: {episodes(quiet.degradation)} ({len(quiet.degradation)} nights). "
        f"Drift on: {', '.join(map(str, quiet.drift)) or 'no night'}.\n"
    )
    rows = [_found(shift, panel, undisturbed, quiet, first_night) for shift in SHIFTS]
    print(table(("planted shift", "drift found", "days to it", "degradation found", "days to it"), rows))
    print(f"\n{time.perf_counter() - started:.0f} s\n", flush=True)


def _found(shift: str, panel: Panel, undisturbed: Service, quiet: Nights, first_night: dt.date) -> list[str]:
    delays: dict[str, list[int]] = {"drift": [], "degradation": []}
    for night in PLANTED:
        begins = first_night + night * DAY
        found = _planted(SHIFTS[shift], panel, undisturbed, begins)
        for name, days in delays.items():
            new = [day for day in getattr(found, name) if day not in getattr(quiet, name)]
            days.extend((day - begins).days + 1 for day in new[:1])
    cells = [[f"{len(days)} of {len(PLANTED)}", _spread(days)] for days in delays.values()]
    return [shift, *cells[0], *cells[1]]


def _planted(shift: Shift, panel: Panel, undisturbed: Service, begins: dt.date) -> Nights:
    """The nights after a shift began; what served before is as it was."""
    first, last = day_number(begins), min(begins + (WATCHED - 1) * DAY, as_date(panel.last_day))
    y = shift(panel, panel.days >= first, first).astype(np.float32)
    shifted = replace(panel, y=y)
    after = serve(shifted, begins, last, before=undisturbed)
    before = undisturbed.days.loc[: begins - DAY]
    whole = Service(pd.concat([before, after.days]), after.champions)
    return nights(whole, panel.country, begins, last)


def _spread(days: list[int]) -> str:
    if not days:
        return "–"
    return f"{np.median(days):.0f} ({min(days)} to {max(days)})"


def main() -> int:
    """Prints both panels' tables; answers 1 where the data are not there."""
    report("Made up", made_up())
    if not (data_folder() / "m5" / "small.parquet").exists():
        print("The second half of this benchmark needs the data (SHELFOPS_BENCH_DATA).", file=sys.stderr)
        return 1
    report("M5, three stores", small_m5())
    return 0


if __name__ == "__main__":
    sys.exit(main())
