"""Every night beside the forecasts: what the versions in shadow say of the same days, one day ahead, written beside
what served."""

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from django.db import transaction
from django.db.models import Max, Q
from django.utils import timezone

from forecasting import targets
from forecasting.models import Forecast
from forecasting.night import DAY, Mask, Night, model_of
from forecasting.predict import predict
from mlops import routing
from mlops.artefacts import BrokenArtefact
from mlops.models import ModelVersion, ShadowPrediction, ShadowTest
from mlops.room import BESIDE_THE_CHAMPION
from shelfops import bulk

logger = logging.getLogger(__name__)
Stage = Callable[[str, int], None]
SERVED = [
    "store_id", "product_id", "version_id", "prediction", "lower", "upper", "seasonal_naive", "department", "band",
]  # fmt: skip
LATENCY = "latency_ms_per_1000"
TIMED_SERIES = 1000


@dataclass
class Shadowed:
    """What a night wrote: rows by version, the days that were made up for, and what was left out and why."""

    rows: dict[str, int] = field(default_factory=dict)
    replayed: set[dt.date] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def wrote(self, version: ModelVersion, day: dt.date, rows: int, *, replayed: bool) -> None:
        self.rows[version.version] = self.rows.get(version.version, 0) + rows
        if replayed:
            self.replayed.add(day)


def shadow(
    night: Night,
    *,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
) -> Shadowed:
    """Writes the shadow rows of the night's first day, and of the days before it that were missed.

    Each version's day is one transaction, in order of day, in which `confirm` is called; what is there already stays.
    A version whose files are broken is left out.
    """
    done = Shadowed()
    due = [(test, _days_due(night, test)) for test in tests(night)]
    days = sorted({day for _test, those in due for day in those})
    for number, day in enumerate(days):
        stage(f"forecasting {day} in shadow", 100 * number // len(days))
        beside = _Beside.of(night.before(day), day)
        for test in [test for test, those in due if day in those]:
            _write_day(beside, test, done, confirm)
    return done


def tests(night: Night) -> Sequence[ShadowTest]:
    """Of the versions beside the champion: the tests that run, and those that have ended lately."""
    lately = night.as_of - dt.timedelta(days=night.policy.keep_shadow_days)
    beside = ShadowTest.objects.filter(customer=night.customer, version__status__in=BESIDE_THE_CHAMPION)
    Status = ShadowTest.Status
    ended = Q(status=Status.COMPLETED, completed_on__gte=lately)
    tests = beside.filter(Q(status=Status.RUNNING) | ended).select_related("version")
    return list(tests.order_by("version_id"))


def _days_due(night: Night, test: ShadowTest) -> list[dt.date]:
    """The days after the last one that is written, from the test's start on, none of which the version has seen."""
    written = ShadowPrediction.objects.filter(version=test.version).aggregate(day=Max("forecast_date"))["day"]
    seen = max(filter(None, (written, test.version.train_end)))
    first = max(test.started_on, seen + DAY)
    return [first + n * DAY for n in range((night.first_day - first).days + 1)]


@dataclass(frozen=True)
class _Beside:
    """One day: what served, in the order of the panel, what was routed, and what decides which segment a series falls
    under."""

    night: Night
    day: dt.date
    served: pd.DataFrame
    routed: set[str]
    kinds: pd.DataFrame

    @classmethod
    def of(cls, night: Night, day: dt.date) -> "_Beside":
        rows = Forecast.objects.served(night.customer, [day]).order_by().values_list(*SERVED)
        table = pd.DataFrame.from_records(rows.iterator(chunk_size=10_000), columns=SERVED)
        keys = pd.MultiIndex.from_frame(night.keys)
        table["series"] = keys.get_indexer(pd.MultiIndex.from_frame(table[["store_id", "product_id"]]))
        served = table[table["series"] >= 0].set_index("series").sort_index()
        routed = {rule.segment for rule in routing.rules_on(night.customer, day)}
        return cls(night, day, served, routed, night.segments(day))

    def falling_under(self, version: ModelVersion) -> Mask:
        """The series that served and that the version would serve as a champion, of the products it was trained for."""
        segment = version.segment
        segments = sorted({segment, *self.routed})
        chosen = routing.resolve(segments, self.kinds)
        served = np.zeros(len(chosen), dtype=bool)
        served[self.served.index] = True
        if version.products:
            served &= self.night.panel.items["product_id"].astype(str).isin(version.products).to_numpy()
        return served & (chosen == segments.index(segment))


def _write_day(beside: _Beside, test: ShadowTest, done: Shadowed, confirm: Callable[[], None]) -> None:
    version, series = test.version, beside.falling_under(test.version)
    if not series.any():
        return
    try:
        said = beside.night.forecast(version, series, 1).set_index("series")
        latency = {} if LATENCY in test.result else _latency(beside, version, series)
    except BrokenArtefact as error:
        logger.error("%s is left out of the night's shadow: %s", version, error)
        done.notes.append(f"{version} is left out: {error}")
        return
    rows = _table(beside, version, beside.served.loc[said.index], said)
    bulk.patiently(partial(_write, rows, test, latency, confirm))
    done.wrote(version, beside.day, len(rows), replayed=beside.day < beside.night.as_of)


def _write(rows: pa.Table, test: ShadowTest, latency: dict[str, float], confirm: Callable[[], None]) -> None:
    with transaction.atomic():
        confirm()
        bulk.insert(targets.SHADOW, rows)
        if latency:
            locked = ShadowTest.objects.select_for_update().get(pk=test.pk)
            test.result = locked.result = {**locked.result, LATENCY: latency}
            locked.save(update_fields=["result"])


def _table(beside: _Beside, version: ModelVersion, served: pd.DataFrame, said: pd.DataFrame) -> pa.Table:
    items = beside.night.panel.items.iloc[said.index]
    n = len(said)

    def number(values: Iterable[float]) -> pa.Array:
        return pa.array(np.asarray(values, dtype=np.float64), from_pandas=True)

    return pa.table(
        {
            "version_id": np.full(n, version.pk),
            "forecast_date": np.full(n, np.datetime64(beside.day, "D")),
            "store_id": items["store_id"].astype(str).to_numpy(dtype=object),
            "product_id": items["product_id"].astype(str).to_numpy(dtype=object),
            "customer_id": np.full(n, beside.night.customer.pk.hex),
            "champion_id": served["version_id"].to_numpy(),
            "champion_prediction": number(served["prediction"]),
            "challenger_prediction": number(said["prediction"]),
            "champion_lower": number(served["lower"]),
            "champion_upper": number(served["upper"]),
            "challenger_lower": number(said["lower"]),
            "challenger_upper": number(said["upper"]),
            "seasonal_naive": number(served["seasonal_naive"]),
            "department": served["department"].to_numpy(dtype=object),
            "band": served["band"].to_numpy(dtype=object),
            "replayed": np.full(n, beside.day < beside.night.as_of),
            "created_at": np.full(n, timezone.now().strftime("%Y-%m-%d %H:%M:%S.%f")),
        }
    )


def _latency(beside: _Beside, version: ModelVersion, series: Mask) -> dict[str, float]:
    """Milliseconds per thousand forecasts one day ahead, of the version and of the one that mostly served, on the same
    series."""
    few = series & (np.cumsum(series) <= TIMED_SERIES)
    champion = ModelVersion.objects.get(pk=int(beside.served["version_id"].mode()[0]))
    seconds = {"champion": _seconds(beside.night, champion, few), "challenger": _seconds(beside.night, version, few)}
    return {name: round(1e6 * value / int(few.sum()), 1) for name, value in seconds.items()}


def _seconds(night: Night, version: ModelVersion, series: Mask) -> float:
    model, few = model_of(version), night.panel.select(series)  # reading files and sales is not part of it
    started = time.perf_counter()
    predict(model, few, 1)
    return time.perf_counter() - started
