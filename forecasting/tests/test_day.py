"""A day as a whole, and days one after the other: in order, and once."""

import datetime as dt
import json

import numpy as np
import pandas as pd
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from forecasting import day
from forecasting.loading import load_sales
from forecasting.models import Forecast, Sale
from forecasting.replay import NotForward, decisions, last_run, replay
from forecasting.retraining_job import retrain_here
from forecasting.tests.contents import contents
from forecasting.tests.synthetic import LAST, shop
from mlops.models import (
    BacktestResult,
    ModelVersion,
    ShadowPrediction,
)
from mlops.review import review
from shelfops.clock import set_clock
from shelfops.models import Customer, JobRun
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db

FIRST = LAST - dt.timedelta(days=5)
DAY = dt.timedelta(days=1)


@pytest.fixture
def sold(acme: Customer, tmp_path) -> Customer:
    """Acme with sales, two versions of a small recipe - the second in shadow - and the clock at FIRST."""
    shop().to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    set_clock(acme, FIRST)
    for _ in range(2):
        retrain_here(acme, trigger="manual", reason="for the test", tier="cold_start", params={"num_boost_round": 10})
    return acme


def run(customer: Customer, as_of: dt.date = FIRST) -> dict:
    return day.run_day(customer, as_of, retrain_due=False)


def test_a_day_forecasts_scores_and_checks(sold):
    report = run(sold)

    assert (report["status"], report["retrain"]) == ("completed", None)
    assert report["forecast"]["rows"] == Forecast.objects.count() > 0
    assert sum(report["forecast"]["shadow_rows"].values()) == ShadowPrediction.objects.count() > 0
    assert report["drift"]["segments"][0]["verdict"] == "insufficient_data"


def test_the_same_day_twice_changes_nothing(sold):
    run(sold)
    before = contents()

    again = run(sold)

    assert contents() == before
    assert again["status"] == "completed"
    assert JobRun.objects.filter(job="run_day").count() == 1


def test_where_nobody_serves_the_day_tries_to_train_and_says_what_is_missing(acme):
    set_clock(acme, FIRST)

    report = run(acme)

    assert report["retrain"] == {
        "refused": f"Acme Stores has no sales before {FIRST}. Load some: manage.py load_sales FILE."
    }
    assert report["status"] == "skipped"
    assert "load_sales" in report["reason"] or "retrain first" in report["reason"]


def test_a_retrain_that_fails_stops_no_forecast(sold, monkeypatch):
    monkeypatch.setattr(day.retraining_job, "retrain_here", lambda *_args, **_kwargs: _refuse())

    report = day.run_day(sold, FIRST, retrain_due=True)

    assert report["retrain"] == {"refused": "too little memory"}
    assert report["status"] == "completed"


def _refuse() -> None:
    raise Refusal("too little memory")


# --- Days one after the other


def test_a_replay_yields_for_every_day_what_pandas_makes_of_the_rows(sold):
    replay(sold, FIRST, LAST + DAY, retrain_due=lambda _day: False)

    served = pd.DataFrame(
        Forecast.objects.filter(lead=1).values("store_id", "product_id", "date", "prediction", "actual")
    )
    truth = pd.DataFrame(Sale.objects.values("store_id", "product_id", "date", "quantity"))
    merged = served.merge(truth, on=["store_id", "product_id", "date"], how="left")
    scored = merged[merged["date"] <= LAST]
    assert set(served["date"]) == {FIRST + n * DAY for n in range(7)}
    assert np.allclose(scored["actual"].astype(float), scored["quantity"].fillna(0).clip(lower=0))
    mae = (scored["prediction"] - scored["actual"].astype(float)).abs().groupby(scored["date"]).mean()
    results = BacktestResult.objects.filter(kind="daily", baseline="", scope_type="all", version__version="v1")
    assert dict(results.values_list("day", "mae")) == pytest.approx(mae.to_dict())
    assert set(ShadowPrediction.objects.values_list("forecast_date", flat=True)) == set(served["date"])
    assert sold.today() == LAST + DAY


def test_a_replay_goes_forward_only(sold):
    replay(sold, FIRST, FIRST + DAY, retrain_due=lambda _day: False)

    with pytest.raises(NotForward, match=f"has run on {FIRST + DAY} already"):
        replay(sold, FIRST, LAST, retrain_due=lambda _day: False)
    with pytest.raises(NotForward, match="is before"):
        replay(sold, LAST, FIRST, retrain_due=lambda _day: False)
    assert last_run(sold) == FIRST + DAY


def test_decisions_are_told_in_order_with_their_reasons(sold, bob):
    version = ModelVersion.objects.get(version="v2")
    review(version, "reject", by=bob, notes="no better")

    told = decisions(sold, FIRST, LAST)

    assert [one.version for one in told] == ["v1", "v2", "v2"]
    assert (told[2].by, told[2].reason) == (str(bob), "rejected: no better")
    assert all(one.reason for one in told)


def test_a_day_that_is_done_says_so_when_it_is_asked_for_again(sold, capsys):
    call_command("run_day", customer="acme")
    assert "was done already" not in capsys.readouterr().out

    call_command("run_day", customer="acme")
    assert f"{FIRST} was done already, 0\xa0minutes ago, and is not done again. Its results:" in capsys.readouterr().out


def test_the_commands_refuse_days_to_come(sold, capsys):
    with pytest.raises(CommandError, match="has not come yet"):
        call_command("run_day", "--as-of", str(FIRST + DAY))
    with pytest.raises(CommandError, match="cannot stand at 2100-01-01"):
        call_command("replay", "--from", str(FIRST), "--to", "2100-01-01")
    call_command("run_day", "--as-of", str(FIRST), "--json")
    assert json.loads(capsys.readouterr().out)["status"] == "completed"


def test_a_replay_says_where_it_has_left_the_clock(sold, capsys):
    call_command("replay", "--from", str(FIRST), "--to", str(FIRST + DAY))
    told = capsys.readouterr().out
    assert "2 days, 0 of them without forecasts." in told
    assert f"Today is {FIRST + DAY} at acme until set_clock moves it; without a date it frees it." in told


def test_a_day_is_told_in_words(sold, capsys):
    call_command("run_day", "--as-of", str(FIRST))
    told = capsys.readouterr().out
    assert "Forecast:\n  " in told
    assert f"forecasts after {FIRST - DAY}, as of {FIRST}." in told
    assert "Score:\n  No day to score" in told
    assert "Drift:\n  all products (v1): Too little data to tell." in told
    assert told.endswith(f"{FIRST}: completed.\n")
    assert "{" not in told
    assert "None" not in told
