"""Forecasts that a night has published pass the audit; each fault that is planted in them is found and named."""

import datetime as dt
import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from forecasting.forecast_audit import audit
from forecasting.models import Forecast, ForecastRun
from forecasting.nightly import forecast
from forecasting.tests.nights import AS_OF, DAY, a_champion, load
from mlops.models import ModelVersion, RoutingRule
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db
LONG_AGO = dt.timedelta(hours=2)


@pytest.fixture
def nightly(acme, tmp_path):
    """Two nights, of which the second has made up for a day, by two champions in turn."""
    load(acme, tmp_path)
    a_champion(acme)
    forecast(acme, AS_OF)
    a_champion(acme, AS_OF + DAY, rounds=9)
    forecast(acme, AS_OF + 2 * DAY)
    return acme


def found(customer):
    return [(fault.name, fault.subject.split(" (")[0], fault.message) for fault in audit(customer).faults]


def last_run():
    return ForecastRun.objects.get(status="published")


def test_published_forecasts_have_no_fault(nightly):
    assert found(nightly) == []
    assert audit(nightly).checked == {"forecast runs": 2, "forecasts": Forecast.objects.count()}
    assert Forecast.objects.values("version").distinct().count() == 2


def a_version_is_gone():
    Forecast.objects.filter(run=last_run(), lead=3).update(version_id=987_654)
    return [("forecast_without_version", "8 of its forecasts name no version of this customer.")]


def a_rule_is_gone():
    Forecast.objects.filter(run=last_run(), lead=3).update(rule_id=987_654)
    return [("forecast_against_rule", "8 of its forecasts name a routing rule that is not their version's, or none.")]


def another_version_is_named():
    Forecast.objects.filter(run=last_run(), lead=3).update(version=ModelVersion.objects.earliest("pk"))
    return [("forecast_against_rule", "8 of its forecasts name a routing rule that is not their version's, or none.")]


def rows_are_deleted():
    run = last_run()
    Forecast.objects.filter(run=run, lead=3).delete()
    return [("forecasts_missing", f"It was published with {run.rows} forecasts and has {run.rows - 8}.")]


def a_run_is_taken_back():
    run = last_run()
    ForecastRun.objects.filter(pk=run.pk).update(status="writing", created_at=timezone.now() - LONG_AGO)
    begun = ForecastRun.objects.get(pk=run.pk).created_at
    return [
        (
            "run_left_unpublished",
            f"It was begun at {begun:%Y-%m-%d %H:%M} UTC and never published; no run is at work.",
        )
    ]


PLANTED = [a_version_is_gone, a_rule_is_gone, another_version_is_named, rows_are_deleted, a_run_is_taken_back]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_each_planted_fault_is_found_and_named(plant, nightly):
    run = f"forecast run {last_run().pk}"
    expected = plant()
    assert found(nightly) == [(name, run, message) for name, message in expected]


def test_rows_that_a_night_at_work_is_writing_are_no_fault(nightly):
    a_run_is_taken_back()
    JobRun.objects.create(customer=nightly, job="run_day", slot="1", status="running", heartbeat_at=timezone.now())
    assert found(nightly) == []


def test_rows_that_were_pruned_are_no_fault(nightly):
    ForecastRun.objects.filter(status="superseded").update(pruned=True)
    Forecast.objects.filter(run__status="superseded", lead__gt=1).delete()
    assert found(nightly) == []


def test_another_customers_version_is_none_of_ones_own(nightly, globex):
    stranger = ModelVersion.objects.latest("pk")
    ModelVersion.objects.filter(pk=stranger.pk).update(customer=globex)
    RoutingRule.objects.filter(version=stranger).update(customer=globex)
    assert {name for name, *_ in found(nightly)} == {"forecast_without_version"}
    assert found(globex) == []


def test_one_statement_reads_the_forecasts(nightly):
    with CaptureQueriesContext(connection) as queries:
        audit(nightly)
    assert sum('FROM "forecasts"' in query["sql"] for query in queries) == 1


def test_the_command_tells_of_forecasts_too(nightly):
    rows_are_deleted()
    out = StringIO()
    with pytest.raises(CommandError, match=r"The audit found 1 fault\."):
        call_command("verify_audit", "--json", stdout=out)
    assert [fault["name"] for fault in json.loads(out.getvalue())["faults"]] == ["forecasts_missing"]
