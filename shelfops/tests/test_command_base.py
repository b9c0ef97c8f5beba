"""What every command does alike."""

import io
import json

import pytest
from django.core.management import call_command
from django.db import OperationalError

from shelfops.management.base import Command, Refused
from shelfops.models import Customer
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db


class Hello(Command):
    def run(self, customer, **options):
        self.note("working")
        return {"customer": customer.slug, "day": customer.today()}


def hello(command=None, **options):
    out, err = io.StringIO(), io.StringIO()
    call_command(command or Hello(), stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def acme():
    return Customer.objects.create(slug="acme", name="Acme", clock="2026-01-05")


def test_it_takes_the_only_customer(acme):
    assert hello()[0].startswith("customer: acme")


def test_json_is_one_object_and_notes_go_to_stderr(acme):
    out, err = hello(json=True)
    assert json.loads(out) == {"customer": "acme", "day": "2026-01-05"}
    assert err.strip() == "working"


def test_it_says_how_to_create_the_first_customer():
    with pytest.raises(Refused, match="create_customer"):
        hello()


def test_an_unknown_customer_names_the_known_ones(acme):
    with pytest.raises(Refused, match="Known: acme") as refused:
        hello(customer="emca")
    assert refused.value.returncode == 1


def test_with_several_customers_leaving_it_out_is_wrong_usage(acme):
    Customer.objects.create(slug="beta", name="Beta")
    with pytest.raises(Refused, match="one of: acme, beta") as refused:
        hello()
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Refusal("The file\nis empty."), "^The file is empty.$"),
        (OperationalError("no such table: sales"), "python manage.py migrate"),
        (OperationalError("database is locked"), "Run the same command again"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(acme, error, message):
    class Refusing(Command):
        def run(self, customer, **options):
            raise error

    with pytest.raises(Refused, match=message) as refused:
        hello(Refusing())
    assert refused.value.returncode == 1
