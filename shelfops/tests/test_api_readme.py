"""The README's lines for curl, run as they are written there against a live server."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from shelfops import tokens
from shelfops.tests.api_world import a_world

README = Path(__file__).parents[2] / "README.md"
SITE = "http://127.0.0.1:8000"
LINES = [line.strip() for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("    curl ")]
EXPECTED = {"/ml-alerts?": "results", "/models?": "results", "/retrain": "retrain_id"}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.django_db(transaction=True)
def test_the_lines_run_as_written(live_server, acme, bob):
    a_world(acme)
    _, token = tokens.issue(bob, name="readme", days=1)
    assert len(LINES) == len(EXPECTED)
    for line, (path, told) in zip(LINES, EXPECTED.items(), strict=True):
        assert f"/api/v1{path}" in line
        command = line.replace(SITE, live_server.url).replace("curl ", "curl --silent --fail-with-body ", 1)
        ran = subprocess.run(["sh", "-c", command], env={"TOKEN": token}, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert json.loads(ran.stdout)[told]
