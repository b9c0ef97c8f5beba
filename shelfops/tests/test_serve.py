"""`serve` says what is missing, serves site and worker, and leaves no process behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.migrations.recorder import MigrationRecorder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refusal(*args: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("serve", *args, stdout=StringIO())
    assert caught.value.returncode == 1
    return str(caught.value)


@pytest.mark.django_db
def test_missing_migrations_name_the_command():
    MigrationRecorder.Migration.objects.filter(app="mlops").delete()
    assert re.search(r"lacks \d+ migrations. Run: python manage.py migrate$", refusal())


@pytest.mark.django_db
def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"Port {port} of 127.0.0.1" in (line := refusal("--port", str(port)))
        assert f"--port {port + 1}" in line


@pytest.mark.django_db
def test_a_folder_that_cannot_be_written_is_named(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "gone"
    assert "Make it writable or point SHELFOPS_DATA_DIR at another" in refusal()


@pytest.mark.django_db
def test_a_broker_that_does_not_answer_is_named(settings, monkeypatch):
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:{_free_port()}/0"
    monkeypatch.setattr("shelfops.celery.app.conf.broker_write_url", settings.CELERY_BROKER_URL)
    assert "CELERY_BROKER_URL" in refusal("--port", str(_free_port()))


@pytest.mark.parametrize("url", ["mysql://somewhere/shop", "shop.sqlite3"])
def test_a_wrong_setting_is_one_line_for_every_command(url):
    env = {**os.environ, "DATABASE_URL": url}
    command = [sys.executable, "manage.py", "migrate"]
    ended = subprocess.run(command, env=env, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert re.fullmatch(r"Refused: DATABASE_URL must be .+\n", ended.stderr)


class Served:
    """The command in a process of its own, with what it has printed so far."""

    def __init__(self, port: int, data_dir: str, **env: str) -> None:
        own = {"SHELFOPS_DATA_DIR": data_dir, "DATABASE_URL": f"sqlite:///{data_dir}/db.sqlite3"}
        self.env = {**os.environ, **own, **env}
        self.printed = ""
        self._manage("migrate", "-v0")
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, env=self.env, cwd=settings.BASE_DIR, **pipes)
        threading.Thread(target=self._read, daemon=True).start()

    def _manage(self, *args: str) -> None:
        subprocess.run([sys.executable, "manage.py", *args], env=self.env, cwd=settings.BASE_DIR, check=True)

    def _read(self) -> None:
        for line in self.process.stdout:
            self.printed += line

    def wait_for(self, words: str, seconds: float = 40) -> None:
        deadline = time.monotonic() + seconds
        while words not in self.printed:
            assert time.monotonic() < deadline, self.printed
            assert self.process.poll() is None, self.printed
            time.sleep(0.1)

    def groups(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"started \(pid=(\d+)\)", self.printed)]


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _all_gone(groups: list[int], seconds: float = 10) -> bool:
    """Who was killed stays in the table for a moment, until init has noticed."""
    deadline = time.monotonic() + seconds
    while any(map(_is_alive, groups)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(map(_is_alive, groups))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_leaves_nobody_behind(stop, tmp_path):
    port = _free_port()
    served = Served(port, str(tmp_path))
    served.wait_for("There is no customer yet")
    served.wait_for("ready.")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/admin/login/") as page:
        assert page.status == 200
    groups = served.groups()
    assert len(groups) == 2
    assert all(map(_is_alive, groups))
    served.process.send_signal(stop)
    assert served.process.wait(30) == 0, served.printed
    assert _all_gone(groups)


def test_when_one_process_dies_the_others_follow(tmp_path):
    served = Served(_free_port(), str(tmp_path))
    served.wait_for("ready.")
    groups = served.groups()
    os.killpg(groups[1], signal.SIGKILL)
    assert served.process.wait(30) == 1
    assert "A process ended by itself" in served.printed
    assert _all_gone(groups)


@pytest.mark.redis
def test_with_a_broker_the_scheduler_is_a_process_of_its_own(redis_url, tmp_path):
    served = Served(_free_port(), str(tmp_path), CELERY_BROKER_URL=redis_url)
    served.wait_for("ready.")
    served.wait_for("beat: Starting")
    groups = served.groups()
    assert len(groups) == 3
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0
    assert _all_gone(groups)
