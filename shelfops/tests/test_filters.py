"""The filters of lists are in words."""

import pytest
from django.contrib import admin
from django.urls import reverse

from forecasting.models import FeedDay, PlannedPrice, Product, Sale, Store
from mlops.models import ModelVersion
from mlops.tests.ledger import DAY, a_version

pytestmark = pytest.mark.django_db
MORE = {FeedDay: {"status": "complete"}, PlannedPrice: {"known_at": DAY}, Sale: {"quantity": 1}}


def test_each_value_is_told_in_its_own_words_and_that_there_is_none_comes_last(acme, alice, client_of, monkeypatch):
    monkeypatch.setattr(admin.site._registry[ModelVersion], "list_filter", ["coverage"])
    for coverage in (0.9, None, 0.8):
        ModelVersion.objects.filter(pk=a_version(acme).pk).update(coverage=coverage)
    changelist = client_of(alice).get(reverse("admin:mlops_modelversion_changelist")).context["cl"]

    [chosen] = changelist.filter_specs
    told = {choice["display"]: choice["query_string"] for choice in chosen.choices(changelist)}
    assert told == {
        "All": "?", "80.0 %": "?coverage=0.8", "90.0 %": "?coverage=0.9", "–": "?coverage__isnull=True",
    }  # fmt: skip


@pytest.mark.parametrize("table", [PlannedPrice, Sale, FeedDay])
def test_rows_of_stores_are_filtered_by_customer(table, acme, globex, root, alice, client_of):
    for customer in (acme, globex):
        store = Store.objects.create(customer=customer, code="S1")
        key = {"store": store, "date": DAY}
        if table is not FeedDay:
            key |= {"product": Product.objects.create(customer=customer, code="P1")}
        table.objects.create(**key, **MORE.get(table, {}))
    at = reverse(f"admin:forecasting_{table._meta.model_name}_changelist")
    asked = f"{at}?store__customer__id__exact={globex.pk}"

    def shown(person, address):
        return sorted(row.store.customer.slug for row in client_of(person).get(address).context["cl"].result_list)

    assert (shown(root, at), shown(root, asked)) == (["acme", "globex"], ["globex"])
    assert shown(alice, at) == ["acme"]
