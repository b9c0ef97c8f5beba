"""Lists of the API: filtered, ordered, paged, the same queries however long, and never a 500 for a bad question."""

import datetime as dt
import re
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import Serializer

from alerts.api import AlertSerializer
from alerts.models import MLAlert
from alerts.reading import mark_read
from forecasting.api import AskedSerializer, RuleSerializer
from forecasting.experiments_api import ExperimentDetailSerializer
from mlops.models import (
    BacktestResult,
    DriftCheck,
    DriftIncident,
    ModelExperiment,
    ModelRetrainingLog,
    ModelVersion,
    RoutingRule,
    ShadowPrediction,
)
from mlops.serializers import (
    BacktestSerializer,
    DriftCheckSerializer,
    IncidentDetailSerializer,
    RetrainingSerializer,
    ShadowPredictionSerializer,
    VersionDetailSerializer,
)
from mlops.tests.ledger import DAY
from shelfops.models import JobRun
from shelfops.rest.fields import ModelRow, MomentField, Row
from shelfops.tests.api_world import World, a_world, more
from shelfops.tests.test_api_access import READING

V1 = "/api/v1"
ITEM = "store_id=s1&product_id=p1"
# Queries of a call by the bearer of a session, two of which are session and person, one the customer.
QUERIES = {
    "/models": 4,
    "/models/v2": 7,
    "/retraining-log": 5,
    "/retraining-log/{world.log.pk}": 5,
    "/retrain/{world.run.pk}": 4,
    "/experiments": 4,
    "/experiments/{world.in_shadow.pk}": 7,
    "/experiments/{world.in_shadow.pk}/results": 7,
    "/backtests": 4,
    "/shadow-predictions": 4,
    f"/forecasts?{ITEM}&from=2026-02-01&to=2026-03-03": 4,
    "/routing": 4,
    f"/routing?{ITEM}&at=2026-03-02": 4,
    "/drift": 4,
    "/drift/incidents": 4,
    "/drift/incidents/{world.incident.pk}": 5,
    "/ml-alerts": 4,
    "/ml-alerts?status=unread": 4,
    "/ml-alerts/{world.alert.pk}": 4,
}
BY_NUMBER = ["/models", "/experiments", "/retraining-log", "/routing", "/drift", "/drift/incidents", "/ml-alerts"]
BY_CURSOR = ["/backtests", "/shadow-predictions", f"/forecasts?{ITEM}&from=2026-01-01&to=2026-03-03"]
LISTS = BY_NUMBER + BY_CURSOR


@pytest.fixture
def world(acme) -> World:
    return a_world(acme)


@pytest.fixture
def ask(alice, client_of):
    """What alice is answered, and how it is: (status, data)."""
    client = client_of(alice)

    def get(path: str, **query: object):
        answer = client.get(path if path.startswith("/api") else V1 + path, query)
        return answer.status_code, answer.json()

    return get


def at(path: str, **query: object) -> str:
    return path + ("&" if "?" in path else "?") + "&".join(f"{name}={value}" for name, value in query.items())


@pytest.mark.parametrize("path", QUERIES)
def test_a_call_takes_the_same_queries_however_long_the_list(path, world, alice, client_of, django_assert_num_queries):
    client, address = client_of(alice), V1 + path.format(world=world)
    for _ in range(2):
        more(world, 29)  # more than a page, of which one is not counted
        with django_assert_num_queries(QUERIES[path]):
            answer = client.get(address).json()
    assert not isinstance(answer.get("results"), list) or len(answer["results"]) >= 25


def test_every_answer_is_counted():
    def address(path: str) -> str:
        return re.sub(r"\{[^}]+\}|(?<=/models/)v\d", "1", path.partition("?")[0])

    assert {address(call.path) for call in READING} == {address(path) for path in QUERIES}


# --- Pages


@pytest.mark.parametrize("path", BY_NUMBER)
def test_pages_are_numbered_and_hold_every_row_once(path, world, ask):
    more(world, 9)
    _, whole = ask(path)
    assert set(whole) == {"count", "next", "previous", "results"}
    seen, address = [], at(path, page_size=2)
    while address:
        code, page = ask(address)
        assert code == 200
        seen += page["results"]
        address = page["next"] and urlsplit(page["next"]).path + "?" + urlsplit(page["next"]).query
    assert seen == whole["results"]
    assert len(seen) == whole["count"]


@pytest.mark.parametrize("path", BY_CURSOR)
def test_cursors_lead_through_every_row_and_back(path, world, ask):
    more(world, 9)
    _, whole = ask(path)
    assert (set(whole), len(whole["results"])) == ({"next", "previous", "results"}, 10)
    pages, (_, page) = [], ask(at(path, page_size=3))
    pages.append(page)
    while page["next"]:
        _, page = ask(page["next"].removeprefix("http://testserver"))
        pages.append(page)
    assert [row for page in pages for row in page["results"]] == whole["results"]
    for former in pages[-2::-1]:
        _, page = ask(page["previous"].removeprefix("http://testserver"))
        assert page["results"] == former["results"]
    assert page["previous"] is None


def test_a_row_that_arrives_meanwhile_moves_no_page(world, ask):
    more(world, 5)
    _, first = ask(at("/shadow-predictions", page_size=3))
    row = world.challenger.shadow_predictions.first()
    row.pk, row.store_id, row.forecast_date = None, "late", DAY + dt.timedelta(days=1)
    row.save()
    _, second = ask(first["next"].removeprefix("http://testserver"))
    assert [row["store_id"] for row in second["results"]] == ["acme-3", "acme-4", "acme-5"]


@pytest.mark.parametrize("path", LISTS)
def test_the_newest_is_first(path, world, ask):
    more(world, 4)
    names = ["started_at", "day", "forecast_date", "date", "as_of", "valid_from", "opened_on", "created_at"]
    _, answer = ask(path)
    days = [next(row[name] for name in names if name in row) for row in answer["results"]]
    assert len(days) > 1
    assert days == sorted(days, reverse=True)


def test_a_list_of_what_cannot_be_is_empty(world, ask, monkeypatch):
    monkeypatch.setattr("mlops.api.Versions.filter_queryset", lambda _view, rows: rows.none())
    assert ask("/models") == (200, {"count": 0, "next": None, "previous": None, "results": []})


def test_counting_ends_where_it_would_take_long(world, ask, monkeypatch):
    monkeypatch.setattr("shelfops.rest.paging.MOST_COUNTED", 3)
    _, answer = ask("/models?page_size=2")
    assert (answer["count"], answer["count_is_at_least"]) == (3, True)
    _, last = ask("/models?page_size=2&page=2")
    assert (last["count"], "count_is_at_least" in last) == (4, False)
    assert "count_is_at_least" not in ask("/models")[1]


def test_pages_end_where_going_on_would_take_long(world, ask, monkeypatch):
    monkeypatch.setattr("shelfops.rest.paging.MOST_PAGED", 2)
    assert ask("/models?page_size=2")[1]["next"] is None
    code, answer = ask("/models?page_size=2&page=2")
    assert (code, answer) == (404, {"detail": "Pages lead to the first 2 rows: narrow the filter to see others."})


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("after", [{"seconds": 0}, {"hours": 1}, {"hours": 2, "microseconds": 5}])
def test_moments_are_shown_as_the_stock_field_does(after, zone):
    """In the night in which Berlin loses an hour."""
    at = dt.datetime(2026, 3, 29, tzinfo=dt.UTC).astimezone(ZoneInfo(zone)) + dt.timedelta(**after)
    assert MomentField().to_representation(at) == serializers.DateTimeField().to_representation(at)


# --- Rows


def test_rows_are_shown_as_the_stock_serializer_shows_them(world, bob):
    mark_read([world.alert], bob)
    shown: list[tuple[type[ModelRow], Any]] = [
        (AlertSerializer, MLAlert.objects.with_receipts_of(bob)),
        (VersionDetailSerializer, ModelVersion.objects.all()),
        (IncidentDetailSerializer, DriftIncident.objects.all()),
        (DriftCheckSerializer, DriftCheck.objects.all()),
        (BacktestSerializer, BacktestResult.objects.all()),
        (ShadowPredictionSerializer, ShadowPrediction.objects.all()),
        (RetrainingSerializer, ModelRetrainingLog.objects.all()),
        (AskedSerializer, JobRun.objects.all()),
        (ExperimentDetailSerializer, ModelExperiment.objects.all()),
        (RuleSerializer, RoutingRule.objects.all()),
    ]
    for kind, rows in shown:
        for row in rows:
            stock = Serializer.to_representation(kind(), row)
            assert JSONRenderer().render(kind(row).data) == JSONRenderer().render(stock), kind


def test_a_row_cannot_hide_a_field():
    class Hidden(Row):
        secret = serializers.CharField(write_only=True)

    with pytest.raises(TypeError, match="Hidden only shows: secret cannot be for writing only"):
        Hidden({"secret": "x"}).data  # noqa: B018  # reading it is what fails


# --- Filters

FOUND = {
    "/models?status=challenger": ["v4", "v3"],
    "/models?segment=global&ordering=number": ["v1", "v2", "v3", "v4"],
    "/models?ordering=-number": ["v4", "v3", "v2", "v1"],
    "/models?segment=department:Toys": [],
    "/models?from=2026-03-03": [],
    "/models?from=2026-03-02&to=2026-03-02&status=archived": ["v1"],
    "/backtests?status=champion": ["v2"],
    "/backtests?version=v1": [],
    "/backtests?is_baseline=true": [],
    "/backtests?is_baseline=false&kind=daily&from=2026-03-02": ["v2"],
    "/shadow-predictions?version=v3&champion=v2&store_id=acme-0": ["v3"],
    "/shadow-predictions?has_actual=true": [],
    "/routing?status=open": ["v2"],
    "/routing?at=2026-03-01": [],
    "/routing?version=v1&status=ended": ["v1"],
    "/ml-alerts?alert_type=drift_detected": ["v4"],
    "/ml-alerts?severity=warning&status=unread": ["v3"],
    "/ml-alerts?status=read": [],
    "/ml-alerts?overdue=true": [],
    "/ml-alerts?requires_action=true&ordering=created_at": ["v4", "v3"],
}


@pytest.mark.parametrize("path", FOUND)
def test_filters_narrow(path, world, ask):
    code, answer = ask(path)
    assert code == 200
    assert [row["version"] for row in answer["results"]] == FOUND[path]


@pytest.mark.parametrize(
    ("path", "rows"),
    [
        ("/drift?status=open&verdict=drift&version=v2", 1),
        ("/drift?status=closed", 0),
        ("/drift/incidents?status=open&segment=global", 1),
        ("/drift/incidents?to=2026-03-01", 0),
        ("/retraining-log?trigger_type=drift_detected&version=v4", 1),
        ("/retraining-log?version=v4&segment=global&status=completed", 1),
        ("/retraining-log?version=v3", 0),
    ],
)
def test_filters_of_drift_and_the_log_narrow(path, rows, world, ask):
    assert ask(path)[1]["count"] == rows


def test_a_run_is_found_in_the_log(world, ask):
    _, answer = ask("/retraining-log", retrain_id=world.run.pk)
    assert [row["id"] for row in answer["results"]] == [world.log.pk]


def test_days_of_alerts_are_the_customers(world, ask):
    """Half past midnight UTC is still the day before in New York."""
    world.alert.customer.timezone = "America/New_York"
    world.alert.customer.save()
    type(world.alert).objects.update(created_at=dt.datetime(2026, 3, 2, 0, 30, tzinfo=dt.UTC))
    assert ask("/ml-alerts?from=2026-03-01&to=2026-03-01")[1]["count"] == 2
    assert ask("/ml-alerts?from=2026-03-02")[1]["count"] == 0


# --- Questions that are none


@pytest.mark.parametrize("path", LISTS)
def test_an_unknown_parameter_names_the_known_ones(path, world, ask):
    code, answer = ask(at(path, colour="red"))
    assert code == 400
    assert answer["colour"][0].startswith("There is no such parameter. Known here: ")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/models?status=king", "status"),
        ("/models?status=", "status"),
        ("/models?status=champion&status=archived", "status"),
        ("/models?ordering=colour", "ordering"),
        ("/models?from=01.03.2026", "from"),
        ("/models?from=2026-02-30", "from"),
        ("/models?to=20260301", "to"),
        ("/models?to=0001-01-01", "to"),
        ("/models?page=0", "page"),
        ("/models?page=one", "page"),
        ("/models?page=99999999999999999999", "page"),
        ("/models?page_size=501", "page_size"),
        ("/models?segment=a%00b", "segment"),
        ("/models/v2?model_name=a%00b", "model_name"),
        ("/models/v2?status=champion", "status"),
        ("/backtests?cursor=abc", "cursor"),
        ("/backtests?page=1", "page"),
        ("/retraining-log?retrain_id=abc", "retrain_id"),
        ("/retraining-log?retrain_id=99999999999999999999", "retrain_id"),
        ("/retraining-log?retrain_id=1.5", "retrain_id"),
        ("/retraining-log?retrain_id=0", "retrain_id"),
        ("/ml-alerts?severity=red", "severity"),
        ("/ml-alerts?overdue=maybe", "overdue"),
        ("/forecasts?store_id=s1", "product_id"),
        (f"/forecasts?{ITEM}&from=2026-03-02&to=2026-03-01", "to"),
        (f"/forecasts?{ITEM}&from=2020-01-01&to=2026-03-01", "to"),
        (f"/forecasts?{ITEM}&compute=true", "compute"),
        ("/routing?store_id=s1", "product_id"),
        (f"/routing?{ITEM}&version=v1", "version"),
        ("/routing?at=yesterday", "at"),
    ],
)
def test_a_bad_question_gets_400_by_field(path, field, world, ask):
    code, answer = ask(path)
    assert (code, list(answer)) == (400, [field])
    assert all(isinstance(message, str) for message in answer[field])


def test_another_choice_is_told_which_there_are(world, ask):
    known = "candidate, challenger, experimental, champion, archived"
    assert ask("/models?status=king") == (400, {"status": [f"Give one of: {known}."]})
    known = "created_at, due_at; with - before it the other way round"
    assert ask("/ml-alerts?ordering=colour") == (400, {"ordering": [f"Give one of: {known}."]})


def test_a_page_after_the_last_is_not_found(world, ask):
    assert ask("/models?page=3") == (404, {"detail": "There is no such page: the list ends before it."})


@pytest.mark.parametrize("key", ["99999999999999999999999999", "0", "-1", "x", "1.5", "%00", "a%00b", "é", " "])
@pytest.mark.parametrize("path", ["ml-alerts", "models", "experiments", "retrain", "retraining-log", "drift/incidents"])
def test_a_key_that_is_none_is_not_found(path, key, world, ask):
    code, answer = ask(f"/{path}/{key}")
    assert (code, list(answer)) == (404, ["detail"])
    assert re.fullmatch(r"There is no .+ “.*” at Acme Stores. GET /api/v1/\S+ lists what there is.", answer["detail"])


def test_an_unknown_item_is_not_found(world, ask):
    code, answer = ask("/forecasts?store_id=s1&product_id=p9")
    assert (code, answer["detail"][:34]) == (404, "Acme Stores has no product “p9”. C")


texts = st.one_of(st.text(max_size=30), st.sampled_from(["v2", "open", "2026-03-01", "true", "1", "-1", "1e400"]))


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    path=st.sampled_from([*LISTS, "/models/v2"]),
    query=st.dictionaries(
        st.sampled_from(["status", "segment", "version", "from", "to", "ordering", "page", "page_size", "cursor", "at",
                         "store_id", "severity", "retrain_id", "overdue", "has_actual", "model_name", "x"]),
        texts, max_size=4,
    ),
)  # fmt: skip
def test_no_question_breaks_a_list(path, query, world, ask):
    code, answer = ask(path.partition("?")[0], **query)
    assert code in (200, 400, 404)
    assert isinstance(answer, dict)
