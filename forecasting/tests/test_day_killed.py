"""A day whose process is killed after any of its steps, and that is done again, ends as one that nothing disturbed."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from django.core.management import call_command

from alerts.models import MLAlert
from forecasting import nightly, scoring
from forecasting.models import Forecast, ForecastRun
from forecasting.retraining_job import retrain_here
from forecasting.tests.contents import Contents, contents, differences
from forecasting.tests.copies import Place, at, copy, drop
from forecasting.tests.killable import Days
from forecasting.tests.nights import load
from forecasting.tests.synthetic import shop
from mlops import shadow
from mlops.audit import audit
from mlops.models import BacktestResult, DriftIncident, ModelPolicy, ModelVersion, ShadowTest
from shelfops.clock import set_clock
from shelfops.models import Customer, JobRun

pytestmark = pytest.mark.django_db(transaction=True)
DAY = dt.timedelta(days=1)
SUNDAY = dt.date(2026, 6, 14)
SHIFTED = SUNDAY - 10 * DAY
BEGAN = SUNDAY - 14 * DAY
CORRECTED = SUNDAY - 5 * DAY
KILLED = -9
SMALL = {"max_leaves": 7, "learning_rate": 0.3}
SWAPPED = {"P0": "P3", "P1": "P2", "P2": "P1", "P3": "P0"}
POLICY = {
    "train_days": 28,
    "holdout_days": 7,
    "drift_baseline_days": 7,
    "drift_min_rows": 50,
    "drift_pct": 1,
    "guard_coverage_points": 100,  # eight series are too few for the guards
    "guard_bias_points": 100,
    "guard_bias_max_points": 100,
    "guard_mape_pct": 1000,
}
STEPS = {
    "the retrain's files are written aside": "mlops.artefacts:sync_folder",
    "the retrain's files are in place": "mlops.artefacts:save",
    "the new version is promoted, not committed": "mlops.promotion:apply",
    "the retrain is done": "forecasting.retraining_job:retrain",
    "the run of the retrain is closed": "shelfops.jobs:_close",
    "the forecasts are written": "forecasting.publishing:write",
    "the forecasts are published": "forecasting.publishing:publish",
    "old forecasts are removed": "forecasting.publishing:prune",
    "shadow tests have begun": "mlops.shadow:start",
    "the shadow rows are written": "forecasting.nightly:shadow",
    "a day is scored": "forecasting.scoring:score_day",
    "shadow tests are judged": "mlops.shadow:evaluate_due",
    "the champion's backtest is looked at": "mlops.degradation:check",
    "drift is found": "forecasting.drift:check",
    "the incident is opened": "mlops.incidents:detected",
    "the emergency retrain is done": "forecasting.drift:retrain",
    "people are told": "mlops.incidents:answer",
    "the day is done, its run not closed": "forecasting.drift:work",
}
ALONE = [  # each takes a day of its own; the others are killed in turn only
    "the retrain is done",
    "the forecasts are written",
    "the shadow rows are written",
    "a day is scored",
    "the emergency retrain is done",
]


@dataclass
class Sunday:
    """What the day starts from, and what it comes to undisturbed."""

    days: Days
    morning: Place
    evening: Place
    tables: Contents
    folders: set[str]


@pytest.fixture(scope="module")
def sunday(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Sunday]:
    """Everything happens on it: the weekly retrain is promoted, a past day is scored again, a shadow test ends, there
    is drift."""
    folder = tmp_path_factory.mktemp("killed")
    empty = Place(Place.here().database, str(folder / "artefacts"))
    own = {"SHELFOPS_JOB_LEASE_SECONDS": "0.5", "OMP_NUM_THREADS": "1"}
    with django_db_blocker.unblock(), Days(**own) as days:
        morning = copy(empty, "morning")
        with at(morning):
            call_command("flush", interactive=False, verbosity=0)  # another file's story may stand in the database
            until_sunday(folder)
        evening = copy(morning, "evening")
        assert days.run(evening, SUNDAY.isoformat()) == 0
        with at(evening):
            tables = contents()
        yield Sunday(days, morning, evening, tables, folders(evening))
        drop(evening)
        drop(morning)


def until_sunday(folder: Path) -> None:
    call_command("create_customer", "acme", "--name", "Acme Stores", "--timezone", "Europe/Berlin", stdout=StringIO())
    acme = Customer.objects.get()
    ModelPolicy.objects.filter(customer=acme).update(**POLICY)
    rows = shifting_sales()
    load(acme, folder, rows)
    set_clock(acme, BEGAN)
    for rounds in (15, 5):
        retrain_here(
            acme, trigger="manual", reason="something has to serve", params=SMALL | {"num_boost_round": rounds}
        )
    shadow.start(acme, BEGAN)
    set_clock(acme, SUNDAY - DAY)
    nightly.forecast_here(acme)  # makes up for the days since
    scoring.score_here(acme)
    set_clock(acme, SUNDAY)
    wrong = rows[rows["date"] == pd.Timestamp(CORRECTED)]
    load(acme, folder, wrong.assign(quantity=wrong["quantity"] + 1))


def shifting_sales() -> pd.DataFrame:
    """Two stores whose four products sell each other's numbers from SHIFTED on."""
    rows = shop(stores=2, products=4, last=SUNDAY - DAY)
    shifted = rows["date"] >= pd.Timestamp(SHIFTED)
    as_before = rows["product_id"].where(~shifted, rows["product_id"].map(SWAPPED))
    sold = rows.set_index(["date", "store_id", "product_id"])["quantity"]
    keys = pd.MultiIndex.from_arrays([rows["date"], rows["store_id"], as_before])
    return rows.assign(quantity=sold.loc[keys].to_numpy())


def folders(place: Place) -> set[str]:
    """All of the artefact store, half-written ones too."""
    root = Path(place.artefacts)
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_on_this_day_there_is_something_to_cut_short_at_every_step(sunday):
    with at(sunday.evening):
        assert ModelVersion.objects.champions().get().as_of == SUNDAY
        assert JobRun.objects.get(job="forecast", status="queued").arguments["after"] == "v3"
        assert ForecastRun.objects.get(as_of=SUNDAY).status == "published"
        assert set(Forecast.objects.filter(date=SUNDAY, lead=1).values_list("version__version", flat=True)) == {"v3"}
        assert ShadowTest.objects.get(version__version="v2").completed_on == SUNDAY
        assert BacktestResult.objects.filter(kind="daily", day__in=[CORRECTED, SUNDAY - DAY]).exists()
        assert DriftIncident.objects.get().challenger.version == "v4"
        assert MLAlert.objects.get(alert_type="drift_detected").version == "v4"


@pytest.mark.parametrize("step", ALONE)
def test_killed_after_a_step_and_done_again_a_day_ends_the_same(step, sunday):
    with a_copy(sunday) as place:
        assert sunday.days.run(place, SUNDAY.isoformat(), die_after=STEPS[step]) == KILLED
        ends_the_same(place, sunday)


def test_killed_after_every_step_in_turn_a_day_ends_the_same(sunday):
    with a_copy(sunday) as place:
        for step in STEPS.values():
            assert sunday.days.run(place, SUNDAY.isoformat(), die_after=step) == KILLED, step
        ends_the_same(place, sunday)


@contextmanager
def a_copy(sunday: Sunday) -> Iterator[Place]:
    place = copy(sunday.morning, "killed")
    try:
        yield place
    finally:
        drop(place)


def ends_the_same(place: Place, sunday: Sunday) -> None:
    """Done again, to its end."""
    assert sunday.days.run(place, SUNDAY.isoformat()) == 0
    with at(place):
        assert differences(contents(), sunday.tables) == []
        assert not audit(Customer.objects.get()).faults
    assert folders(place) == sunday.folders
