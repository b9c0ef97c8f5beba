"""Whether the forecasts that serve have become worse: recent MAE against the baseline before it, and what follows."""

import datetime as dt
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
from django.db.models import QuerySet

from forecasting import dossier, sales, served
from forecasting.orders import Order, Trigger
from forecasting.retrain import close_dead, retrain
from forecasting.served import State, Windows
from mlops import incidents, routing
from mlops.models import GLOBAL, DriftCheck, DriftIncident, ModelPolicy, ModelRetrainingLog, RoutingRule
from shelfops import jobs
from shelfops.models import MODEL_NAME_DEFAULT, Customer, JobRun, User
from shelfops.refusals import Refusal

logger = logging.getLogger(__name__)
JOB = "detect_drift"
Verdict = DriftCheck.Verdict
Stage = Callable[[str, int], None]
Floats = npt.NDArray[np.float64]

DRAWS = 2000
MIN_DAYS = 5  # resampling fewer days says nothing about the next one
ATTEMPTS = 2  # of an emergency retrain whose worker died; then people are told instead
NAMED_DAYS = 4


class NotYet(Refusal):
    """The night that is to be checked has not come."""


@dataclass(frozen=True)
class Window:
    """What one window holds: days that should count, those of them with scored rows, and MAEs in units a day."""

    expected: int
    days: int
    rows: int
    mae: float | None
    naive_mae: float | None


@dataclass(frozen=True)
class Measured:
    """A verdict with its numbers and the reason in words; None is unknown. `lower` bounds the increase in percent."""

    verdict: DriftCheck.Verdict
    reason: str
    recent: Window
    baseline: Window
    first_day: dt.date
    last_day: dt.date
    drift_pct: float | None = None
    lower: float | None = None


# --- Deciding


def measure(
    days: pd.DataFrame, policy: ModelPolicy, *, as_of: dt.date, segment: str = GLOBAL, nights_before: int = 0
) -> Measured:
    """The verdict of one night on one segment.

    `days` has one row for each day of both windows, in order: `state` (served.State), and the sums over that day's
    rows `rows`, `absolute` (of |error| in units), `naive` and `naive_rows` (the same of seasonal naive).
    `nights_before` is on how many nights in a row right before this one the lower bound was exceeded.
    """
    recent_days, baseline_days = days.iloc[-policy.drift_recent_days :], days.iloc[: -policy.drift_recent_days]
    recent, baseline = _window(recent_days), _window(baseline_days)
    found = partial(Measured, recent=recent, baseline=baseline, first_day=days.index[0], last_day=days.index[-1])
    if lacking := (
        _stale(days.index[-1], as_of, policy)
        or _lacking("recent", recent_days, recent, policy)
        or _lacking("baseline", baseline_days, baseline, policy)
    ):
        return found(Verdict.INSUFFICIENT_DATA, lacking)
    if recent.mae is None or not baseline.mae:
        return found(Verdict.INSUFFICIENT_DATA, "The baseline is without any error: no percentage follows from it.")
    drift_pct = (recent.mae - baseline.mae) / baseline.mae * 100
    lower = _lower_bound(recent_days, baseline_days, policy.bootstrap_level)
    verdict, reason = _verdict(drift_pct, lower, policy, segment, nights_before)
    sentence = (
        f"MAE {_figure(recent.mae)} over the last {recent.days} days against {_figure(baseline.mae)} over the "
        f"{baseline.days} before: {abs(drift_pct):.1f} % {'worse' if drift_pct > 0 else 'better'}{reason}"
    )
    return found(verdict, sentence, drift_pct=drift_pct, lower=lower)


def exceeds(drift_pct: float, limit: float) -> bool:
    """Strictly more than the limit, where a difference that only comes from floating point is none."""
    return round(drift_pct, 6) > limit


def _verdict(
    drift_pct: float, lower: float | None, policy: ModelPolicy, segment: str, nights_before: int
) -> tuple[DriftCheck.Verdict, str]:
    if not exceeds(drift_pct, policy.drift_pct):
        return Verdict.STABLE, f"; more than {policy.drift_pct:g} % worse would be drift."
    over = f", more than the {policy.drift_pct:g} % allowed"
    if segment == GLOBAL:
        return Verdict.DRIFT, f"{over}."
    limit, nights = policy.drift_segment_lower_pct, policy.drift_segment_nights
    if lower is None or lower <= limit:
        bound = "unknown" if lower is None else f"{lower:.1f} %"
        return Verdict.STABLE, f"{over}, but the lower bound of the increase is {bound} and has to exceed {limit:g} %."
    if nights_before + 1 < nights:
        return Verdict.STABLE, f"{over}, for {nights_before + 1} of the {nights} nights in a row that a segment needs."
    return Verdict.DRIFT, f"{over}, and its lower bound of {lower:.1f} % exceeds {limit:g} % for {nights} nights."


def _window(days: pd.DataFrame) -> Window:
    counts = days[days["state"] == State.COUNTS]
    expected = days["state"].isin([State.COUNTS, State.MISSING]).sum()
    sums = counts[["rows", "absolute", "naive", "naive_rows"]].sum()
    return Window(
        expected=int(expected),
        days=int((counts["rows"] > 0).sum()),
        rows=int(sums["rows"]),
        mae=float(sums["absolute"] / sums["rows"]) if sums["rows"] else None,
        naive_mae=float(sums["naive"] / sums["naive_rows"]) if sums["naive_rows"] else None,
    )


def _stale(last_day: dt.date, as_of: dt.date, policy: ModelPolicy) -> str:
    behind = (as_of - last_day).days - 1
    if behind <= policy.drift_recent_days:
        return ""
    return f"Feed gap: the last complete day is {last_day}, and the {behind} days since are not in. Load their sales."


def _lacking(name: str, days: pd.DataFrame, window: Window, policy: ModelPolicy) -> str:
    """Why the window cannot be judged; "" where it can."""
    # Days that are left out are not asked for, but a window that is mostly holidays says nothing about usual days.
    needed = max(math.ceil(round(policy.drift_min_days_share * window.expected, 6)), math.ceil(len(days) / 2))
    if window.days < needed:
        return (
            f"Only {window.days} of the {len(days)} days of the {name} window can be compared, and {needed} are "
            f"needed.{_causes(days)}"
        )
    if window.rows < policy.drift_min_rows:
        return f"The {name} window has {window.rows} scored forecasts, and {policy.drift_min_rows} are needed."
    return ""


def _causes(days: pd.DataFrame) -> str:
    unscored = days[(days["state"] == State.COUNTS) & (days["rows"] == 0)]
    causes = {
        "Feed gap: sales are not in for": days[days["state"] == State.MISSING],
        "No scored forecast for": unscored,
        "Closed:": days[days["state"] == State.CLOSED],
        "Holidays:": days[days["state"] == State.HOLIDAY],
    }
    return "".join(f" {cause} {_named(those.index)}." for cause, those in causes.items() if len(those))


def _named(days: Iterable[dt.date]) -> str:
    names = [f"{day}" for day in days]
    if len(names) <= NAMED_DAYS:
        return ", ".join(names)
    return f"{len(names)} days from {names[0]} to {names[-1]}"


def _lower_bound(recent: pd.DataFrame, baseline: pd.DataFrame, level: float) -> float | None:
    """Of the increase in percent, by drawing whole days anew in each window."""
    recent_maes = _resampled(recent[recent["state"] == State.COUNTS], seed=0)
    baseline_maes = _resampled(baseline[baseline["state"] == State.COUNTS], seed=1)
    if recent_maes is None or baseline_maes is None:
        return None
    return float(np.quantile((recent_maes / baseline_maes - 1) * 100, (1 - level) / 2))


def _resampled(days: pd.DataFrame, *, seed: int) -> Floats | None:
    """MAE of each draw; None where there are too few days with errors to draw from."""
    days = days[days["rows"] > 0]
    if len(days) < MIN_DAYS or not (days["absolute"] > 0).all():
        return None
    n = len(days)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    return (times @ days["absolute"].to_numpy(np.float64)) / (times @ days["rows"].to_numpy(np.float64))


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


# --- Doing


def detect_drift(
    customer: Customer,
    as_of: dt.date,
    *,
    job_run: JobRun | None = None,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
) -> list[DriftCheck]:
    """Checks each segment that has a champion, one row each and night, and answers what it finds.

    Drift opens an incident, trains an emergency challenger under the caller's run and tells people once; the same
    night again changes nothing, and what a crash cut short is taken up. Raises sales.NoSales. Runs of one customer
    must follow each other: call it under the model's lease.
    """
    stage("comparing the last week's errors with the month before", 1)
    checks = check(customer, as_of)
    for one in checks:
        if one.verdict == Verdict.DRIFT:
            incidents.detected(one)
    for incident in incidents.unanswered(customer):
        respond(incident, as_of=as_of, job_run=job_run, stage=stage, confirm=confirm)
    return checks


def check(customer: Customer, as_of: dt.date) -> list[DriftCheck]:
    """The night's checks, global first; those that are made already stay as they are."""
    rules = {rule.segment: rule for rule in routing.rules_on(customer, as_of)}
    made = DriftCheck.objects.filter(customer=customer, as_of=as_of)
    todo = set(rules) - set(made.values_list("segment", flat=True))
    if todo:
        new = _measured(customer, as_of, list(rules.values()))
        DriftCheck.objects.bulk_create([one for one in new if one.segment in todo], ignore_conflicts=True)
    found = made.filter(segment__in=rules).select_related("customer", "champion", "incident")
    return sorted(found, key=lambda one: (one.segment != GLOBAL, one.segment))


def _measured(customer: Customer, as_of: dt.date, rules: list[RoutingRule]) -> list[DriftCheck]:
    policy = ModelPolicy.of(customer)
    windows = Windows.until(sales.last_complete_day(customer, as_of, policy), policy)
    days = served.calendar(customer, windows, policy)
    tables = served.by_segment(customer, windows, days, [rule.segment for rule in rules], as_of=as_of)
    return [
        _row(
            rule,
            as_of,
            measure(
                tables[rule.segment],
                policy,
                as_of=as_of,
                segment=rule.segment,
                nights_before=_nights_before(rule, as_of, policy),
            ),
        )
        for rule in rules
    ]


def _row(rule: RoutingRule, as_of: dt.date, found: Measured) -> DriftCheck:
    return DriftCheck(
        customer_id=rule.customer_id,
        model_name=rule.model_name,
        segment=rule.segment,
        as_of=as_of,
        champion=rule.version,
        verdict=found.verdict,
        reason=found.reason,
        drift_pct=found.drift_pct,
        lower=found.lower,
        first_day=found.first_day,
        last_day=found.last_day,
        recent_mae=found.recent.mae,
        baseline_mae=found.baseline.mae,
        recent_naive_mae=found.recent.naive_mae,
        baseline_naive_mae=found.baseline.naive_mae,
        recent_rows=found.recent.rows,
        baseline_rows=found.baseline.rows,
        recent_days=found.recent.days,
        baseline_days=found.baseline.days,
    )


def _nights_before(rule: RoutingRule, as_of: dt.date, policy: ModelPolicy) -> int:
    """On how many nights in a row before this one the lower bound was exceeded; only as many as count are asked."""
    if rule.segment == GLOBAL:
        return 0
    nights = [as_of - dt.timedelta(days=back) for back in range(1, policy.drift_segment_nights)]
    past = DriftCheck.objects.filter(
        customer_id=rule.customer_id, model_name=rule.model_name, segment=rule.segment, as_of__in=nights
    )
    lower = dict(past.values_list("as_of", "lower"))
    exceeded = [(lower.get(night) or 0) > policy.drift_segment_lower_pct for night in nights]
    return exceeded.index(False) if False in exceeded else len(exceeded)


def respond(
    incident: DriftIncident,
    *,
    as_of: dt.date,
    job_run: JobRun | None = None,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
) -> None:
    """Emergency retrain, dossier, one critical alert; goes on where a former call was cut short."""
    log, failure = _emergency(incident, as_of, job_run, stage, confirm)
    stage("compiling the dossier", 99)
    found = dossier.of_incident(incident)
    run_url = job_run.get_absolute_url() if job_run else ""
    incidents.answer(
        incident,
        log,
        dossier=found.as_json(),
        suggested=found.verdict,
        failure=failure,
        run_url=run_url,
        confirm=confirm,
    )


def _emergency(
    incident: DriftIncident,
    as_of: dt.date,
    job_run: JobRun | None,
    stage: Stage,
    confirm: Callable[[], None],
) -> tuple[ModelRetrainingLog | None, str]:
    """The retrain for this incident, and why it brought no version; "" where it did."""
    if tried(incident).count() >= ATTEMPTS and not trained_before(incident):
        return tried(incident).first(), f"It was tried {ATTEMPTS} times, and each time the worker died."
    reason = f"MAE {incident.drift_pct:.1f} % worse than in the month before"
    return train(incident, as_of, reason, job_run=job_run, stage=stage, confirm=confirm)


def train(
    incident: DriftIncident,
    as_of: dt.date,
    reason: str,
    *,
    by: User | None = None,
    job_run: JobRun | None = None,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
) -> tuple[ModelRetrainingLog | None, str]:
    """Emergency retrain of the incident's segment, and why it brought no version; "" where it did."""
    if done := trained_before(incident):
        return done, ""
    order = Order(Trigger.DRIFT, as_of, reason, incidents.evidence(incident), segments=(incident.segment,))
    try:
        return retrain(incident.customer, order, by=by, job_run=job_run, stage=stage, confirm=confirm), ""
    except jobs.Lost:
        raise
    except Exception as error:  # whatever it is, people have to learn that the model drifts and nothing replaces it
        logger.exception("The emergency retrain for incident %s failed", incident.pk)
        return tried(incident).first(), _in_words(error)


def tried(incident: DriftIncident) -> "QuerySet[ModelRetrainingLog]":
    """The retrains for this incident, the last one first."""
    return ModelRetrainingLog.objects.filter(customer=incident.customer, trigger_metadata__incident_id=incident.pk)


def trained_before(incident: DriftIncident) -> ModelRetrainingLog | None:
    """One that brought a version, and whose worker died before people were told."""
    return tried(incident).filter(status=ModelRetrainingLog.Status.COMPLETED).first()


def _in_words(error: Exception) -> str:
    if isinstance(error, Refusal):
        return str(error)
    return f"{type(error).__name__}: {error}. This is a fault of the program: its log holds the details."


# --- Asking


def detect_here(customer: Customer, as_of: dt.date | None = None, *, by: User | None = None) -> JobRun:
    """Checks in this process, to its end. Raises NotYet; a check that fails raises Refusal."""
    day = as_of or customer.today()
    if day > customer.today():
        raise NotYet(f"{day} has not come yet: today is {customer.today()} at {customer}. Name a day up to then.")
    arguments = {"as_of": day.isoformat()}
    return jobs.run_now(customer, JOB, slot=f"{day}:{uuid4()}", arguments=arguments, by=by)


def work(run: JobRun, progress: jobs.Progress, *, as_of: dt.date | None = None) -> dict[str, Any]:
    """What a worker does for a run of this job, or for the part of a night that it is."""
    day = as_of or dt.date.fromisoformat(run.arguments["as_of"])
    checks = detect_drift(run.customer, day, job_run=run, stage=progress.stage, confirm=progress.confirm)
    return {"as_of": day, "segments": [_told(one) for one in checks]}


def _told(check: DriftCheck) -> dict[str, Any]:
    """The check as a program reads it, with its incident as it is by now."""
    incident = check.incident
    if incident is not None:
        incident.refresh_from_db()
    return {
        "segment": check.segment,
        "champion": check.champion.version,
        "verdict": check.verdict,
        "reason": check.reason,
        "recent_mae": check.recent_mae,
        "baseline_mae": check.baseline_mae,
        "drift_pct": check.drift_pct,
        "lower": check.lower,
        "incident": incident.pk if incident else None,
        "incident_status": incident.status if incident else None,
        "suggested_verdict": incident.suggested_verdict if incident else None,
        "new_version": incident.challenger.version if incident and incident.challenger else None,
    }


def register() -> None:
    """Called once, when the apps are ready."""
    jobs.register(JOB, work, resource=MODEL_NAME_DEFAULT, on_death=close_dead)
