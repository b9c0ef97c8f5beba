"""Forecasts that people, the timetable and promotions ask for."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from forecasting import nightly
from forecasting.models import ForecastRun
from forecasting.nightly import forecast
from forecasting.tests.nights import AS_OF, DAY, a_champion, load
from forecasting.tests.synthetic import LAST
from mlops.models import ModelVersion
from shelfops import jobs
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def sold(acme, tmp_path):
    load(acme, tmp_path)
    return acme


@pytest.fixture
def served(sold):
    a_champion(sold)
    return sold


def command(*arguments: str) -> dict:
    out = StringIO()
    call_command("forecast", "--customer", "acme", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_the_command_tells_what_was_written(served):
    report = command("--as-of", AS_OF.isoformat(), "--days", "7")

    assert (report["rows"], report["origin"], report["cause"]) == (8 * 7, (AS_OF - DAY).isoformat(), "Nightly")
    run = JobRun.objects.get(job="forecast")
    assert (run.status, run.result["forecast_run"]) == ("completed", ForecastRun.objects.get().pk)


def test_the_command_may_be_repeated(served):
    reports = [command("--as-of", AS_OF.isoformat()) for _ in range(2)]

    assert reports[0] == reports[1]


def test_a_day_to_come_is_refused(served):
    served.clock = LAST
    served.save()

    with pytest.raises(CommandError, match="has not come yet"):
        call_command("forecast", "--customer", "acme", "--as-of", (LAST + DAY).isoformat())


def test_a_promotion_has_what_is_published_forecast_anew(served):
    forecast(served, AS_OF)

    a_champion(served, rounds=9)

    done = jobs.perform(JobRun.objects.get(job="forecast").pk)
    assert (done.status, done.result["cause"]) == ("completed", "v2 promoted")


def test_what_a_promotion_asks_for_is_queued_in_its_own_transaction(served):
    forecast(served, AS_OF)

    with transaction.atomic():
        a_champion(served, rounds=9)
        asked = JobRun.objects.get(job="forecast")
        transaction.set_rollback(True)

    assert asked.status == "queued"
    assert not JobRun.objects.exists()
    assert ModelVersion.objects.champion_for(served).version == "v1"


def test_a_promotion_asks_for_nothing_where_nothing_is_published(sold):
    a_champion(sold)

    assert not JobRun.objects.exists()


def test_whoever_forecasts_anyway_is_not_asked(served):
    forecast(served, AS_OF)

    with nightly.without_asking():
        a_champion(served, rounds=9)

    assert not JobRun.objects.exists()


def test_what_a_promotion_asked_for_is_skipped_when_a_later_night_came_first(served):
    forecast(served, AS_OF)
    a_champion(served, rounds=9)
    forecast(served, AS_OF + DAY)

    done = jobs.perform(JobRun.objects.get(job="forecast").pk)

    assert done.status == "skipped"
    assert "published already" in done.error
