"""Answers that take seconds to work out from a customer's sales, kept for as long as what they were made of stays."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache
from django.db.models import Max

from forecasting.models import CategoryDepartment, FeedDay, Product, Store
from mlops.models import ModelPolicy, VersionEvent
from shelfops.models import Customer

T = TypeVar("T")
KEPT_SECONDS = 24 * 60 * 60
EDITED: tuple[Any, ...] = (Store, Product, CategoryDepartment, ModelPolicy)


def kept(customer: Customer, name: str, work_out: Callable[[], T]) -> T:
    """The answer of this name; worked out anew after a load, a run, a decision, an edit or midnight."""
    key = f"kept:{customer.pk}:{name}"
    stamp = _stamp(customer)
    found = cache.get(key)
    if found is None or found[0] != stamp:
        found = (stamp, work_out())
        cache.set(key, found, KEPT_SECONDS)
    return found[1]


def _stamp(customer: Customer) -> tuple[Any, ...]:
    """Changes whenever anything does that such an answer is made of."""
    return (
        customer.today(),
        FeedDay.objects.filter(store__customer=customer).aggregate(at=Max("updated_at"))["at"],
        customer.job_runs.aggregate(at=Max("completed_at"))["at"],
        VersionEvent.objects.filter(version__customer=customer).aggregate(last=Max("pk"))["last"],
        *(table.history.filter(customer=customer).aggregate(last=Max("history_id"))["last"] for table in EDITED),
    )
