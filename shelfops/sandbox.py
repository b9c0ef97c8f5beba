"""A throw-away copy of one customer, in a database and a folder of its own, for asking “what would have happened?”."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.models import QuerySet
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks

from forecasting.models import CategoryDepartment, FeedDay, PlannedPrice, Product, Sale, Series, Store
from mlops.models import ModelPolicy
from shelfops import schedules
from shelfops.models import Customer, User
from shelfops.refusals import Refusal

ROWS = 50_000
SQLITE = DatabaseWrapper({"NAME": ":memory:", "OPTIONS": {}, "TIME_ZONE": None})  # never connected: it converts values


class NoSandbox(Refusal):
    """The copy could not be made."""


@contextmanager
def sandbox(customer: Customer) -> Iterator[dict[str, str]]:
    """A copy of what the customer brought and decided by rule, without versions or people; gone at the end.

    Yields the environment in which a command works on the copy. Nothing of the real database is written, and since no
    channel for notifications is copied, nothing leaves either. Raises NoSandbox.
    """
    with tempfile.TemporaryDirectory(prefix="shelfops-sandbox-") as folder:
        file = Path(folder) / "sandbox.sqlite3"
        environment = {**os.environ, "DATABASE_URL": f"sqlite:///{file}", "SHELFOPS_DATA_DIR": folder}
        if command(environment, "migrate", "--verbosity", "0").returncode:
            raise NoSandbox(f"The sandbox in {folder} could not be made; the reason stands above.")
        with closing(sqlite3.connect(file)) as copy:
            for rows in _what_is_copied(customer):
                _copy(rows, copy)
        yield environment


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command of manage.py in that environment; its progress goes to this terminal, its output comes back."""
    manage = Path(settings.BASE_DIR) / "manage.py"
    return subprocess.run(  # noqa: S603  # our own program with our own arguments
        [sys.executable, str(manage), *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )


def _what_is_copied(customer: Customer) -> list[QuerySet[Any]]:
    lines = schedules.lines().filter(name__in=[task.name for task in schedules.lines_of(customer).values()])
    ModelPolicy.of(customer)  # its defaults become a row
    return [
        Customer.objects.filter(pk=customer.pk),
        ModelPolicy.objects.filter(customer=customer),
        CrontabSchedule.objects.filter(pk__in=lines.values("crontab")),
        PeriodicTask.objects.filter(pk__in=lines.values("pk")),
        PeriodicTasks.objects.all(),
        CategoryDepartment.objects.filter(customer=customer),
        Store.objects.filter(customer=customer),
        Product.objects.filter(customer=customer),
        FeedDay.objects.filter(store__customer=customer),
        Series.objects.filter(store__customer=customer),
        PlannedPrice.objects.filter(store__customer=customer),
        Sale.objects.filter(store__customer=customer),
    ]


def _copy(rows: QuerySet[Any], copy: sqlite3.Connection) -> None:
    """With their keys, since the copy's tables are empty; without who marked a day, since no person is copied."""
    fields = [field for field in rows.model._meta.concrete_fields if field.related_model is not User]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    places = ", ".join("?" * len(fields))
    insert = f"INSERT OR REPLACE INTO {rows.model._meta.db_table} ({columns}) VALUES ({places})"  # noqa: S608  # names of our own models
    source = rows.order_by().values_list(*(field.attname for field in fields)).iterator(chunk_size=ROWS)
    while batch := list(islice(source, ROWS)):
        with copy:
            copy.executemany(insert, [_as_stored(fields, row) for row in batch])


def _as_stored(fields: Sequence[Any], row: Sequence[Any]) -> list[Any]:
    """The row as Django writes it on SQLite."""
    return [field.get_db_prep_save(value, SQLITE) for field, value in zip(fields, row, strict=True)]


def remove_leftovers() -> int:
    """Deletes the folders of sandboxes whose process was killed a day or more ago; returns how many."""
    old = [path for path in Path(tempfile.gettempdir()).glob("shelfops-sandbox-*") if _age_hours(path) > 24]
    for path in old:
        shutil.rmtree(path, ignore_errors=True)
    return len(old)


def _age_hours(path: Path) -> float:
    return (time.time() - path.stat().st_mtime) / 3600
