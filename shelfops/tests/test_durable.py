"""The key and other small files are whole or not there, whoever else writes at the same moment."""

import os
import stat
import subprocess
import sys

import pytest

from shelfops.durable import replace_whole, write_once

READ_KEY = "from shelfops import settings; print(settings.SECRET_KEY)"


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "SHELFOPS_DATA_DIR": str(tmp_path), "SHELFOPS_SECRET_KEY": ""}


def _start(environment):
    command = [sys.executable, "-c", READ_KEY]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_start_at_once_share_one_secret_key(environment, tmp_path):
    answers = [process.communicate() for process in [_start(environment) for _ in range(4)]]
    keys = {out.strip() for out, _ in answers}
    assert [len(key) for key in keys] == [86], answers
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))


def test_an_empty_secret_key_is_refused_with_what_to_do(environment, tmp_path):
    (tmp_path / "secret_key").touch()
    process = _start(environment)
    _, complaint = process.communicate()
    assert process.returncode != 0
    assert f"{tmp_path / 'secret_key'} is empty. Delete it" in complaint


def test_the_first_text_stays(tmp_path):
    write_once(tmp_path / "key", "first")
    write_once(tmp_path / "key", "second")
    assert (tmp_path / "key").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_replaced_file_is_the_new_one_alone(tmp_path):
    replace_whole(tmp_path / "table", "old")
    replace_whole(tmp_path / "table", "new")
    assert (tmp_path / "table").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    replace_whole(tmp_path / "table", "old")
    with pytest.raises(UnicodeEncodeError):
        replace_whole(tmp_path / "table", "\ud800")
    assert (tmp_path / "table").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
