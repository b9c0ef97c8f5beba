"""Answers that take long to work out: workers prepare them in the database, so that a page only reads them."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Max

from mlops.models import BacktestResult, KeptAnswer, ModelPolicy, VersionEvent
from shelfops.models import Customer

CACHED_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Question:
    """What a page asks about a customer; the answer is good until anything of `made_of` changes."""

    customer: Customer
    name: str
    made_of: tuple[Any, ...]
    work_out: Callable[[], Any]

    def answer(self) -> Any:
        """As JSON gives it back. What no worker has prepared yet is worked out here and remembered by this process.

        Nothing is written: a page that is looked at must not wait for whoever is writing.
        """
        found = self._kept().values_list("answer", flat=True).first()
        if found is None:
            key = f"kept:{self.customer.pk}:{self.name}:{self.digest}"
            found = cache.get(key)
            if found is None:
                found = json.loads(json.dumps(self.work_out(), cls=DjangoJSONEncoder))
                cache.set(key, found, CACHED_SECONDS)
        return found

    def prepare(self) -> bool:
        """Works it out and keeps it where that has not been done; says whether it was necessary."""
        if self._kept().exists():
            return False
        made = {"made_of": self.digest, "answer": self.work_out()}
        KeptAnswer.objects.update_or_create(customer=self.customer, name=self.name, defaults=made)
        return True

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.made_of, cls=DjangoJSONEncoder).encode()).hexdigest()

    def _kept(self) -> "Any":
        return KeptAnswer.objects.filter(customer=self.customer, name=self.name, made_of=self.digest)


def ledger(customer: Customer) -> tuple[Any, ...]:
    """Changes with every result that is scored, every decision about a version, the policy, and when a run ends."""
    return (
        BacktestResult.objects.filter(customer=customer).aggregate(last=Max("pk"))["last"],
        customer.job_runs.aggregate(at=Max("completed_at"))["at"],  # a day scored again keeps the keys of its results
        VersionEvent.objects.filter(version__customer=customer).aggregate(last=Max("pk"))["last"],
        ModelPolicy.history.filter(customer=customer).aggregate(last=Max("history_id"))["last"],
    )
