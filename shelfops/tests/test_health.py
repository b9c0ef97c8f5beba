"""The health endpoints: open to everybody, told by numbers without names, 503 while a needed part is down."""

import datetime as dt

import pytest

from forecasting.models import FeedDay, ForecastRun, Store
from mlops.tests.ledger import DAY
from shelfops import health
from shelfops.tests.api_world import TODAY, a_world

READY = "/api/v1/health/ready"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_process_that_answers_is_live(slash, db, client, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = client.get(f"/api/v1/health/live{slash}")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


def test_an_installation_with_all_its_parts_is_ready(db, client):
    answer = client.get(READY)
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "database": "up",
        "broker": "up",
        "artefact_store": "up",
        "days_since_last_forecast": None,
        "days_since_last_sales": None,
    }


def test_ages_are_those_of_the_customer_who_waits_longest(acme, globex, client):
    a_world(acme)
    a_world(globex)
    globex.clock = TODAY + dt.timedelta(days=5)
    globex.save()
    told = client.get(READY)
    assert (told.json()["days_since_last_forecast"], told.json()["days_since_last_sales"]) == (5, 6)
    assert b"globex" not in told.content.lower()


def test_a_night_that_is_not_published_does_not_count(acme, client):
    acme.clock = TODAY
    acme.save()
    ForecastRun.objects.create(customer=acme, as_of=DAY, origin=DAY, status="superseded")
    ForecastRun.objects.create(customer=acme, as_of=TODAY, origin=DAY, status="writing")
    FeedDay.objects.create(store=Store.objects.create(customer=acme, code="s"), date=DAY, status="missing")
    told = client.get(READY).json()
    assert (told["days_since_last_forecast"], told["days_since_last_sales"]) == (1, None)


def test_a_broken_broker_is_503(db, client, monkeypatch):
    monkeypatch.setattr(health.app.conf, "broker_url", "redis://127.0.0.1:1/0")
    monkeypatch.setattr(health.app.conf, "broker_write_url", "redis://127.0.0.1:1/0")
    answer = client.get(READY)
    assert (answer.status_code, answer.json()["status"], answer.json()["broker"]) == (503, "not ready", "down")


def test_a_store_that_cannot_be_written_is_503(db, client, settings, tmp_path):
    (tmp_path / "file").write_text("")
    settings.ARTEFACT_DIR = tmp_path / "file" / "artefacts"
    answer = client.get(READY)
    assert (answer.status_code, answer.json()["artefact_store"]) == (503, "down")


def test_a_database_that_is_away_is_503_and_names_no_ages(db, client, monkeypatch):
    monkeypatch.setitem(health.PARTS, "database", _broken)
    answer = client.get(READY)
    assert (answer.status_code, answer.json()["database"]) == (503, "down")
    assert "days_since_last_sales" not in answer.json()


def _broken() -> None:
    raise OSError("away")


def test_probes_share_one_look(acme, client, django_assert_num_queries):
    client.get(READY)
    with django_assert_num_queries(0):
        assert client.get(READY).status_code == 200


def test_ages_cost_the_same_however_many_customers(acme, globex, django_assert_num_queries):
    with django_assert_num_queries(4):
        health.readiness()
