"""Days done by processes that can be killed: a server has everything loaded and forks one for each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any, Self

import django
from django.conf import settings

if __name__ == "__main__":
    django.setup()

from django.core.management import call_command
from django.db import connection

import forecasting.day  # noqa: F401  # what a day needs is loaded before anybody forks
from forecasting.tests.copies import Place, use


class Days:
    """The server; it ends with the block. `environment` is the processes' own, beside this one's."""

    def __init__(self, **environment: str) -> None:
        own = {"DATABASE_URL": _url(), "DJANGO_SETTINGS_MODULE": "shelfops.settings"}
        self._environment = {**os.environ, **own, **environment}

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=self._environment,
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def begin(self, place: Place, as_of: str, *, die_after: str = "") -> int:
        """The key of a process that does `run_day` there.

        It kills itself right after the first return of `die_after`, such as forecasting.publishing:publish.
        """
        order = {"place": vars(place), "as_of": as_of, "die_after": die_after}
        assert self._server.stdin
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def end(self) -> int:
        """Waits for the process that has begun; its exit code, or minus the signal that has killed it."""
        return self._answer()

    def run(self, place: Place, as_of: str, *, die_after: str = "") -> int:
        """Begins and ends one."""
        self.begin(place, as_of, die_after=die_after)
        return self.end()

    def _answer(self) -> int:
        assert self._server.stdout
        return int(self._server.stdout.readline())


def _url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return "postgres://{USER}:{PASSWORD}@{HOST}:{port}/{NAME}".format(**database, port=database["PORT"] or 5432)


# --- In the server and in what it forks


def serve() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _do(**json.loads(line))
        _tell(pid)
        _, status = os.waitpid(pid, 0)
        _tell(os.waitstatus_to_exitcode(status))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _do(place: dict[str, str], as_of: str, die_after: str) -> None:
    code = 1
    try:
        use(Place(**place))
        if die_after:
            _have_it_die(die_after)
        with open(os.devnull, "w") as nowhere:
            call_command("run_day", "--as-of", as_of, "--json", stdout=nowhere)
        connection.close()
        code = 0
    except BaseException as error:
        sys.stderr.write(f"run_day {as_of}: {type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _have_it_die(after: str) -> None:
    path, _, name = after.partition(":")
    *parents, last = name.split(".")
    owner = reduce(getattr, parents, import_module(path))
    setattr(owner, last, _last_words(getattr(owner, last)))


def _last_words(work: Callable[..., Any]) -> Callable[..., Any]:
    def dies(*args: object, **kwargs: object) -> None:
        work(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    return dies


if __name__ == "__main__":
    serve()
