"""Forecasts are published as a whole, replaced by a promotion, and forgotten in time."""

import datetime as dt

import pytest
from django.db import connection

from forecasting.models import Forecast, ForecastRun
from forecasting.nightly import BadHorizon, Overtaken, forecast
from forecasting.publishing import discard
from forecasting.tests.nights import AS_OF, DAY, a_champion, load, rows_of
from mlops.models import ModelPolicy
from shelfops import bulk, jobs

pytestmark = pytest.mark.django_db


@pytest.fixture
def served(acme, tmp_path):
    load(acme, tmp_path)
    a_champion(acme)
    return acme


def test_after_a_promotion_the_days_ahead_are_new_and_today_stays(served):
    night = forecast(served, AS_OF)
    today = rows_of(lead=1)
    a_champion(served, rounds=9)

    again = forecast(served, AS_OF)

    assert (again.cause, again.rows) == ("v2 promoted", 8 * 13)
    assert rows_of(lead=1) == today
    night.refresh_from_db()
    assert (night.status, night.pruned) == ("superseded", True)
    assert set(Forecast.objects.values_list("lead", "version__version")) == {
        (1, "v1"), *((lead, "v2") for lead in range(2, 15))
    }  # fmt: skip


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_a_crash_between_batches_leaves_the_former_night_and_no_trace_later(served, monkeypatch, batches):
    forecast(served, AS_OF)
    forecast(served, AS_OF + DAY)
    undisturbed = rows_of()
    discard(ForecastRun.objects.filter(as_of=AS_OF + DAY))
    ForecastRun.objects.update(status="published")
    monkeypatch.setitem(bulk.BATCH_ROWS, "sqlite", 40)
    monkeypatch.setitem(bulk.BATCH_ROWS, "postgresql", 40)
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "insert", _dying_after(batches))
        with pytest.raises(KeyboardInterrupt):
            forecast(served, AS_OF + DAY)

    assert ForecastRun.objects.current(served).as_of == AS_OF
    assert not Forecast.objects.served(served, [AS_OF + DAY]).exists()
    forecast(served, AS_OF + DAY)
    assert rows_of() == undisturbed
    assert list(ForecastRun.objects.order_by("pk").values_list("status", flat=True)) == ["superseded", "published"]


def _dying_after(batches):
    insert, left = bulk.insert, [batches]

    def dying(target, rows):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        insert(target, rows)

    return dying


def test_a_run_that_was_given_up_for_dead_publishes_nothing(served):
    def lost():
        raise jobs.Lost

    with pytest.raises(jobs.Lost):
        forecast(served, AS_OF, confirm=lost)

    assert ForecastRun.objects.current(served) is None


def test_old_rows_ahead_are_forgotten_and_those_that_served_are_kept(served):
    ModelPolicy.objects.create(customer=served, keep_forecast_days=2)

    runs = [forecast(served, AS_OF + number * DAY) for number in range(5)]

    assert list(ForecastRun.objects.filter(pruned=True).order_by("pk")) == runs[:2]
    assert set(Forecast.objects.filter(run=runs[0]).values_list("lead", flat=True)) == {1}
    assert Forecast.objects.filter(run=runs[2]).count() == 8 * 14


def test_an_earlier_day_is_not_published_over_a_later_one(served):
    forecast(served, AS_OF + DAY)

    with pytest.raises(Overtaken, match=f"Forecasts of {AS_OF + DAY} are published already"):
        forecast(served, AS_OF)


@pytest.mark.parametrize("days", [-1, 0, 29])
def test_no_forecast_looks_further_than_plans(served, days):
    with pytest.raises(BadHorizon, match="1 to 28 days"):
        forecast(served, AS_OF, days=days)


def test_other_days_asked_for_are_another_run(served):
    forecast(served, AS_OF)

    run = forecast(served, AS_OF, days=20)

    assert (run.cause, run.rows) == ("20 days asked for", 8 * 19)


def test_what_served_is_found_by_the_index_of_those_rows(acme):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL chooses by what the tables hold")

    plan = Forecast.objects.served(acme, [dt.date(2026, 3, 2)]).explain()

    assert "SEARCH forecasts USING INDEX one_day_ahead_forecast (date=?)" in plan
