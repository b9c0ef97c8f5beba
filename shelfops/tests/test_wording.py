"""Every page within reach of each role, read word by word: nothing fails, and nothing speaks like a program."""

import datetime as dt

import pytest
from django.utils import timezone

from alerts.models import Notification, NotificationChannel
from alerts.tests.messages import an_alert
from forecasting.models import CategoryDepartment, PlannedPrice, Product, Sale, Series, Store
from mlops import experiments
from mlops.models import DegradationCheck, ModelRetrainingLog, ModelVersion
from mlops.tests.ledger import DAY
from mlops.tests.trials import in_shadow, proposed, shown
from shelfops.models import JobRun, Membership, Role
from shelfops.tests.decisions import what_waits
from shelfops.tests.reader import Walk, stumbles

pytestmark = pytest.mark.django_db
# Tables of the installation are for whoever runs it: names of tasks and cron lines belong there.
INSTALLATION = ("/admin/django_celery_beat/", "/admin/axes/", "/admin/auth/", "/admin/shelfops/user/")


@pytest.fixture
def filled(acme, alice, bob):
    """Something of everything."""
    challenger = what_waits(acme)
    shown(in_shadow(acme, alice, bob), 22, 2)
    proposed(acme, alice, name="Trends", experiment_type="feature_engineering", plan={"tier": "cold_start"})
    experiments.cancel(proposed(acme, alice, name="Other"), by=alice, rationale="no need")
    store = Store.objects.filter(customer=acme).first()
    product = Product.objects.create(customer=acme, code="p1", name="Milk", department="Dairy", category="Milk")
    key = {"store": store, "product": product}
    Sale.objects.create(**key, date=DAY - dt.timedelta(days=400), quantity=2, unit_price=1.99)
    PlannedPrice.objects.create(**key, date=DAY, known_at=DAY, promo=True)
    Series.objects.create(**key, first_sold=DAY)
    CategoryDepartment.objects.create(customer=acme, category="Milk", department="Dairy")
    champion = ModelVersion.objects.get(customer=acme, version="v1")
    DegradationCheck.objects.create(customer=acme, version=champion, as_of=DAY, degraded=None)
    channel = NotificationChannel.objects.create(customer=acme, name="On call", url="jsons://hooks.example/token")
    alert = an_alert(acme, version="v2", metadata={"guard": "bias", "improvement_pct": 6.1})
    Notification.objects.create(alert=alert, channel=channel, channel_name="On call", kind="raised")
    log = ModelRetrainingLog.objects.first()
    JobRun.objects.create(
        customer=acme, job="retrain", slot="request:1", status="failed", error="There are too few days.",
        arguments={"reason": "why not", "trigger": "manual", "as_of": None}, attempt=1, requested_by=alice,
        started_at=timezone.now(), completed_at=timezone.now() + dt.timedelta(seconds=3),
        stages=[{"stage": "loading", "seconds": 1.23456}], result={"retrain_id": log.pk},
    )  # fmt: skip
    return challenger


def faults_met_by(client, most_of_a_kind: int = 1) -> list[str]:
    """What fails or is said wrongly on the way."""
    found = []
    for address, status, words in Walk(client, most_of_a_kind).pages():
        if status not in (200, 300):  # 300: for which customer?
            found.append(f"{address} answers {status}")
        elif not address.startswith(INSTALLATION):
            found += [f"{address} {stumble}" for stumble in stumbles(words.text)]
    return found


@pytest.mark.parametrize("name", ["alice", "bob", "charlie", "root"])
def test_no_page_speaks_like_a_program(name, filled, alice, bob, charlie, root, client_of):
    person = {"alice": alice, "bob": bob, "charlie": charlie, "root": root}[name]
    assert faults_met_by(client_of(person), most_of_a_kind=2 if name == "bob" else 1) == []


def test_nor_does_one_of_a_customer_without_any_data(mallory, client_of):
    assert faults_met_by(client_of(mallory)) == []


def test_nor_to_a_person_of_two_customers(filled, globex, alice, client_of):
    Membership.objects.create(user=alice, customer=globex, role=Role.ML_MANAGER)
    assert faults_met_by(client_of(alice)) == []
