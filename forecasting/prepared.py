"""What pages ask that takes seconds to work out, and its preparation by the workers."""

import logging
from collections.abc import Iterator
from typing import Any

from django.db.models import Max, Q, QuerySet

from forecasting import advice, clusters, previews
from forecasting.models import CategoryDepartment, FeedDay, Product, Store
from mlops import experiment_results, kept, promotion, review_facts
from mlops.kept import Question
from mlops.models import ModelExperiment, ModelPolicy, ModelReview, ModelVersion
from mlops.review_backtest import Backtest
from shelfops.models import Customer
from shelfops.refusals import Refusal

logger = logging.getLogger(__name__)
DECIDED_LATELY = 10
EDITED: tuple[Any, ...] = (Store, Product, CategoryDepartment)


def prepare(customer: Customer) -> list[str]:
    """Works out whatever has been overtaken by what happened since; the names of what it was.

    A question that fails is left to the page that asks it, and hinders no other.
    """
    ModelPolicy.of(customer)  # its defaults become a row, which would overtake the first answers
    found = []
    for question in _asked(customer):
        try:
            found += [question.name] if question.prepare() else []
        except Refusal as refusal:
            logger.warning("“%s” of %s is not prepared: %s", question.name, customer, refusal)
        except Exception:
            logger.exception("“%s” of %s could not be prepared", question.name, customer)
    return found


def _asked(customer: Customer) -> Iterator[Question]:
    yield advice_of(customer)
    yield clusters_of(customer)
    for version in _reviewed(customer):
        yield Backtest(version).question
        other = review_facts.compared_with(version) or promotion.champion_of(version)
        if other and other.pk != version.pk:
            yield previews.question(version, other)
    trials = ModelExperiment.objects.filter(customer=customer, results={}, versions__shadow_test__isnull=False)
    for experiment in trials.distinct():
        yield experiment_results.question(experiment)


def _reviewed(customer: Customer) -> QuerySet[ModelVersion]:
    """Versions whose review people open: those that wait for it, and those decided about lately."""
    decided = (
        ModelReview.objects.filter(customer=customer).order_by("-pk").values_list("version", flat=True)[:DECIDED_LATELY]
    )
    waits = Q(status=ModelVersion.Status.CHALLENGER)
    return ModelVersion.objects.of(customer).filter(waits | Q(pk__in=list(decided)))


def advice_of(customer: Customer) -> Question:
    """Which departments deserve a model of their own."""
    return Question(customer, "advice", _sold(customer), lambda: advice.advise(customer))


def clusters_of(customer: Customer) -> Question:
    """Clusters of stores, whatever their number."""
    return Question(customer, "clusters", _sold(customer), lambda: clusters.propose_each(customer))


def _sold(customer: Customer) -> tuple[Any, ...]:
    """Changes with the sales, what people edit, what is scored and decided, and at midnight."""
    return (
        customer.today(),
        FeedDay.objects.filter(store__customer=customer).aggregate(at=Max("updated_at"))["at"],
        *(table.history.filter(customer=customer).aggregate(last=Max("history_id"))["last"] for table in EDITED),
        *kept.ledger(customer),
    )
