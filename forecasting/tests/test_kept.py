"""A kept answer is given again until something has changed that it was made of."""

import datetime as dt

import pytest
from django.utils import timezone

from forecasting.feed import mark_day
from forecasting.kept import kept
from forecasting.models import CategoryDepartment, Product, Store
from mlops.models import ModelPolicy
from mlops.promotion import hold
from mlops.tests.ledger import DAY, a_version
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(acme):
    """Asks for the answer and says how often it has been worked out since the beginning."""
    store, times = Store.objects.create(customer=acme, code="S1"), []

    def ask(customer=acme, name="advice"):
        kept(customer, name, lambda: times.append(1) or {"days": len(times)})
        return len(times)

    ask.store = store
    return ask


def test_the_same_is_worked_out_once(asked):
    assert [asked(), asked(), asked()] == [1, 1, 1]


def test_each_customer_and_each_name_has_its_own(asked, globex):
    assert [asked(), asked(globex), asked(name="clusters"), asked(globex), asked()] == [1, 2, 3, 3, 3]


def a_day_is_marked(acme, store, alice):
    mark_day(store, DAY, "closed", by=alice, note="inventory")


def a_run_ends(acme, store, alice):
    JobRun.objects.create(customer=acme, job="run_day", slot="x", status="completed", completed_at=timezone.now())


def a_version_changes_its_status(acme, store, alice):
    hold(a_version(acme), by=None, reason="by rule", as_of=DAY)


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


CHANGES = [a_day_is_marked, a_run_ends, a_version_changes_its_status, a_store_moves, a_product_comes,
           a_category_gets_a_department, the_policy_changes, a_day_passes]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_it_is_worked_out_anew(asked, acme, alice, change):
    before = asked()
    change(acme, asked.store, alice)
    assert (asked(), asked()) == (before + 1, before + 1)
