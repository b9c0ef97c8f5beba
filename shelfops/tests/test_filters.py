"""The filters of lists are in words."""

import pytest
from django.contrib import admin
from django.urls import reverse

from mlops.models import ModelVersion
from mlops.tests.ledger import a_version

pytestmark = pytest.mark.django_db


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
