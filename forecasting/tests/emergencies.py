"""Emergency retrains for tests: asked for, logged and registered as ever, but trained by nobody."""

from collections.abc import Callable
from typing import Any

import pytest

from forecasting import drift
from forecasting.orders import Order
from mlops.models import ModelRetrainingLog, ModelVersion
from mlops.tests.ledger import a_version
from shelfops.models import Customer, JobRun, User


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
