"""Nights killed at random moments and done again, beside the same nights undisturbed: every table must say the same.

What two runs cannot share, and so is not compared, says `forecasting/tests/contents.py`. Files are compared by hash.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from alerts.models import MLAlert
from benchmarks import database
from benchmarks.measure import table
from forecasting.day import run_day
from forecasting.loading import load_sales
from forecasting.orders import Trigger
from forecasting.retraining_job import retrain_here
from forecasting.tests.contents import Contents, contents, differences
from forecasting.tests.copies import Place, at, copy, drop
from forecasting.tests.killable import Days
from mlops import experiments
from mlops.audit import audit
from mlops.models import ModelExperiment, ModelPolicy, VersionEvent
from shelfops import customers, schedules
from shelfops.clock import set_clock
from shelfops.models import Customer, JobRun, Role, User
from shelfops.people import add_member

KILLS, SEED = 50, 20260517
LEASE_SECONDS = "1"
MOST_REPEATS = 3
POLL_SECONDS = 0.005

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 3, 2)
BEGAN = dt.date(2026, 5, 4)
SHIFTED = dt.date(2026, 5, 14)
UNTIL = dt.date(2026, 5, 26)
CORRECTED, CORRECTED_ON = dt.date(2026, 5, 11), dt.date(2026, 5, 15)
KILLED = {  # the days on which a run is killed, with the share of the kills that they get
    dt.date(2026, 5, 13): 1,  # two shadow tests are judged
    CORRECTED_ON: 1,  # a past day's sales were corrected, and the champion has become worse
    dt.date(2026, 5, 17): 3,  # Sunday: the weekly retrain is kept; drift, the emergency retrain and its alert
    dt.date(2026, 5, 18): 1,  # the night after: the emergency's challenger goes into shadow
    dt.date(2026, 5, 24): 3,  # Sunday: the weekly retrain is promoted and its forecasts are made
    dt.date(2026, 5, 25): 1,  # a shadow test asks for a decision
}
STORES, PRODUCTS = 4, 30
SMALL = {"num_boost_round": 15, "max_leaves": 15, "learning_rate": 0.2}
SHORT = {"train_days": 28, "holdout_days": 7, "drift_baseline_days": 7, "shadow_days": 8, "keep_forecast_days": 2}


@dataclass
class Undisturbed:
    """A day from its morning on: what it starts from, what comes of it, and how long each stage takes."""

    morning: Place
    tables: Contents
    files: Contents
    seconds: float
    stages: dict[str, float]


@dataclass
class Kills:
    """What came of the runs that were killed in one stage."""

    kills: int = 0
    repeats: Counter[int] = field(default_factory=Counter)
    different: int = 0


def main() -> int:
    """Prints kills by the stage that they hit; answers 1 where a run ended in other tables than the undisturbed one."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    own = {"SHELFOPS_JOB_LEASE_SECONDS": LEASE_SECONDS, "SHELFOPS_NOTIFICATIONS": "false"}
    own["SHELFOPS_LOG_LEVEL"] = "CRITICAL"  # that a worker died is no news here
    with _database(), Days(**own) as days, _forgotten() as mornings:
        _undisturbed(days, mornings)
        found = _campaign(days, mornings, kills, random.Random(SEED))
    rows = [(stage, of.kills, _listed(of.repeats), of.different) for stage, of in sorted(found.items())]
    print(table(("stage that was killed", "kills", "repeats", "ended otherwise"), rows))
    different = sum(of.different for of in found.values())
    print(f"\n{sum(of.kills for of in found.values())} kills on {connection.vendor}, {different} ended otherwise")
    return int(different > 0)


def _listed(repeats: Counter[int]) -> str:
    return ", ".join(f"{runs} x {times}" for times, runs in sorted(repeats.items()))


@contextmanager
def _database() -> Iterator[None]:
    """Empty, migrated: the one that DATABASE_URL names gets one beside it, else a file in this program's folder."""
    if connection.vendor == "sqlite":
        call_command("migrate", verbosity=0)
        yield
    else:
        with database.of_its_own():
            yield


@contextmanager
def _forgotten() -> Iterator[dict[dt.date, Undisturbed]]:
    """Mornings whose copies are removed at the end."""
    mornings: dict[dt.date, Undisturbed] = {}
    try:
        yield mornings
    finally:
        for one in mornings.values():
            drop(one.morning)


# --- Days as they should be


def _undisturbed(days: Days, mornings: dict[dt.date, Undisturbed]) -> None:
    """The days of the story up to the last that is killed; none of them is disturbed."""
    acme, day = _begin(), BEGAN
    here = Place.here()
    while day < max(KILLED):
        day += DAY
        _morning(acme, day)
        if day not in KILLED:
            run_day(acme, day, retrain_due=schedules.falls_on(acme, "retrain", day))
            continue
        before = copy(here, f"morning_{day:%m%d}")
        connection.close()
        began, started = timezone.now(), time.perf_counter()
        if days.run(here, day.isoformat()):
            sys.exit(f"The undisturbed run of {day} has failed.")
        seconds = time.perf_counter() - started
        mornings[day] = Undisturbed(before, contents(), _files(here), seconds, _stages(day))
        print(f"{day}: {seconds:.1f} s; {'; '.join(_happened(day, began))}", flush=True)


def _happened(day: dt.date, began: dt.datetime) -> list[str]:
    """What was decided and told, so that it can be seen that there is something to kill."""
    moves = VersionEvent.objects.filter(as_of=day, created_at__gte=began).select_related("version").order_by("pk")
    alerts = MLAlert.objects.filter(created_at__gte=began).order_by("pk")
    return [f"{move.version} becomes {move.to_status}" for move in moves] + [f"“{alert.title}”" for alert in alerts]


def _stages(day: dt.date) -> dict[str, float]:
    runs = JobRun.objects.filter(slot=day.isoformat()).exclude(completed_at=None)
    return {f"{run.job}: {one['stage']}": one["seconds"] for run in runs for one in run.stages}


def _begin() -> Customer:
    """A champion, a challenger and an open experiment, the last two about to go into shadow."""
    acme = customers.create(Customer(slug="acme", name="Acme Stores", timezone="Europe/Berlin"))
    ModelPolicy.objects.filter(customer=acme).update(**SHORT)
    alice, bob = _person(acme, "alice", Role.DATA_SCIENTIST), _person(acme, "bob", Role.ML_MANAGER)
    _morning(acme, BEGAN, since=FIRST)
    retrain_here(acme, trigger=Trigger.MANUAL, reason="first model", params=SMALL)
    rival = SMALL | {"num_boost_round": 25}
    retrain_here(acme, trigger=Trigger.MANUAL, reason="a rival", params=rival, promote=False)
    tried = experiments.propose(
        acme,
        by=alice,
        name="More leaves",
        hypothesis="Trees with more leaves tell more products apart.",
        experiment_type=ModelExperiment.Type.HYPERPARAMETERS,
        plan={"params": SMALL | {"max_leaves": 31}},
    )
    experiments.approve(tried, by=bob, rationale="It is cheap.")
    retrain_here(acme, trigger=Trigger.EXPERIMENT, trigger_metadata={"experiment_id": str(tried.pk)}, by=alice)
    return acme


def _person(acme: Customer, name: str, role: Role) -> User:
    return add_member(f"{name}@acme.example", acme, role, password="a-long-enough-password").membership.user


def _morning(acme: Customer, day: dt.date, *, since: dt.date | None = None) -> None:
    """Yesterday's sales arrive, and on one day half of what was sold on a past one turns out to be wrong."""
    set_clock(acme, day)
    rows = SALES[SALES["date"].between(pd.Timestamp(since or day - DAY), pd.Timestamp(day - DAY))]
    if day == CORRECTED_ON:
        wrong = SALES[SALES["date"] == pd.Timestamp(CORRECTED)]
        rows = pd.concat([rows, wrong.assign(quantity=wrong["quantity"] + wrong.index % 2)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sales.parquet"
        rows.to_parquet(file, index=False)
        load_sales(acme, file)


def _sales() -> pd.DataFrame:
    """Every store sells every product in a weekly rhythm; from SHIFTED on the products sell each other's numbers."""
    days = pd.DataFrame({"date": pd.date_range(FIRST, UNTIL)})
    stores = pd.DataFrame({"store_id": [f"S{number}" for number in range(STORES)]})
    products = pd.DataFrame({"product_id": [f"P{number:02}" for number in range(PRODUCTS)]})
    rows = days.merge(stores, how="cross").merge(products, how="cross")
    number = rows["product_id"].str[1:].astype(int)
    swapped = number.where(rows["date"] < pd.Timestamp(SHIFTED), PRODUCTS - 1 - number)
    rhythm = np.where(rows["date"].dt.dayofweek >= 5, 1.6, 0.8)
    rows["quantity"] = np.random.default_rng(7).poisson(0.3 * np.power(1.15, swapped.to_numpy()) * rhythm)
    rows["unit_price"] = 2.0 + number
    rows["department"] = "D" + (number % 4).astype(str)
    rows["category"] = "C" + (number // 3).astype(str)
    return rows


SALES = _sales()


# --- The same days killed


def _campaign(days: Days, mornings: dict[dt.date, Undisturbed], kills: int, rng: random.Random) -> dict[str, Kills]:
    """Half of the kills strike at any moment of the run, the others in any stage of it, however short."""
    found: dict[str, Kills] = {}
    turns = [day for day, share in KILLED.items() for _ in range(share)]
    done = 0
    while done < kills:
        day = turns[done % len(turns)]
        place = copy(mornings[day].morning, "killed")
        stage = _kill(days, place, day, mornings[day], rng, by_stage=bool(done // len(turns) % 2))
        if stage is not None:  # else it had ended before
            done += 1
            repeats, told = _done_again(days, place, day, mornings[day])
            of = found.setdefault(stage, Kills())
            of.kills, of.different = of.kills + 1, of.different + bool(told)
            of.repeats[repeats] += 1
            print(f"{done:3} {day} killed in {stage}: repeated {repeats} x, {len(told)} differences", flush=True)
            print("".join(f"      {line[:4000]}\n" for line in told[:12]), end="", flush=True)
        drop(place)
    return found


def _kill(
    days: Days, place: Place, day: dt.date, as_usual: Undisturbed, rng: random.Random, *, by_stage: bool
) -> str | None:
    """Which stage the run was in when it was killed; None where it had ended before."""
    with at(place):
        pid = days.begin(place, day.isoformat())
        if by_stage:
            stage = rng.choice(sorted(as_usual.stages))
            delay = rng.uniform(0, as_usual.stages[stage])
            _wait_for(stage, as_usual.seconds * 4)
        else:
            delay = rng.uniform(0, as_usual.seconds)
        time.sleep(delay)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if days.end() >= 0:
            return None
        return _without_dates(_stage_now() or "between the runs")


def _wait_for(stage: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _stage_now() != stage:
        time.sleep(POLL_SECONDS)


def _stage_now() -> str | None:
    run = JobRun.objects.filter(status=JobRun.Status.RUNNING).values("job", "stage").first()
    return f"{run['job']}: {run['stage'] or 'beginning'}" if run else None


def _without_dates(stage: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d", "a day", stage)


def _done_again(days: Days, place: Place, day: dt.date, as_usual: Undisturbed) -> tuple[int, list[str]]:
    """How often the run had to be started again, and how what it came to differs from the undisturbed one."""
    repeats = 1
    while days.run(place, day.isoformat()):
        repeats += 1
        if repeats > MOST_REPEATS:
            return repeats, ["it cannot be done again"]
    with at(place):
        told = differences(contents(), as_usual.tables) + differences(_files(place), as_usual.files)
        return repeats, told + [str(fault) for fault in audit(Customer.objects.get()).faults]


def _files(place: Place) -> Contents:
    """Every file of the artefact store with its hash, and folders that hold nothing."""
    root = Path(place.artefacts)
    return {
        "artefacts": Counter(
            f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ''}"
            for path in root.rglob("*")
        )
    }


if __name__ == "__main__":
    sys.exit(main())
