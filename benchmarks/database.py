"""A database of its own for a benchmark: beside the one that DATABASE_URL names, and dropped afterwards."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection


@contextmanager
def of_its_own(*, any_kind: bool = False) -> Iterator[None]:
    """Empty and migrated. Ends the program with one line where there is no PostgreSQL to make it on.

    `any_kind` takes SQLite too, where DATABASE_URL names nothing else.
    """
    if connection.vendor != "postgresql" and not any_kind:
        sys.exit(
            "This benchmark needs PostgreSQL: set DATABASE_URL=postgres://user:password@host/name. "
            "It makes a database of its own beside that one, and drops it afterwards."
        )
    name = connection.settings_dict["NAME"]
    connection.settings_dict["TEST"]["NAME"] = f"{name}_bench_{uuid.uuid4().hex[:8]}"
    try:
        connection.creation.create_test_db(verbosity=0, serialize=False)
    except OperationalError as error:
        sys.exit(f"DATABASE_URL names a server that does not answer: {error}".strip())
    try:
        yield
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)
