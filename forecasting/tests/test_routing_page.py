"""Who serves what, on any day, as a page."""

import datetime as dt

import pytest

from forecasting.models import Forecast, ForecastRun, Product, Store
from mlops.models import RoutingRule
from mlops.promotion import promote
from mlops.tests.ledger import DAY, a_version
from shelfops.models import Membership, Role

pytestmark = pytest.mark.django_db
LATER = DAY + dt.timedelta(days=9)


@pytest.fixture
def served(acme, bob):
    """v1 serves from the start; bob's v2 since ten days later; Dairy has a model of its own."""
    acme.clock = LATER
    acme.save()
    a_version(acme, "champion")
    promote(a_version(acme), by=bob, reason="better in shadow", as_of=LATER)
    a_version(acme, "champion", segment="department:Dairy")
    return acme


def read(client, **asked):
    return " ".join(client.get("/routing", asked).content.decode().split())


def test_it_shows_who_serves_today_the_first_that_fits_first(served, charlie, client_of):
    page = read(client_of(charlie))
    assert page.index("Department Dairy") < page.index("All products")
    assert ">v2</a>" in page
    assert "bob@acme.example" in page
    assert "better in shadow" in page


def test_it_shows_who_served_before(served, charlie, client_of):
    page = read(client_of(charlie), at=DAY.isoformat())
    assert ">v1</a>" in page
    assert f"to before {LATER}" in page
    assert ">v2</a>" not in page


def test_before_the_first_model_it_says_so(served, charlie, client_of):
    assert "Nobody serves on this day" in read(client_of(charlie), at="2020-01-01")


def test_it_names_what_served_one_product_in_one_store(served, charlie, client_of):
    store, product = (
        Store.objects.create(customer=served, code="s1"),
        Product.objects.create(customer=served, code="p1"),
    )
    rule = RoutingRule.objects.get(segment="global", valid_to=None)
    run = ForecastRun.objects.create(customer=served, as_of=LATER, origin=DAY, status="published")
    Forecast.objects.create(
        run=run, store=store, product=product, version=rule.version, rule=rule, origin=DAY, date=LATER, lead=1,
        prediction=12.5, lower=8, upper=17,
    )  # fmt: skip
    page = read(client_of(charlie), at=LATER.isoformat(), store="s1", product="p1")
    for text in [
        "v2 served p1 in s1 on 2026-03-11.",
        "what is decided on that day serves from the next",
        "bob@acme.example",
        "12.5 units (8.0 to 17.0)",
        "all products",
    ]:
        assert text in page


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"store": "s1"}, 400, "Name the store and the product together"),
        ({"at": "soon"}, 400, "valid date"),
        ({"store": "s9", "product": "p9"}, 200, "s9"),
    ],
)
def test_what_cannot_be_answered_says_why(asked, status, said, served, charlie, client_of):
    answer = client_of(charlie).get("/routing", asked)
    assert answer.status_code == status
    assert said in answer.content.decode()


def test_it_is_of_the_customer_named_or_chosen(served, globex, alice, client_of):
    Membership.objects.create(user=alice, customer=globex, role=Role.RETAIL_OPS)
    client = client_of(alice)
    assert "Nobody serves" in read(client, customer="globex")
    client.post("/customer", {"customer": "globex"})
    assert "Nobody serves" in read(client)
    assert "Department Dairy" in read(client, customer="acme")


def test_a_stranger_finds_nothing(served, mallory, client_of):
    assert client_of(mallory).get("/routing", {"customer": "acme"}).status_code == 404
    assert "Dairy" not in read(client_of(mallory))


def test_it_asks_the_database_a_bounded_number_of_questions(served, alice, client_of, django_assert_max_num_queries):
    client = client_of(alice)
    with django_assert_max_num_queries(9):
        client.get("/routing")
