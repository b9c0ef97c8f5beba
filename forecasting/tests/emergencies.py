"""Nights with drift for tests; emergency retrains are logged and registered as ever, but trained by nobody."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from forecasting import drift
from forecasting.orders import Order
from forecasting.tests.served_days import AS_OF, a_champion
from mlops.models import DriftCheck, ModelRetrainingLog, ModelVersion
from mlops.tests.ledger import a_version
from shelfops.clock import set_clock
from shelfops.models import Customer, JobRun, User


def served_so_far(customer: Customer) -> ModelVersion:
    """The champion of a customer whose today is AS_OF."""
    set_clock(customer, AS_OF)
    return a_champion(customer)


def tonight(customer: Customer, as_of: dt.date = AS_OF) -> DriftCheck:
    """The night's check of all products, answered."""
    return drift.detect_drift(customer, as_of)[0]


def trained_by_nobody(monkeypatch: pytest.MonkeyPatch) -> list[Order]:
    """From now on for the time of the test; returns the orders that come."""
    asked: list[Order] = []

    def quick(
        customer: Customer,
        order: Order,
        *,
        by: User | None = None,
        job_run: JobRun | None = None,
        confirm: Callable[[], None] = lambda: None,
        **_: Any,
    ) -> ModelRetrainingLog:
        asked.append(order)
        log = ModelRetrainingLog.objects.create(
            customer=customer,
            trigger_type=order.trigger,
            trigger_metadata=dict(order.metadata),
            reason=order.reason,
            requested_by=by,
            as_of=order.as_of,
            job_run=job_run,
        )
        version = a_version(customer, "challenger", as_of=order.as_of, segment=order.segments[0])
        ModelVersion.objects.filter(pk=version.pk).update(run=log)
        confirm()
        ModelRetrainingLog.objects.filter(pk=log.pk).update(status="completed", version_produced=version.version)
        return ModelRetrainingLog.objects.get(pk=log.pk)

    monkeypatch.setattr(drift, "retrain", quick)
    return asked
