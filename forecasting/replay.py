"""What ShelfOps would have done on a customer's history: its days one after the other, and what was decided on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Max, Q

from alerts import notify
from forecasting import nightly
from forecasting.day import Report, run_day
from forecasting.models import ForecastRun
from mlops.models import (
    DriftCheck,
    DriftIncident,
    ExperimentEvent,
    IncidentEvent,
    ModelExperiment,
    ModelRetrainingLog,
    ShadowTest,
    VersionEvent,
)
from shelfops.clock import set_clock
from shelfops.models import Customer
from shelfops.refusals import Refusal

Advance = Callable[[int, int], None]
SHADOW_TESTING = ModelExperiment.Status.SHADOW_TESTING


class NotForward(Refusal):
    """The days asked for are not after what has been done already."""


@dataclass(frozen=True)
class Decided:
    """Something that was decided on a day, by rule or by a person."""

    day: dt.date
    what: str
    version: str
    by: str
    reason: str


def replay(
    customer: Customer,
    first: dt.date,
    last: dt.date,
    *,
    retrain_due: Callable[[dt.date], bool],
    after_day: Callable[[dt.date], None] = lambda _day: None,
    advance: Advance = lambda _done, _total: None,
) -> list[Report]:
    """`run_day` from the first to the last day, moving the customer's clock along; no notification leaves.

    `after_day` is called when a day is done, for decisions that people would make on it. Raises NotForward where the
    customer has run later than `first` already: what was decided then cannot be undone.
    """
    if last < first:
        raise NotForward(f"{last} is before {first}. Give the earlier day with --from.")
    if (done := last_run(customer)) and done > first:
        raise NotForward(
            f"{customer} has run on {done} already, and time does not go back. Start at {done} or later, or use "
            "--sandbox, which works on a copy without that past."
        )
    days = [first + dt.timedelta(days=number) for number in range((last - first).days + 1)]
    reports = []
    with notify.silenced(), nightly.without_asking():
        for number, day in enumerate(days):
            advance(number, len(days))
            set_clock(customer, day)
            reports.append(run_day(customer, day, retrain_due=retrain_due(day)))
            after_day(day)
        advance(len(days), len(days))
    return reports


def last_run(customer: Customer) -> dt.date | None:
    """The latest day on which anything was trained, forecast or checked for the customer."""
    days = [
        table.objects.filter(customer=customer).aggregate(day=Max("as_of"))["day"]
        for table in (ForecastRun, ModelRetrainingLog, DriftCheck)
    ]
    return max((day for day in days if day), default=None)


def decisions(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    """Everything that was decided from the first to the last day, in order."""
    found = [
        *_retrainings(customer, first, last),
        *_by_people(customer, first, last),
        *_shadow_verdicts(customer, first, last),
        *_incidents(customer, first, last),
        *_unreplaced(customer, first, last),
        *_experiments(customer, first, last),
    ]
    return sorted(found, key=lambda decided: decided.day)


def _retrainings(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    logs = ModelRetrainingLog.objects.filter(customer=customer, as_of__range=(first, last)).order_by("as_of", "pk")
    return [
        Decided(
            day=log.as_of,
            what=f"{log.get_trigger_type_display()} retrain {log.get_status_display().lower()}",
            version=log.version_produced,
            by=str(log.requested_by or "rule"),
            reason=log.decision or log.error,
        )
        for log in logs.select_related("requested_by")
    ]


def _by_people(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    events = VersionEvent.objects.filter(version__customer=customer, as_of__range=(first, last), by__isnull=False)
    return [
        Decided(
            day=event.as_of,
            what=f"{event.from_status} → {event.to_status}",
            version=event.version.version,
            by=str(event.by),
            reason=event.reason,
        )
        for event in events.select_related("version", "by").order_by("as_of", "pk")
    ]


def _shadow_verdicts(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    tests = ShadowTest.objects.filter(customer=customer, completed_on__range=(first, last)).exclude(verdict="")
    return [
        Decided(
            day=test.completed_on,
            what="Shadow test complete",
            version=test.version.version,
            by="rule",
            reason=f"{test.get_verdict_display()}. {test.result.get('reason', '')}".strip(),
        )
        for test in tests.select_related("version").order_by("completed_on", "pk")
        if test.completed_on
    ]


def _experiments(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    events = ExperimentEvent.objects.filter(experiment__customer=customer, as_of__range=(first, last))
    return [
        Decided(
            day=event.as_of,
            what=f"Experiment “{event.experiment}” {event.get_to_status_display().lower()}",
            version=event.experiment.experimental_version if event.to_status == SHADOW_TESTING else "",
            by=str(event.by or "rule"),
            reason=event.reason,
        )
        for event in events.select_related("experiment", "by").order_by("as_of", "pk")
    ]


def _incidents(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    opened = DriftIncident.objects.filter(customer=customer, opened_on__range=(first, last))
    return [
        Decided(
            day=incident.opened_on,
            what="Drift detected",
            version=incident.champion.version,
            by="rule",
            reason=f"MAE {incident.drift_pct:.0f} % worse than the month before",
        )
        for incident in opened.select_related("champion").order_by("opened_on", "pk")
    ]


def _unreplaced(customer: Customer, first: dt.date, last: dt.date) -> list[Decided]:
    """What people did about drift that brought no new version."""
    events = IncidentEvent.objects.filter(
        Q(kind=IncidentEvent.Kind.ASKED_AGAIN)
        | Q(kind=IncidentEvent.Kind.CLOSED, incident__outcome=DriftIncident.Outcome.NO_REPLACEMENT),
        incident__customer=customer,
        incident__challenger=None,
        as_of__range=(first, last),
    )
    return [
        Decided(
            day=event.as_of,
            what=f"Drift incident: {event.get_kind_display().lower()}",
            version=event.incident.champion.version,
            by=str(event.by or "rule"),
            reason=event.reason,
        )
        for event in events.select_related("incident__champion", "by").order_by("as_of", "pk")
    ]
