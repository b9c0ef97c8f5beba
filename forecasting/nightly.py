"""Every night: forecasts for all active series by the versions that are routed to them, published as a whole.

Rows one day ahead are the ledger of what served: written once per series and day, and made up for where a night was
missed. The rows further ahead are made anew each night.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from django.db.models import Max, Min

from forecasting import publishing
from forecasting.models import Forecast, ForecastRun
from forecasting.night import DAY, Mask, Night, Routes, rules_on
from forecasting.panel import day_number
from forecasting.shadowing import Shadowed, shadow
from mlops import promotion
from mlops import shadow as shadow_tests
from mlops.models import MOST_DAYS_AHEAD, RoutingRule
from shelfops import bulk, jobs
from shelfops.models import MODEL_NAME_DEFAULT, Customer, JobRun, User
from shelfops.refusals import Refusal

JOB = "forecast"
NIGHTLY = "Nightly"
FORECAST_PERCENT = 70  # of the job; the rest is the shadow's

Stage = Callable[[str, int], None]
Advance = Callable[[int, int], None]
_watching: ContextVar[Advance | None] = ContextVar("watching", default=None)
_asks: ContextVar[bool] = ContextVar("asks", default=True)


class BadHorizon(Refusal):
    """Forecasts were asked for fewer days than one or more than plans are read."""


class Overtaken(Refusal):
    """Forecasts of a later day are published already."""


def forecast(
    customer: Customer,
    as_of: dt.date,
    *,
    days: int | None = None,
    cause: str = "",
    night: Night | None = None,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
) -> ForecastRun:
    """Forecasts `days` days (default: the policy's horizon) after the last complete day, and publishes them.

    The same rules, origin and days answer the run that is there. `confirm` is called in the transaction that
    publishes. Raises sales.NoSales, routing.NobodyServes, BadHorizon, Overtaken, artefacts.BrokenArtefact.
    """
    night = night or Night.of(customer, as_of)
    days = _horizon(night.policy.horizon_days if days is None else days)
    rules = rules_on(customer, as_of)
    former = publishing.latest(customer)
    made = _same(night, rules, days)
    if made is None:
        if former and former.as_of > as_of:
            raise Overtaken(f"Forecasts of {former.as_of} are published already. Name that day or a later one.")
        run = publishing.begin(night, rules, days, cause or _cause(night, rules, days, former))
        made = _Writer(run, night, stage).write_and_publish(confirm)
    stage("removing old forecasts", 95)
    publishing.prune(night)
    return made


def _horizon(days: int) -> int:
    if not 1 <= days <= MOST_DAYS_AHEAD:
        raise BadHorizon(f"Forecasts look 1 to {MOST_DAYS_AHEAD} days ahead, not {days}.")
    return days


def _same(night: Night, rules: list[RoutingRule], days: int) -> ForecastRun | None:
    """The last run of the day, if nothing that it was made of has changed."""
    run = ForecastRun.objects.published().filter(customer=night.customer, as_of=night.as_of).order_by("pk").last()
    made_of = (night.origin, publishing.rule_keys(rules), days)
    return run if run and (run.origin, run.rules, run.days) == made_of else None


def _cause(night: Night, rules: list[RoutingRule], days: int, former: ForecastRun | None) -> str:
    """Why the day is forecast again, where it is."""
    if former is None or former.as_of != night.as_of:
        return NIGHTLY
    if new := [rule.version.version for rule in rules if rule.pk not in former.rules]:
        return f"{', '.join(new)} promoted"
    if former.rules != publishing.rule_keys(rules):
        return "The routing changed"
    return "Other days of sales are in" if former.origin != night.origin else f"{days} days asked for"


class _Writer:
    """Writes one run: what was missed, the day ahead, and the days after it."""

    def __init__(self, run: ForecastRun, night: Night, stage: Stage) -> None:
        self.run, self.night, self.stage = run, night, stage
        self.rows = 0
        self.notes: list[str] = []

    def write_and_publish(self, confirm: Callable[[], None]) -> ForecastRun:
        due = _days_due(self.night)
        missed = [day for day in due if day < self.night.as_of]
        self.stage("reading sales", 2)
        len(self.night.panel)
        for number, day in enumerate(missed):
            self.stage(f"making up for {day}", 5 + 25 * number // len(missed))
            self._write(self._day(day))
        if missed:
            self.notes.append(f"Made up for {_listed(missed)}.")
        self.stage("forecasting", 30)
        self._write(self._ahead(with_first_day=self.night.first_day == self.night.as_of))
        self.stage("publishing", 90)
        return publishing.publish(self.run, rows=self.rows, notes=self.notes, confirm=confirm)

    def _write(self, tables: Iterator[pa.Table]) -> None:
        for table in tables:
            publishing.write(table, self._wrote)

    def _wrote(self, rows: int) -> None:
        self.rows += rows
        self.stage("writing forecasts", 60)

    def _day(self, day: dt.date) -> Iterator[pa.Table]:
        """What would have served on a day that was missed: one day ahead from its own past, by its own routes."""
        night = self.night.before(day)
        yield from self._tables(night, night.routes(day), 1, self._may_serve(night, day))

    def _ahead(self, *, with_first_day: bool) -> Iterator[pa.Table]:
        """The night's own days; the first of them only where it is today and has no row yet."""
        night = self.night
        routes = night.routes(night.as_of)
        if lost := int((routes.unrouted & night.active).sum()):
            self.notes.append(f"{lost} series are left out: no rule serves them, and no champion serves all products.")
        allowed = self._may_serve(night, night.first_day) if with_first_day else None
        yield from self._tables(night, routes, self.run.days, allowed)

    def _may_serve(self, night: Night, day: dt.date) -> "_Allowed":
        return _Allowed(day, _served(night, day), self.notes)

    def _tables(self, night: Night, routes: Routes, horizon: int, first_day: "_Allowed | None") -> Iterator[pa.Table]:
        for version, own in routes.versions():
            if not (own & night.active).any():
                continue
            rows = night.forecast(version, own & night.active, horizon)
            series, lead = rows["series"].to_numpy(), rows["lead"].to_numpy()
            keep = lead > 1
            if first_day is not None and first_day.for_version(version.version, version.train_end):
                keep |= ~first_day.served[series]
            if keep.any():
                yield _table(self.run, night, version.pk, routes, rows[keep])


class _Allowed:
    """Which series get a row one day ahead: those without one yet, from a version that was not trained on the day."""

    def __init__(self, day: dt.date, served: Mask, notes: list[str]) -> None:
        self.day, self.served, self.notes = day, served, notes

    def for_version(self, name: str, train_end: dt.date) -> bool:
        if train_end < self.day:
            return True
        self.notes.append(f"{self.day} is left out where {name} serves: it was trained on that day.")
        return False


def _days_due(night: Night) -> list[dt.date]:
    """The days after the last one that was forecast a day ahead, from the first champion's first day on."""
    first = RoutingRule.objects.of(night.customer).aggregate(day=Min("valid_from"))["day"]
    last_origin = ForecastRun.objects.published().filter(customer=night.customer).aggregate(day=Max("origin"))["day"]
    if last_origin is not None:
        first = max(first, last_origin + 2 * DAY)
    return [first + n * DAY for n in range((night.first_day - first).days + 1)]


def _served(night: Night, day: dt.date) -> Mask:
    """Which series of the panel have a row one day ahead of the day."""
    known = list(Forecast.objects.served(night.customer, [day]).values_list("store_id", "product_id"))
    if not known:
        return np.zeros(len(night.keys), dtype=bool)
    return pd.MultiIndex.from_frame(night.keys).isin(known)


def _table(run: ForecastRun, night: Night, version: int, routes: Routes, rows: pd.DataFrame) -> pa.Table:
    """Forecasts as rows of the table; what scoring needs is filled one day ahead only."""
    series, lead = rows["series"].to_numpy(), rows["lead"].to_numpy()
    one_ahead = lead == 1
    date = (day_number(night.origin) + lead).astype(np.int32)
    return pa.table(
        {
            "run_id": _same_in_all(run.pk, len(rows)),
            "store_id": night.keys["store_id"].to_numpy()[series],
            "product_id": night.keys["product_id"].to_numpy()[series],
            "date": pa.array(date, pa.int32()).cast(pa.date32()),
            "version_id": _same_in_all(version, len(rows)),
            "rule_id": routes.rule_ids[series],
            "origin": _same_in_all(np.datetime64(night.origin, "D"), len(rows)),
            "lead": lead,
            "prediction": rows["prediction"].to_numpy(),
            "lower": pa.array(rows["lower"].to_numpy(), from_pandas=True),
            "upper": pa.array(rows["upper"].to_numpy(), from_pandas=True),
            "seasonal_naive": pa.array(night.naive[series], mask=~one_ahead),
            "department": np.where(one_ahead, night.departments[series], ""),
            "band": np.where(one_ahead, np.asarray(night.bands.astype(str))[series], ""),
            "replayed": one_ahead & (date < day_number(night.as_of)),
        }
    )


def _same_in_all(value: object, rows: int) -> npt.NDArray[np.generic]:
    return np.full(rows, value)


def _listed(days: list[dt.date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{len(days)} days, {days[0]} to {days[-1]}"


# --- The job: forecasts, then what runs beside them in shadow


def forecast_here(
    customer: Customer,
    *,
    as_of: dt.date | None = None,
    days: int | None = None,
    watch: Advance | None = None,
    by: User | None = None,
) -> JobRun:
    """Forecasts in this process, to its end; `watch` is told (percent, 100). One that fails raises Refusal."""
    day = as_of or customer.today()
    if day > customer.today():
        raise Refusal(f"{day} has not come yet: today is {customer.today()} at {customer}. Name a day up to then.")
    arguments = {"as_of": day.isoformat(), "days": days}
    token = _watching.set(watch)
    try:
        return jobs.run_now(customer, JOB, slot=f"request:{uuid.uuid4()}", arguments=arguments, by=by)
    finally:
        _watching.reset(token)


def work(run: JobRun, progress: jobs.Progress, *, as_of: dt.date | None = None) -> dict[str, Any]:
    """What a worker does: the forecasts of the day, then the shadow rows; done again, it changes nothing."""
    day = as_of or dt.date.fromisoformat(run.arguments["as_of"])
    night = Night.of(run.customer, day)
    tell = _telling(progress)
    try:
        made = forecast(
            run.customer,
            day,
            days=run.arguments.get("days"),
            night=night,
            stage=lambda name, percent: tell(name, percent * FORECAST_PERCENT // 100),
            confirm=progress.confirm,
        )
    except Overtaken as overtaken:
        if "after" not in run.arguments:
            raise
        raise jobs.Skip(str(overtaken)) from overtaken  # the night has forecast by the new rules already
    shadow_tests.start(run.customer, day)
    beside = shadow(
        night,
        stage=lambda name, percent: tell(name, FORECAST_PERCENT + percent * (100 - FORECAST_PERCENT) // 100),
        confirm=progress.confirm,
    )
    shadow_tests.prune(run.customer, day)
    bulk.refresh_statistics()
    return _result(made, beside)


def _telling(progress: jobs.Progress) -> Stage:
    watch = _watching.get()

    def tell(name: str, percent: int) -> None:
        progress.stage(name, percent)
        if watch:
            watch(percent, 100)

    return tell


def _result(run: ForecastRun, beside: Shadowed) -> dict[str, Any]:
    return {
        "forecast_run": run.pk,
        "as_of": run.as_of,
        "origin": run.origin,
        "cause": run.cause,
        "rows": run.rows,
        "notes": run.notes,
        "shadow_rows": beside.rows,
        "shadow_replayed": sorted(beside.replayed),
        "shadow_notes": beside.notes,
    }


def ask_after(promoted: promotion.Promotion) -> None:
    """A promotion changes who serves: in its own transaction it asks that what is published is forecast anew at once.

    Without anything published, the night will do.
    """
    customer = promoted.version.customer
    rule = RoutingRule.objects.of(customer).open().filter(version=promoted.version).first()
    if rule is None or not _asks.get() or ForecastRun.objects.current(customer) is None:
        return
    slot = f"{promoted.as_of}:{promoted.version.version[:40]}:{_last_rule(promoted)}"
    arguments = {"as_of": promoted.as_of.isoformat(), "after": promoted.version.version}
    jobs.request(customer, JOB, slot=slot, arguments=arguments)


def _last_rule(promoted: promotion.Promotion) -> int:
    """The key of the rule that has changed: the one of whoever serves now, or of a segment that falls to them."""
    changed = promoted.version
    if promoted.former is not None and promoted.former.segment != changed.segment:
        changed = promoted.former
    return RoutingRule.objects.of(changed.customer).filter(version=changed).values_list("pk", flat=True).first() or 0


@contextmanager
def without_asking() -> Iterator[None]:
    """For whoever forecasts after a promotion themselves."""
    token = _asks.set(False)
    try:
        yield
    finally:
        _asks.reset(token)


def register() -> None:
    """Called once, when the apps are ready."""
    jobs.register(JOB, work, resource=MODEL_NAME_DEFAULT)
    promotion.on_promotion(ask_after)
