"""Many at once, for tests that are marked with `django_db(transaction=True)`."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection


def at_once(work: Callable[[Any], Any], things: Sequence[Any]) -> list[Any]:
    """Runs `work` on each thing in a thread of its own, all let go together; what each returned or raised."""
    start = Barrier(len(things))

    def one(thing: Any) -> Any:
        start.wait()
        try:
            return work(thing)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(things)) as pool:
        return list(pool.map(one, things))
