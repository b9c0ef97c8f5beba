"""Copies of a database with its artefacts, so that one state is gone on from many times."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection


@dataclass(frozen=True)
class Place:
    """A database by its name, which is a file on SQLite, and the folder of its artefacts."""

    database: str
    artefacts: str

    @classmethod
    def here(cls) -> Place:
        """What this process works on."""
        return cls(str(connection.settings_dict["NAME"]), str(settings.ARTEFACT_DIR))


def use(place: Place) -> None:
    """From now on this process works there."""
    connection.close()
    connection.settings_dict["NAME"] = place.database
    settings.ARTEFACT_DIR = Path(place.artefacts)


@contextmanager
def at(place: Place) -> Iterator[None]:
    """For a while this process works there."""
    former = Place.here()
    use(place)
    try:
        yield
    finally:
        use(former)


def copy(place: Place, name: str) -> Place:
    """The same rows and files under another name; nobody may be at work there."""
    with at(place):
        _alone_on(place)
        connection.creation.clone_test_db(suffix=name, verbosity=0)
        database = connection.creation.get_test_db_clone_settings(name)["NAME"]
    artefacts = Path(place.artefacts).with_name(f"artefacts-{name}")
    shutil.rmtree(artefacts, ignore_errors=True)
    if Path(place.artefacts).exists():
        shutil.copytree(place.artefacts, artefacts)
    return Place(str(database), str(artefacts))


def _alone_on(place: Place) -> None:
    """PostgreSQL copies no database that somebody is connected to, and threads of earlier tests may still be."""
    if connection.vendor == "postgresql":
        with connection._nodb_cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = current_user",
                [place.database],
            )


def drop(place: Place) -> None:
    """Forgets a copy, whoever is still connected to it."""
    shutil.rmtree(place.artefacts, ignore_errors=True)
    if connection.vendor == "sqlite":
        for end in ("", "-wal", "-shm"):
            Path(place.database + end).unlink(missing_ok=True)
        return
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'DROP DATABASE IF EXISTS "{place.database}" WITH (FORCE)')
