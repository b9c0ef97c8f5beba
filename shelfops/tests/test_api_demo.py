"""The specification's own calls and the README's, against what the demo leaves: made up and smaller, else the same."""

import datetime as dt
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client

from forecasting import demo, demo_experiments
from forecasting.tests.synthetic import shop
from mlops.models import ModelPolicy, ModelVersion
from shelfops import tokens
from shelfops.management.commands import demo as demo_command
from shelfops.models import Customer, Role, User
from shelfops.tests.proposals import APPROVAL, COMPLETION, DEPARTMENTS, PROPOSAL, two_people
from shelfops.tests.small_demo import write_package

README = Path(__file__).parents[2] / "README.md"
SITE = "http://127.0.0.1:8000"
LINES = [line.strip() for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("    curl ")]
WAITS = "v13"  # for a review, where the demo is the real one
EXPECTED = {
    "/ml-alerts?": "results",
    "/models?": "results",
    "/forecasts?": "results",
    "/retrain": "retrain_id",
    f"/models/{WAITS}/review": "version",
}

REVIEW = "POST /api/v1/models/{version}/review"
ALERTS = """
# Get unread ML alerts
GET /api/v1/ml-alerts?status=unread

# Mark as read
PATCH /api/v1/ml-alerts/{id}/read

# Take action (approve/dismiss)
PATCH /api/v1/ml-alerts/{id}/action
{
  "action": "approve",  # or "dismiss"
  "notes": "Reviewed backtest, promotion approved"
}
"""

pytestmark = pytest.mark.django_db(transaction=True)
SHIFT = demo.Shock(dt.date(2017, 12, 22), slice(0, None), 3)
"""Late enough that nobody has decided about it when the demo ends."""


@pytest.fixture
def left(tmp_path, monkeypatch) -> Customer:
    """The demo's customer after six weeks and a shift at their end, which waits for a decision."""
    rows = shop(stores=6, products=6, first=dt.date(2017, 1, 1), last=dt.date(2017, 12, 31))
    department = np.array(DEPARTMENTS)[np.arange(6) % 3]
    write_package(tmp_path, rows[rows["date"].dt.date != demo_command.CHRISTMAS], department)
    monkeypatch.setattr(demo, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(demo, "SHOCKS", (SHIFT,))
    monkeypatch.setattr(demo_experiments, "DEPARTMENTS", tuple(DEPARTMENTS))
    monkeypatch.setattr(demo_command, "FIRST_DAY", dt.date(2017, 11, 20))
    monkeypatch.setattr(ModelPolicy._meta.get_field("segment_min_rows"), "default", 200)
    for guard in ("guard_bias_max_points", "guard_rmse_pct"):  # any first model shall serve
        monkeypatch.setattr(ModelPolicy._meta.get_field(guard), "default", 1000)
    monkeypatch.setenv("DEMO_SERVE", "0")
    call_command("demo", "--json")
    return Customer.objects.get(slug="demo")


def test_the_calls_run_as_they_are_written(left, live_server):
    people = two_people(left)
    scientist, manager = (Caller(people[name]) for name in ("data_scientist", "ml_manager"))
    _an_experiment(scientist, manager)
    _what_was_shown(scientist)
    version = _the_drift(scientist, left)  # promotes who has not been compared with the experiment's versions
    if not shutil.which("curl"):
        pytest.skip("the README's calls need curl, which is not installed")
    _readme(live_server.url, manager, version)


def test_the_token_of_the_readme_is_of_somebody_who_may_call_so():
    assert f"manage.py issue_token {demo_command.PEOPLE[Role.ML_MANAGER]} " in README.read_text(encoding="utf-8")


class Caller:
    """A program of one person's."""

    def __init__(self, user: User) -> None:
        self.token = tokens.issue(user, name="calls", days=1)[1]

    def __call__(self, line: str, body: Any = "") -> tuple[int, Any]:
        method, path = line.split()
        text = body if isinstance(body, str) else json.dumps(body)
        headers = {"Authorization": f"Token {self.token}"}
        answer = Client().generic(method, path, text, "application/json", headers=headers)
        return answer.status_code, answer.json()


def _readme(url: str, manager: Caller, waits: str) -> None:
    assert len(LINES) == len(EXPECTED)
    for line, (path, told) in zip(LINES, EXPECTED.items(), strict=True):
        assert f"/api/v1{path}" in line
        command = line.replace(SITE, url).replace(WAITS, waits).replace("curl ", "curl --silent --fail-with-body ", 1)
        ran = subprocess.run(
            ["sh", "-c", command], env={"TOKEN": manager.token}, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert json.loads(ran.stdout)[told]


def _an_experiment(scientist: Caller, manager: Caller) -> None:
    """Section 3, its first two steps."""
    code, made = scientist("POST /api/v1/experiments", PROPOSAL)
    assert (code, made["status"], made["proposed_by"]) == (201, "proposed", PROPOSAL["proposed_by"])
    code, approved = manager(f"PATCH /api/v1/experiments/{made['experiment_id']}/approve", APPROVAL)
    assert (code, approved["status"], approved["approved_by"]) == (200, "approved", APPROVAL["approved_by"])
    assert approved["approved_at"]


def _the_drift(scientist: Caller, left: Customer) -> str:
    """Sections 2 and 4: the alert is found, read and acted on, and who was asked about serves; answers its version."""
    unread, read, act, *body = [line for line in ALERTS.splitlines() if line and not line.startswith("#")]
    _, answer = scientist(unread)
    alert = next(row for row in answer["results"] if row["alert_type"] == "drift_detected")
    version = alert["version"]
    assert (alert["severity"], alert["action_url"]) == ("critical", f"/models/review/{version}")
    assert scientist(read.format(id=alert["id"]))[1]["status"] == "read"
    assert alert["id"] not in [row["id"] for row in scientist(unread)[1]["results"]]

    review = REVIEW.format(version=version)
    assert scientist(review, {"action": "approve"}) == (400, {"notes": ["This field is required."]})
    text = "\n".join(line.partition("  #")[0] for line in body)
    code, answer = scientist(act.format(id=alert["id"]), text)
    assert (code, answer["status"], answer["decision"]) == (200, "actioned", "approved")
    assert answer["notes"] == json.loads(text)["notes"]
    assert ModelVersion.objects.champion_for(left).version == version
    code, answer = scientist(review, {"action": "approve", "notes": "drift is real, SHAP and backtest look right"})
    assert (code, answer["version"], answer["status"]) == (200, version, "champion")
    return str(version)


def _what_was_shown(scientist: Caller) -> None:
    """Sections 3 and 6: an experiment's fourteen days in shadow, and that Electronics alone is adopted."""
    _, answer = scientist("GET /api/v1/experiments?status=shadow_testing")
    [tiered] = answer["results"]
    code, shown = scientist(f"GET /api/v1/experiments/{tiered['experiment_id']}/results")
    assert (code, shown["shadow_test_duration_days"]) == (200, 14)
    assert shown["samples"] > 0
    assert {one["segment"] for one in shown["segments"]} == {f"department:{name}" for name in DEPARTMENTS}

    complete = f"POST /api/v1/experiments/{tiered['experiment_id']}/complete"
    assert not any(one["reaches_target"] for one in shown["segments"])  # so nobody but the caller can say which to take
    code, refused = scientist(complete, COMPLETION)
    assert (code, "Name the segments to adopt" in refused["detail"]) == (400, True)
    code, done = scientist(complete, COMPLETION | {"segments": ["Electronics"]})
    assert (code, done["status"], done["decision"]) == (200, "completed", "partial_adopt")
    assert {one["version"]: one["status"] for one in done["versions"]} == {
        one["version"]: "champion" if one["segment"] == "department:Electronics" else "archived"
        for one in shown["segments"]
    }
    assert done["reported_results"] == COMPLETION["results"]
