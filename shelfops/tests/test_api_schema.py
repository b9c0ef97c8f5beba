"""The OpenAPI document: checked in as it is served, valid, true of every answer; and the page that shows it."""

import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest
import schemathesis
import yaml
from django.conf import settings
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from rest_framework.permissions import IsAuthenticated
from schemathesis.specs.openapi.checks import positive_data_acceptance

from conftest import chromium
from shelfops import tokens
from shelfops.sites import AdminSite
from shelfops.tests.api_world import a_world
from shelfops.wsgi import application

FILE = Path(settings.BASE_DIR) / "docs" / "openapi.yaml"
FOREIGN = re.compile(r"""(?:https?:)?//[\w.-]+\.\w+""")
UPDATE = "Run: python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml"

schema = schemathesis.openapi.from_path(FILE)
schema.app = application


def drawn() -> str:
    out = StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
    return out.getvalue()


def test_the_document_is_valid_and_checked_in_as_it_is():
    assert drawn() == FILE.read_text(), UPDATE


def test_paths_are_written_as_in_the_specification():
    paths = yaml.safe_load(FILE.read_text())["paths"]
    assert not [path for path in paths if path.endswith("/")]
    assert {"/api/v1/ml-alerts/{id}/action", "/api/v1/models/{version}/review"} <= set(paths)


def test_the_specifications_examples_are_in_it():
    paths = yaml.safe_load(FILE.read_text())["paths"]
    body = paths["/api/v1/ml-alerts/{id}/action"]["patch"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["FromTheSpecification"]["value"] == {
        "action": "approve",
        "notes": "Reviewed backtest, promotion approved",
    }


def test_every_operation_tells_its_errors():
    for path, operations in yaml.safe_load(FILE.read_text())["paths"].items():
        for method, operation in operations.items():
            codes = set(operation["responses"])
            assert "/health/" in path or {"400", "401", "403", "404", "429"} <= codes, path
            assert method == "get" or {"409", "415", "422"} <= codes, path


@pytest.mark.parametrize(
    ("path", "answers", "who"),
    [
        ("/api/v1/drift/incidents/{id}/retrain", ("202", "AskedAgain"), "Data scientist, ML manager"),
        ("/api/v1/drift/incidents/{id}/close", ("200", "IncidentDetail"), "Data scientist, ML manager"),
        ("/api/v1/models/{version}/rollback", ("200", "VersionDetail"), "ML manager"),
    ],
)
def test_a_change_tells_who_may_and_what_comes_back(path, answers, who):
    told = yaml.safe_load(FILE.read_text())["paths"][path]["post"]
    assert told["description"].endswith(f"Who may: {who}.")
    code, shape = answers
    shown = told["responses"][code]["content"]["application/json"]["schema"]
    assert shown == {"$ref": f"#/components/schemas/{shape}"}


@pytest.fixture
def bobs_calls(acme, bob, settings):
    """Headers of bob's token; the connection of the test stays open between calls."""
    settings.API_CALLS_PER_MINUTE = settings.API_ANONYMOUS_CALLS_PER_MINUTE = 10**9
    a_world(acme)
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield {"Authorization": f"Token {tokens.issue(bob, name='test', days=1)[1]}"}
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@schema.parametrize()
@hypothesis_settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_document_is_true(case, bobs_calls):
    """No 500, no undocumented status, no answer of another shape, and nothing accepted that it forbids.

    What it allows may still be refused: a cursor that nobody gave out, a day before another.
    """
    case.call_and_validate(headers=bobs_calls, excluded_checks=[positive_data_acceptance])


# --- The page that shows it


@pytest.mark.parametrize("path", ["/api/docs", "/api/docs/"])
def test_the_docs_need_a_login(path, alice, client, client_of):
    assert client.get(path)["Location"].startswith("/admin/login/")
    assert client_of(alice).get(path).status_code == 200


@pytest.fixture
def no_login(monkeypatch):
    """A browser that is only told an address cannot log in."""
    monkeypatch.setattr(AdminSite, "has_permission", lambda *_: True)
    monkeypatch.setattr(IsAuthenticated, "has_permission", lambda *_: True)


@pytest.mark.browser
def test_the_docs_run_in_a_browser_under_their_policy(no_login, live_server):
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=10000", "--dump-dom", f"{live_server.url}/api/docs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "/api/v1/models/{version}" in done.stdout.replace("\u200b", "").replace("<wbr>", "")
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("path", ["/api/schema", "/api/schema/"])
def test_the_document_needs_a_login(path, alice, client, client_of):
    assert client.get(path).status_code == 401
    answer = client_of(alice).get(path)
    assert yaml.safe_load(answer.content)["info"]["title"] == "ShelfOps"


def test_the_docs_run_no_script_but_the_sites_own(alice, client_of):
    answer = client_of(alice).get("/api/docs")
    policy = dict(part.split(maxsplit=1) for part in answer["Content-Security-Policy"].split(";") if part.strip())
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'none'"
    assert not any("'unsafe-eval'" in sources for sources in policy.values())
    page = answer.content.decode() + client_of(alice).get("/api/docs?script=").content.decode()
    assert FOREIGN.findall(page) == []
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*src=)", page)
