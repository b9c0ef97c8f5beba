"""Work sent from one process is done in another, whatever lies in the queue's folder."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kombu import Connection

from shelfops.celery import app
from shelfops.filetransport import Transport
from shelfops.tests.worker_tasks import write_pid

GARBAGE = {"empty": "", "cut": '{"body": "abc', "list": "[]", "not_ours": "{}"}


@pytest.fixture
def connection(tmp_path):
    folders = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}
    options: dict[str, object] = {key: str(tmp_path / name) for key, name in folders.items()}
    options |= {"processed_folder": str(tmp_path / "claimed"), "polling_interval": 0.01}
    Transport.global_state.clear()  # bindings that another test's queue left in this process
    with Connection("localfs://localhost", transport_options=options) as connection:
        yield connection


def test_messages_come_in_the_order_of_sending(connection):
    queue = connection.SimpleQueue("orders")
    for number in range(20):
        queue.put(number)
    assert [queue.get(timeout=5).payload for _ in range(20)] == list(range(20))


def test_folders_are_private(connection, tmp_path):
    connection.SimpleQueue("orders").put(1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"queue": 0o700, "control": 0o700, "claimed": 0o700}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (tmp_path / "queue").iterdir())


@pytest.mark.parametrize("name", GARBAGE)
def test_a_file_that_is_no_message_is_set_aside(name, connection, tmp_path, caplog):
    queue = connection.SimpleQueue("orders")
    (tmp_path / "queue" / f"0_{name}.orders.msg").write_text(GARBAGE[name])
    queue.put("good")
    assert queue.get(timeout=5).payload == "good"
    assert (tmp_path / "claimed" / f"0_{name}.orders.garbage").read_text() == GARBAGE[name]
    assert "could not be read" in caplog.text


def test_a_cut_exchange_table_is_written_anew(connection, tmp_path):
    connection.SimpleQueue("orders").put(1)
    for table in (tmp_path / "control").glob("*.exchange"):
        table.write_text("")
    Transport.global_state.clear()
    again = connection.clone().SimpleQueue("orders")
    again.put(2)
    assert [again.get(timeout=5).payload for _ in range(2)] == [1, 2]


def test_no_unfinished_file_stays(connection, tmp_path):
    connection.SimpleQueue("orders").put(1)
    assert not list(tmp_path.rglob(".*"))


@pytest.fixture
def worker(data_dir):
    command = [sys.executable, "-m", "celery", "-A", "shelfops", "worker", "-P", "prefork", "-c", "1"]
    command += ["-I", "shelfops.tests.worker_tasks", "--without-mingle", "--without-gossip"]
    process = subprocess.Popen(command, env={**os.environ, "SHELFOPS_DATA_DIR": str(data_dir)})
    yield process
    process.terminate()
    process.wait(20)


def _wait_for(path: Path, seconds: float = 30) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear within {seconds} s")


def test_a_worker_process_does_what_this_one_asks(worker, data_dir, tmp_path):
    queue_folder = data_dir / "celery" / "queue"
    write_pid.delay(str(tmp_path / "first"))
    assert int(_wait_for(tmp_path / "first")) not in (os.getpid(), worker.pid)
    for name, text in GARBAGE.items():
        (queue_folder / f"0_{name}.{app.conf.task_default_queue}.msg").write_text(text)
    write_pid.delay(str(tmp_path / "second"))
    assert _wait_for(tmp_path / "second")
    assert worker.poll() is None
