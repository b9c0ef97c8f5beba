"""The life of a version as a page."""

import pytest
from django.urls import reverse

from mlops.models import BacktestResult
from mlops.promotion import promote
from mlops.tests.ledger import DAY, a_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def former(acme, bob):
    """v1 served until bob's v2 took over."""
    acme.clock, acme.timezone = DAY, "Europe/Berlin"
    acme.save()
    version = a_version(acme, "champion")
    promote(a_version(acme), by=bob, reason="better in shadow", as_of=DAY)
    for baseline, mae in (("", 1.25), ("seasonal_naive", 2.5)):
        BacktestResult.objects.create(
            customer=acme, version=version, baseline=baseline, kind="daily", origin=DAY, lead_band="1", first_day=DAY,
            day=DAY, n=1, units=1, mae=mae,
        )  # fmt: skip
    return version


def read(client_of, person, address="/models/v1"):
    return " ".join(client_of(person).get(address).content.decode().split())


def test_it_tells_what_became_of_it_when_by_whom_and_why(former, charlie, client_of):
    page = read(client_of, charlie)
    for text in [
        "It is archived since 2026-03-02",
        "<strong>Candidate</strong>",
        "Candidate → <strong>Champion</strong>",
        "Champion → <strong>Archived</strong>",
        "bob@acme.example",
        "better in shadow",
        "CET",
    ]:
        assert text in page
    assert page.index("Candidate → ") < page.index("Champion → ")


def test_it_tells_when_it_served(former, charlie, client_of):
    assert "When it served" in read(client_of, charlie)


def test_a_manager_finds_the_way_back_to_a_former_champion(former, alice, bob, charlie, client_of):
    link = f'href="{reverse("admin:mlops_modelversion_roll_back", args=[former.pk])}">Roll back to v1</a>'
    assert link in read(client_of, bob)
    assert link not in read(client_of, alice)
    assert link not in read(client_of, charlie)
    assert "Roll back to" not in read(client_of, bob, "/models/v2")  # it serves


def test_its_errors_stand_beside_seasonal_naive(former, charlie, client_of):
    page = read(client_of, charlie)
    assert "1.25" in page
    assert "2.50" in page


def test_strangers_and_unknown_names_find_nothing(former, mallory, alice, client_of):
    assert client_of(mallory).get("/models/v1").status_code == 404
    assert client_of(alice).get("/models/v99").status_code == 404


@pytest.mark.parametrize("word", ["None", "cold_start", "seasonal_naive", "nan"])
def test_it_is_read_by_people(word, former, charlie, client_of):
    page = read(client_of, charlie)
    assert word not in page[page.index("<h1>") :]


def test_it_asks_the_database_a_bounded_number_of_questions(former, charlie, client_of, django_assert_max_num_queries):
    client = client_of(charlie)
    with django_assert_max_num_queries(16):
        client.get("/models/v1")


def test_a_champion_that_answered_a_drift_says_why_it_is_not_compared_with_its_holdout(acme, charlie, client_of):
    promote(a_version(acme, "challenger", trigger="drift_detected"), by=None, reason="approved", as_of=DAY)
    assert "cannot be told: it answered a drift" in read(client_of, charlie)


def test_a_champion_with_a_holdout_says_nothing_of_it(former, charlie, client_of):
    BacktestResult.objects.create(
        customer=former.customer, version=former.customer.versions.get(version="v2"), kind="holdout",
        origin=DAY, lead_band="1", first_day=DAY, day=DAY, n=1, units=1, mae=1,
    )  # fmt: skip
    assert "cannot be told" not in read(client_of, charlie, "/models/v2")
    assert "cannot be told" not in read(client_of, charlie)  # it does not serve
