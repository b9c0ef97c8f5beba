"""What the command and the pages say of drift."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from forecasting.tests.emergencies import served_so_far, tonight, trained_by_nobody
from forecasting.tests.served_days import (
    AS_OF,
    BASELINE_MAE,
    RECENT_MAE,
    serve,
    windows,
)

pytestmark = pytest.mark.django_db
DRIFTED = windows(RECENT_MAE, BASELINE_MAE)


@pytest.fixture
def champion(acme):
    return served_so_far(acme)


@pytest.fixture
def trained(monkeypatch):
    """The emergency retrains that were asked for."""
    return trained_by_nobody(monkeypatch)


# --- The command


def command(*arguments):
    out = StringIO()
    call_command("detect_drift", "--customer", "acme", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_verdict_and_what_came_of_it(champion, acme, trained):
    serve(champion, off=DRIFTED)
    text = command("--as-of", str(AS_OF))

    assert "all products (v1): Drift. MAE 18.5 over the last 7 days against 12.8" in text
    assert "open; the emergency retrain produced v2" in text


def test_the_command_reports_as_json(champion, acme, trained):
    serve(champion, off=DRIFTED)
    report = json.loads(command("--json"))["segments"][0]

    assert (report["verdict"], report["suggested_verdict"], report["new_version"]) == ("drift", "real", "v2")
    assert round(report["drift_pct"], 1) == 44.5


def test_the_command_says_when_there_is_nothing_to_check_and_refuses_the_future(acme):
    assert "There is no champion yet" in command()
    with pytest.raises(CommandError, match="has not come yet"):
        command("--as-of", "2999-01-01")


# --- The pages


def test_an_incidents_page_shows_the_dossier_to_people(champion, acme, trained, bob, client_of):
    serve(champion, off=DRIFTED)
    incident = tonight(acme).incident
    page = client_of(bob).get(reverse("admin:mlops_driftincident_change", args=[incident.pk])).content.decode()

    for text in ("What the data suggest", "The model has become worse.", "Departments that carry it", "+44.5 %"):
        assert text in page
    assert "without_suspects_pct" not in page
    assert "&#x27;mae&#x27;" not in page
    listing = client_of(bob).get(reverse("admin:mlops_driftcheck_changelist")).content.decode()
    assert "v1 drifted by 45 %" in listing
