import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from forecasting import retraining_job
from forecasting.experiment_runs import start
from forecasting.loading import load_sales
from forecasting.orders import BadOrder
from forecasting.retraining_job import JOB, retrain_forecast_model, retrain_here
from forecasting.tests.synthetic import LAST, shop
from forecasting.train import BadParameter
from mlops import registry
from mlops.experiments import WrongStep
from mlops.models import ModelExperiment, ModelPolicy, ModelRetrainingLog, ModelVersion
from mlops.tests.trials import approved
from shelfops import jobs
from shelfops.clock import set_clock
from shelfops.models import JobRun
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db
SMALL = {"num_boost_round": 10, "max_leaves": 7, "learning_rate": 0.3}
AS_OF = LAST + dt.timedelta(days=1)


@pytest.fixture
def sold(acme, tmp_path: Path):
    shop(stores=1, products=4).to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    return acme


def command(*arguments: str) -> dict:
    out = StringIO()
    call_command("retrain", "--customer", "acme", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


PARAMS = [text for name, value in SMALL.items() for text in ("--param", f"{name}={value}")]


def test_a_request_waits_for_a_worker_and_then_becomes_a_version(sold, alice):
    run = retrain_forecast_model(
        sold.pk, trigger="manual", as_of=AS_OF, reason="new assortment", by=alice, params=SMALL
    )
    assert (run.status, ModelVersion.objects.count()) == ("queued", 0)

    done = jobs.perform(run.pk)

    assert done.status == "completed"
    log = ModelRetrainingLog.objects.get(job_run=done)
    assert (log.status, log.requested_by, log.version_produced) == ("completed", alice, "v1")
    assert done.result["version"] == "v1"


def test_a_scheduled_day_is_retrained_once_however_often_it_is_asked_for(sold):
    first = retrain_here(sold, trigger="scheduled", as_of=AS_OF, params=SMALL)
    again = retrain_here(sold, trigger="scheduled", as_of=AS_OF, params=SMALL)

    assert again.pk == first.pk
    assert again.result == first.result
    assert ModelVersion.objects.count() == 1


def test_what_the_timetable_asks_for_is_a_scheduled_retrain_of_that_day(sold):
    run = jobs.request(sold, JOB, slot=AS_OF.isoformat())

    assert jobs.perform(run.pk).status == "completed"
    log = ModelRetrainingLog.objects.get()
    assert (log.trigger_type, log.as_of) == ("scheduled", AS_OF)


def test_two_manual_requests_are_two_runs(sold):
    runs = {retrain_forecast_model(sold.pk, trigger="manual", reason="once more").pk for _ in range(2)}

    assert len(runs) == 2


def test_a_bad_order_is_refused_before_it_is_queued(sold):
    with pytest.raises(BadOrder, match="needs a reason"):
        retrain_forecast_model(sold.pk, trigger="manual")
    assert not JobRun.objects.exists()


def test_the_command_prints_version_metrics_and_decision(sold):
    report = command("--trigger", "manual", "--reason", "first", "--as-of", AS_OF.isoformat(), *PARAMS)

    assert report["version"] == "v1"
    assert report["version_status"] in ("champion", "challenger")
    assert report["metrics"]["mae"] > 0
    assert report["metrics"]["seasonal_naive_mae"] > 0
    assert report["decision"]
    assert report["improvement_pct"] is None  # there was no champion to improve on
    assert [stage["stage"] for stage in report["stages"]][-1] == "deciding"


def test_the_command_trains_another_recipe_without_promoting_it(sold):
    report = command(
        *("--reason", "try", "--as-of", AS_OF.isoformat(), "--tier", "cold_start", "--window", "60", "--no-promote"),
        *PARAMS,
    )

    version = ModelVersion.objects.get()
    assert report["version_status"] == version.status == "challenger"
    assert (version.tier, version.recipe["window_days"]) == ("cold_start", 60)


def test_the_command_says_when_the_sales_are_old(sold, capsys):
    late = (AS_OF + dt.timedelta(days=40)).isoformat()

    call_command("retrain", "--customer", "acme", "--reason", "late", "--as-of", late, *PARAMS)

    assert f"The sales end on {LAST}, 40 days before {late}." in capsys.readouterr().err


def test_the_command_trains_an_approved_experiment(sold, alice, bob):
    command("--reason", "first", "--as-of", AS_OF.isoformat(), *PARAMS)
    set_clock(sold, AS_OF)
    ModelPolicy.objects.update(segment_min_rows=100)
    trial = approved(sold, alice, bob)

    report = command("--trigger", "experiment", "--experiment", str(trial.pk), "--tier", "department_tiered")

    assert [one["version"] for one in report["versions"]] == ["v2_electronics", "v2_grocery"]
    assert {one["status"] for one in report["versions"]} == {"experimental"}
    trial.refresh_from_db()
    assert (trial.status, trial.experimental_version) == ("shadow_testing", "v2_electronics, v2_grocery")


@pytest.mark.parametrize("named", [(), ("--experiment", "abc-123")])
def test_a_retrain_for_no_known_experiment_is_refused(sold, named):
    with pytest.raises(CommandError, match="needs its experiment_id"):
        command("--trigger", "experiment", *named)
    assert not JobRun.objects.exists()


def test_an_experiment_whose_worker_died_can_be_started_again(sold, alice, bob):
    trial = approved(sold, alice, bob, plan={"tier": "cold_start"})
    run = start(sold, trial, alice)
    with pytest.raises(WrongStep):
        start(sold, trial, alice)
    JobRun.objects.filter(pk=run.pk).update(status="failed", error="withdrawn")  # nobody told the experiment

    again = start(sold, ModelExperiment.objects.get(), alice)

    assert (again.pk, again.status) == (run.pk, "queued")
    assert "training failed: withdrawn" in [event.reason for event in trial.events.all()]
    retraining_job._close_dead(again)
    assert ModelExperiment.objects.get().error.startswith("The worker died")


def test_a_segment_without_a_champion_is_not_retrained(sold):
    with pytest.raises(CommandError, match="department:Grocery has no champion to retrain"):
        command("--reason", "try", "--segment", "department:Grocery")


def test_a_run_whose_worker_died_after_the_decision_is_not_trained_again(sold):
    done = retrain_here(sold, trigger="scheduled", as_of=AS_OF, params=SMALL)
    JobRun.objects.filter(pk=done.pk).update(status="failed", result={})  # as the next run closes a dead one

    again = retrain_here(sold, trigger="scheduled", as_of=AS_OF, params=SMALL)

    assert (again.pk, again.status, again.result) == (done.pk, "completed", done.result)
    assert ModelVersion.objects.count() == ModelRetrainingLog.objects.count() == 1


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"nosuch": 3}, "knows no parameter nosuch"),
        ({"eta": 0.3}, "Write learning_rate for eta"),
        ({"learning_rate": "abc"}, "does not take learning_rate=abc"),
        ({"num_boost_round": 0}, "at least 1"),
        ({"num_boost_round": "many"}, "does not take num_boost_round=many"),
    ],
)
def test_a_parameter_that_the_booster_does_not_take_is_refused_before_anything_is_queued(sold, params, said):
    with pytest.raises(BadParameter, match=said):
        retrain_forecast_model(sold.pk, trigger="manual", reason="try", params=params)
    assert not JobRun.objects.exists()


def test_a_fit_that_runs_away_is_refused_in_words(sold):
    with pytest.raises(Refusal, match=r"choose milder parameters \(learning_rate=1000000.0\)"):
        retrain_here(sold, trigger="manual", reason="try", as_of=AS_OF, params={"learning_rate": 1e6})
    assert (JobRun.objects.get().status, ModelVersion.objects.count()) == ("failed", 0)


def test_parameters_that_the_booster_takes_are_not_refused(sold):
    params = {"max_depth": 4, "grow_policy": "depthwise", "reg_lambda": 2, "tweedie_variance_power": 1.4}

    assert retrain_forecast_model(sold.pk, trigger="manual", reason="try", params=params).status == "queued"


def test_a_day_that_has_not_come_is_refused(sold):
    sold.clock = AS_OF
    sold.save()

    with pytest.raises(BadOrder, match=f"has not come yet: today is {AS_OF} at Acme Stores"):
        retrain_forecast_model(sold.pk, trigger="scheduled", as_of=AS_OF + dt.timedelta(days=1))
    assert not JobRun.objects.exists()


def test_a_run_given_up_for_dead_decides_nothing(sold, monkeypatch):
    run = retrain_forecast_model(sold.pk, trigger="scheduled", as_of=AS_OF, params=SMALL)

    def lost(_progress: jobs.Progress) -> None:
        raise jobs.Lost

    monkeypatch.setattr(jobs.Progress, "confirm", lost)
    jobs.perform(run.pk)

    assert not ModelVersion.objects.exists()
    assert ModelRetrainingLog.objects.get().status == "failed"


def test_the_command_refuses_a_manual_retrain_without_a_reason(sold):
    with pytest.raises(CommandError, match="needs a reason"):
        command()


def test_the_command_says_from_when_a_short_history_is_enough(acme, tmp_path):
    shop(first=LAST - dt.timedelta(days=20)).to_parquet(tmp_path / "s.parquet", index=False)
    load_sales(acme, tmp_path / "s.parquet")

    with pytest.raises(CommandError, match="possible from"):
        command("--reason", "too early", "--as-of", AS_OF.isoformat())

    assert ModelRetrainingLog.objects.get().status == "failed"


WORKER = """
import sys
import django
django.setup()
from forecasting import protocols
from forecasting.retrain import close_dead
from forecasting.retraining_job import JOB
from shelfops import jobs
real = protocols.standard
def slow(*args):
    print("training", flush=True)
    import time
    time.sleep(60)
    return real(*args)
protocols.standard = slow
jobs.perform(int(sys.argv[1]))
"""


@pytest.mark.django_db(transaction=True)
def test_after_a_worker_was_killed_in_training_the_next_run_says_so_and_completes(sold, settings):
    settings.JOB_LEASE_SECONDS = 2
    asked = {"trigger": "scheduled", "as_of": AS_OF.isoformat(), "params": SMALL}
    run = jobs.request(sold, JOB, slot=AS_OF.isoformat(), arguments=asked)
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "shelfops.settings", "SHELFOPS_JOB_LEASE_SECONDS": "2"}
    environment["DATABASE_URL"] = _url(connection.settings_dict)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(run.pk)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout.readline().strip() == "training"
    worker.send_signal(signal.SIGKILL)
    worker.wait()

    started = time.monotonic()
    done = retrain_here(sold, trigger="scheduled", as_of=AS_OF, params=SMALL)

    assert done.status == "completed"
    assert time.monotonic() - started < 60
    assert list(ModelRetrainingLog.objects.order_by("pk").values_list("status", flat=True)) == ["failed", "completed"]
    assert "worker died" in ModelRetrainingLog.objects.earliest("pk").error


def test_found_dead_a_week_later_it_takes_no_files_that_were_written_since(acme, settings, tmp_path):
    settings.ARTEFACT_DIR, died = tmp_path, timezone.now() - dt.timedelta(days=7)
    run = JobRun.objects.create(customer=acme, job=JOB, slot="2026-03-01", status="running", heartbeat_at=died)
    ModelRetrainingLog.objects.create(customer=acme, trigger_type="scheduled", as_of=AS_OF, job_run=run)
    ModelRetrainingLog.objects.update(started_at=died - dt.timedelta(minutes=10))
    left, later = (registry.store_files(acme, {"model.ubj": data})[0] for data in (b"half", b"unknown since restored"))
    for folder, at in ((left, died - dt.timedelta(minutes=1)), (later, died + dt.timedelta(days=3))):
        os.utime(tmp_path / folder, (at.timestamp(), at.timestamp()))

    jobs.sweep()

    assert registry.discard_leftovers(acme) == [left]
    assert (tmp_path / later).exists()


def _url(database: dict) -> str:
    if database["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{database['NAME']}"
    return (
        f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT'] or 5432}"
        f"/{database['NAME']}"
    )


# --- The button in the admin

NOW = reverse("admin:index") + "mlops/modelretraininglog/retrain-now/"


def test_the_button_asks_for_a_reason_and_returns_at_once(client, sold, alice):
    client.force_login(alice)

    page = client.get(NOW)
    assert page.status_code == 200
    assert client.post(NOW, {"customer": sold.pk, "reason": ""}).status_code == 200
    assert not JobRun.objects.exists()
    answer = client.post(NOW, {"customer": sold.pk, "reason": "new assortment", "promote": "on"})

    run = JobRun.objects.get()
    assert (run.status, run.requested_by, run.arguments["reason"]) == ("queued", alice, "new assortment")
    assert answer.headers["Location"] == reverse("run", args=[run.pk])


def test_a_double_click_on_the_button_is_one_run(client, sold, alice):
    client.force_login(alice)
    page = client.get(NOW)
    token = page.context["form"]["request"].value()
    assert f'value="{token}"' in page.content.decode()

    for _ in range(2):
        client.post(NOW, {"customer": sold.pk, "reason": "new assortment", "request": token})

    assert JobRun.objects.count() == 1
    assert client.get(NOW).context["form"]["request"].value() != token


def test_who_may_not_retrain_sees_no_form(client, sold, charlie, mallory):
    client.force_login(charlie)
    assert client.get(NOW).status_code == 403

    client.force_login(mallory)
    page = client.post(NOW, {"customer": sold.pk, "reason": "from outside"})
    assert page.status_code == 200
    assert not JobRun.objects.exists()


def test_the_log_shows_the_decision(client, sold, bob):
    retrain_here(sold, trigger="scheduled", as_of=AS_OF, params=SMALL)
    log = ModelRetrainingLog.objects.get()
    client.force_login(bob)

    listing = client.get(reverse("admin:mlops_modelretraininglog_changelist"))
    detail = client.get(reverse("admin:mlops_modelretraininglog_change", args=[log.pk]))

    assert log.decision.split(",")[0] in listing.content.decode()
    assert "reading sales" in detail.content.decode()
