"""What people see of runs, and how a manager moves the timetable."""

import datetime as dt
import re

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from mlops import addresses
from mlops.models import ModelRetrainingLog
from mlops.tests.ledger import a_version
from shelfops import schedules
from shelfops.models import JobRun

pytestmark = pytest.mark.django_db
Status = JobRun.Status


@pytest.fixture
def run(acme):
    acme.timezone = "America/New_York"
    acme.save()
    return JobRun.objects.create(
        customer=acme,
        job="retrain",
        slot="2026-11-22",
        status=Status.RUNNING,
        stage="Fitting",
        percent=40,
        stages=[{"stage": "Reading sales", "seconds": 1.25}],
        started_at=timezone.now(),
    )


def page_of(client, run):
    return client.get(run.get_absolute_url())


# --- The page of a run


def test_what_failed_is_started_again_by_those_who_may(run, alice, charlie, client_of):
    JobRun.objects.filter(pk=run.pk).update(status=Status.FAILED, error="no sales", arguments={"reason": "as before"})
    assert "Start it again" in page_of(client_of(alice), run).content.decode()
    assert "Start it again" not in page_of(client_of(charlie), run).content.decode()
    assert client_of(charlie).post(run.get_absolute_url()).status_code == 403
    assert client_of(alice).post(run.get_absolute_url())["Location"] == run.get_absolute_url()
    run.refresh_from_db()
    assert (run.status, run.error, run.requested_by, run.arguments) == ("queued", "", alice, {"reason": "as before"})


def test_what_is_at_work_is_not_started_again(run, alice, client_of):
    client_of(alice).post(run.get_absolute_url())
    run.refresh_from_db()
    assert run.status == Status.RUNNING


def test_it_shows_how_far_a_run_is_and_reloads_itself(run, charlie, client_of):
    page = page_of(client_of(charlie), run)
    text = page.content.decode()
    assert all(words in text for words in ("Fitting", "40 %", "Reading sales", "by the timetable"))
    assert text.count("EST") + text.count("EDT") == 2
    assert '<meta http-equiv="refresh" content="5">' in text
    assert re.findall(r"<script (?!src=./static/)", text) == []
    assert "script-src 'self';" in page["Content-Security-Policy"] + ";"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (Status.COMPLETED, "Nothing is left to do here. It is done once for its day: asking for it again shows this"),
        (Status.FAILED, "Put right what the error names"),
        (Status.SKIPPED, "when the reason is gone"),
    ],
)
def test_a_run_that_has_ended_says_what_came_of_it_and_what_next(status, advice, run, charlie, client_of):
    JobRun.objects.update(status=status, error="Load sales first.", result={"version": "v13", "mae": {"all": 1.5}})
    text = page_of(client_of(charlie), run).content.decode()
    assert "refresh" not in text
    assert all(words in text for words in ("Load sales first.", "v13", advice))


@pytest.mark.parametrize(
    ("job", "slot", "arguments", "title", "asked"),
    [
        ("retrain", "2026-11-22", {}, "Retrain of 2026-11-22 (scheduled)", "by the timetable"),
        ("run_day", "2026-11-22", {}, "Nightly forecasts, scores and drift check of 2026-11-22", "by the timetable"),
        ("run_day", "2026-11-22", {"as_of": "2026-11-22"}, "drift check of 2026-11-22", "by a command"),
        (
            "retrain",
            "manual:7f3c0a1e",
            {"trigger": "manual", "as_of": "2026-11-20"},
            "Retrain of 2026-11-20 (manual)",
            "by a command",
        ),
        (
            "forecast",
            "2026-11-22:v3:1",
            {"as_of": "2026-11-22", "after": "v3"},
            "Forecasts of 2026-11-22",
            "because v3 was promoted",
        ),
        ("count_beans", "b1", {}, "Count beans", "by the timetable"),
    ],
)
def test_it_says_what_it_is_and_who_wanted_it(job, slot, arguments, title, asked, run, charlie, client_of):
    JobRun.objects.update(job=job, slot=slot, arguments=arguments)
    text = page_of(client_of(charlie), run).content.decode()
    assert f"{title} <span" in text
    assert f" {asked}</dd>" in text
    assert (slot in text) is (slot == "2026-11-22")


def test_what_a_person_asks_for_is_theirs_and_is_done_again_when_asked_again(run, bob, client_of):
    JobRun.objects.update(
        requested_by=bob, slot="manual:7f3c0a1e", arguments={"trigger": "manual"}, status=Status.COMPLETED
    )
    text = page_of(client_of(bob), run).content.decode()
    assert " by bob@acme.example</dd>" in text
    assert "asking for it again" not in text


def test_it_leads_to_the_log_and_to_what_was_made(run, acme, charlie, client_of):
    version = a_version(acme, "challenger", trigger="manual")
    ModelRetrainingLog.objects.update(job_run=run)
    text = page_of(client_of(charlie), run).content.decode()
    for link in [
        reverse("admin:mlops_modelretraininglog_change", args=[version.run_id]),
        addresses.life_url(version),
        "/models/review/v1?customer=acme",
    ]:
        assert f'href="{link}"' in text


def test_a_result_is_told_in_words(run, charlie, client_of):
    JobRun.objects.update(status=Status.COMPLETED, result={"shadow_rows": 12, "score": {"mae": 1.5, "late": None}})
    text = page_of(client_of(charlie), run).content.decode()
    for told in ["<dt>Shadow rows</dt><dd>12</dd>", "<h3>Score</h3>"]:  # jsonb keeps no order
        assert told in text
    assert not {"{", "shadow_rows", "None"} & set(text.split())


def test_what_is_listed_in_a_result_is_a_table_and_versions_keep_their_names(run, charlie, client_of):
    days = [{"day": "2026-03-02", "wape": 0.3, "late": None}, {"day": "2026-03-03", "wape": 0.25, "late": None}]
    JobRun.objects.update(status=Status.COMPLETED, result={"score": {"days": days, "shadow_rows": {"v11_drug_gm": 59}}})
    page = page_of(client_of(charlie), run).content.decode()
    assert "<dt>Shadow rows: v11_drug_gm</dt><dd>59</dd>" in page
    for text in ["<h3>Score</h3>", "Days", ">WAPE<", ">2026-03-02<", ">30.0 %<", ">25.0 %<"]:
        assert text in page
    assert "Late" not in page


def test_segments_have_the_names_that_people_know(run, charlie, client_of):
    segments = [{"segment": "global", "recent_mae": 1.5}, {"segment": "department:Dairy", "recent_mae": 1.2}]
    JobRun.objects.update(status=Status.COMPLETED, result={"drift": {"segments": segments}})
    page = page_of(client_of(charlie), run).content.decode()
    for text in [">all products<", ">department Dairy<", ">1.50 units<"]:
        assert text in page
    assert "global" not in page


def test_messages_are_shown(acme, bob, client_of):
    client = client_of(bob)
    form = {"customer": acme.pk, "reason": "new store", "promote": "on"}
    page = client.post(reverse("admin:mlops_modelretraininglog_retrain_now"), form, follow=True)
    assert "The retrain of Acme Stores is queued." in page.content.decode()


def test_a_run_of_another_customer_is_not_found(run, mallory, client_of, client):
    assert page_of(client_of(mallory), run).status_code == 404
    assert page_of(client, run)["Location"].startswith("/admin/login/")


def test_its_address_has_no_trailing_slash(run):
    assert run.get_absolute_url() == f"/runs/{run.pk}"


def test_the_ledger_of_runs_is_read_only_even_for_superusers(run, root, client_of):
    client = client_of(root)
    assert "Fitting" in client.get(reverse("admin:shelfops_jobrun_changelist")).content.decode()
    detail = reverse("admin:shelfops_jobrun_change", args=[run.pk])
    assert f'href="/runs/{run.pk}"' in client.get(detail).content.decode()
    assert client.post(detail, {"status": "completed"}).status_code == 403
    assert client.get(reverse("admin:shelfops_jobrun_add")).status_code == 403
    assert client.post(reverse("admin:shelfops_jobrun_delete", args=[run.pk]), {"post": "yes"}).status_code == 403


# --- The timetable


@pytest.fixture
def timetable(acme):
    acme.timezone = "Europe/Berlin"
    acme.save()
    schedules.create(acme)
    return reverse("admin:shelfops_customer_timetable", args=[acme.pk])


NIGHTLY = {"run_day-enabled": "on", "run_day-weekday": "", "run_day-at": "03:00"}
WISH = {"retrain-enabled": "on", "retrain-weekday": "2", "retrain-at": "04:30", **NIGHTLY}


def test_a_manager_moves_a_line(timetable, acme, bob, client_of):
    assert client_of(bob).post(timetable, WISH)["Location"] == timetable
    line = schedules.lines_of(acme)["retrain"]
    assert (schedules.when(line), str(line.crontab.timezone)) == ((2, dt.time(4, 30)), "Europe/Berlin")


def test_a_manager_switches_a_line_off_and_on(timetable, acme, bob, client_of):
    client = client_of(bob)
    client.post(timetable, {**WISH, "retrain-enabled": ""})
    assert not schedules.lines_of(acme)["retrain"].enabled
    assert "switched off" in client.get(timetable).content.decode()
    client.post(timetable, WISH)
    assert schedules.lines_of(acme)["retrain"].enabled


@pytest.mark.parametrize("wrong", [{"retrain-at": "25:00"}, {"retrain-at": ""}, {"retrain-weekday": "9"}])
def test_a_wrong_wish_changes_nothing(wrong, timetable, acme, bob, client_of):
    page = client_of(bob).post(timetable, {**WISH, **wrong})
    assert page.status_code == 200
    assert page.context["lines"][0]["form"].errors
    assert schedules.when(schedules.lines_of(acme)["retrain"]) == (0, dt.time(2))


@time_machine.travel("2027-03-24 12:00Z", tick=False)
def test_it_shows_when_it_is_next_due_in_the_zone(timetable, alice, client_of):
    text = client_of(alice).get(timetable).content.decode()
    assert "Europe/Berlin" in text
    assert "Sunday, 2027-03-28 03:00 CEST" in text
    assert "Sunday, 2027-04-04 02:00 CEST" in text


def test_only_managers_change_it_and_only_their_own(timetable, acme, alice, mallory, client_of):
    assert client_of(alice).post(timetable, WISH).status_code == 403
    assert 'name="retrain-at"' not in client_of(alice).get(timetable).content.decode()
    assert client_of(mallory).get(timetable).status_code == 404
    assert client_of(mallory).post(timetable, WISH).status_code == 404
    assert schedules.when(schedules.lines_of(acme)["retrain"]) == (0, dt.time(2))


def test_a_customer_without_lines_gets_them_by_saving(acme, bob, client_of):
    page = reverse("admin:shelfops_customer_timetable", args=[acme.pk])
    assert "switched off" in client_of(bob).get(page).content.decode()
    client_of(bob).post(page, WISH)
    assert schedules.lines_of(acme)["retrain"].enabled


def test_the_customer_page_leads_to_it(timetable, acme, charlie, client_of):
    page = client_of(charlie).get(reverse("admin:shelfops_customer_change", args=[acme.pk]))
    assert timetable in page.content.decode()


def test_a_new_time_zone_takes_the_timetable_along(timetable, acme, bob, client_of):
    data = {"name": acme.name, "timezone": "Asia/Tokyo", "country": "JP"}
    data |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    answer = client_of(bob).post(reverse("admin:shelfops_customer_change", args=[acme.pk]), data)
    assert answer.status_code == 302
    assert str(schedules.lines_of(acme)["retrain"].crontab.timezone) == "Asia/Tokyo"
