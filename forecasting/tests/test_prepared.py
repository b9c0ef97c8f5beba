"""What pages ask is prepared again when something has changed that it was made of, and only then."""

import datetime as dt

import pandas as pd
import pytest
from django.utils import timezone

from forecasting import advice, clusters
from forecasting.feed import mark_day
from forecasting.models import CategoryDepartment, Product, Store
from forecasting.prepared import prepare
from mlops import backtests
from mlops.models import ModelPolicy, ModelVersion
from mlops.promotion import hold
from mlops.review import review
from mlops.tests.ledger import DAY, a_version, rows
from mlops.tests.trials import in_shadow, shown
from shelfops.models import JobRun
from shelfops.refusals import Refusal
from shelfops.tests.decisions import what_waits

pytestmark = pytest.mark.django_db


@pytest.fixture
def store(acme):
    return Store.objects.create(customer=acme, code="S1")


def a_day_is_marked(acme, store, alice):
    mark_day(store, DAY, "closed", by=alice, note="inventory")


def a_day_is_scored(acme, store, alice):
    version = ModelVersion.objects.get(customer=acme)
    scored = rows(days=2).assign(unique_id="a", store_id="S1", lead=1, scale=1.0, origin=pd.Timestamp(DAY))
    backtests.store(version, backtests.results(scored, None, ModelPolicy.of(acme)), kind="holdout")


def a_run_ends(acme, store, alice):
    JobRun.objects.create(customer=acme, job="score", slot="x", status="completed", completed_at=timezone.now())


def a_version_changes_its_status(acme, store, alice):
    hold(ModelVersion.objects.get(customer=acme), by=None, reason="by rule", as_of=DAY)


def a_store_moves(acme, store, alice):
    store.cluster = "Urban"
    store.save()


def a_product_comes(acme, store, alice):
    Product.objects.create(customer=acme, code="P1")


def a_category_gets_a_department(acme, store, alice):
    CategoryDepartment.objects.create(customer=acme, category="Cheese", department="Dairy")


def the_policy_changes(acme, store, alice):
    ModelPolicy.of(acme)
    policy, _ = ModelPolicy.objects.get_or_create(customer=acme)
    policy.train_days += 1
    policy.save()


def a_day_passes(acme, store, alice):
    acme.clock = acme.today() + dt.timedelta(days=1)
    acme.save()


CHANGES = [a_day_is_marked, a_day_is_scored, a_run_ends, a_version_changes_its_status, a_store_moves, a_product_comes,
           a_category_gets_a_department, the_policy_changes, a_day_passes]  # fmt: skip
OF_SALES = ["advice", "clusters"]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_it_is_prepared_anew_and_once(acme, store, alice, change):
    a_version(acme)
    assert prepare(acme) == OF_SALES
    assert prepare(acme) == []
    change(acme, store, alice)
    assert prepare(acme)[: len(OF_SALES)] == OF_SALES
    assert prepare(acme) == []


def test_what_waits_for_a_decision_is_prepared(acme, alice, bob):
    what_waits(acme)
    trial = in_shadow(acme, alice, bob)
    shown(trial, 22.0, 2.0)
    of_review = ["stores:demand_forecast:v2", "previews:demand_forecast:v2"]
    assert prepare(acme) == [*OF_SALES, *of_review, f"experiment:{trial.pk}"]


def test_a_version_that_serves_by_now_is_not_compared_with_itself(acme, bob):
    first = a_version(acme, "challenger")
    review(first, "approve", by=bob, notes="Better than the week before.")
    assert prepare(acme) == [*OF_SALES, "stores:demand_forecast:v1"]


def test_one_that_fails_hinders_no_other(acme, monkeypatch, caplog):
    def breaks(_customer):
        raise ZeroDivisionError

    monkeypatch.setattr(advice, "advise", breaks)
    assert prepare(acme) == ["clusters"]
    assert "“advice” of Acme Stores could not be prepared" in caplog.text


def test_one_that_is_refused_takes_a_line_of_the_log(acme, monkeypatch, caplog):
    def refuses(_customer):
        raise Refusal("Its files are gone.")

    monkeypatch.setattr(advice, "advise", refuses)
    assert prepare(acme) == ["clusters"]
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]
    assert "“advice” of Acme Stores is not prepared: Its files are gone." in caplog.text


def test_pages_read_what_was_prepared(acme, alice, client_of, monkeypatch):
    prepare(acme)

    def again(*_asked):
        raise AssertionError("worked out again")

    for module, name in ((advice, "advise"), (clusters, "propose_each")):
        monkeypatch.setattr(module, name, again)
    for page in ("/segments/advice", "/segments/clusters", "/segments/clusters?k=3"):
        assert client_of(alice).get(page).status_code == 200
