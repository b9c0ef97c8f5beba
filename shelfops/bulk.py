"""Writes many rows at once: COPY on PostgreSQL, prepared statements on SQLite."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.csv
from django.db import OperationalError, connection, transaction

from shelfops.models import Customer

T = TypeVar("T")

# SQLite has one writer: half a second of lock is short enough for the others.
BATCH_ROWS = {"sqlite": 50_000, "postgresql": 200_000}
PATIENCE = 6


@dataclass(frozen=True)
class Target:
    """A table with the columns of its natural key and the others; `only` says which conflicts change a row.

    The columns `once` are written with a new row and stay as they are.
    """

    table: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    only: str = ""
    once: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys + self.values + self.once

    def on_conflict(self) -> str:
        changes = ", ".join(f"{name} = excluded.{name}" for name in self.values)
        only = self.only or self._changed()
        return f"ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {changes} WHERE {only}"

    def _changed(self) -> str:
        differs = "IS DISTINCT FROM" if connection.vendor == "postgresql" else "IS NOT"
        return " OR ".join(f"{self.table}.{name} {differs} excluded.{name}" for name in self.values)


def batch_rows() -> int:
    """How many rows one transaction may write."""
    return BATCH_ROWS[connection.vendor]


@contextmanager
def turn(customer: Customer) -> Iterator[None]:
    """A transaction in which no other load of the customer writes."""
    with transaction.atomic():
        # Whoever writes a row that refers to the customer does not wait for it: a run asked for, a lease, an alert.
        Customer.objects.select_for_update(no_key=True).only("pk").get(pk=customer.pk)
        yield


def patiently(work: Callable[[], T]) -> T:
    """Does the work, again where another writer of SQLite kept the lock for longer than the time-out."""
    for attempt in range(1, PATIENCE):
        try:
            return work()
        except OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.2 * attempt)
    return work()


def refresh_statistics() -> None:
    """Lets SQLite choose its indexes by what the tables hold by now, in milliseconds; PostgreSQL does it by itself."""
    if connection.vendor == "sqlite":
        patiently(_analyze)


def _analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA analysis_limit=400")  # rows of each index; the default reads all of them
        cursor.execute("ANALYZE")


def insert(target: Target, rows: pa.Table) -> None:
    """Writes rows of which no key exists yet."""
    if connection.vendor == "postgresql":
        _copy(target.table, target, rows)
    else:
        upsert(target, rows)


def upsert(target: Target, rows: pa.Table) -> None:
    """Writes rows, replacing those whose keys exist."""
    if connection.vendor == "postgresql":
        correct(target, rows, ())
    else:
        _execute_many(target.table, target, rows, target.on_conflict())


def correct(target: Target, rows: pa.Table, tell: tuple[str, ...]) -> set[tuple[Any, ...]]:
    """The same, and answers the distinct values of the columns `tell` in rows that are new or different now."""
    aside, names = f"incoming_{target.table}", ", ".join(target.columns)
    insert_all = f"INSERT INTO {target.table} ({names}) SELECT {names} FROM {aside} WHERE true {target.on_conflict()}"  # noqa: S608  # names of our own tables
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE {aside} AS SELECT {names} FROM {target.table} LIMIT 0")  # noqa: S608  # names of our own tables
        if connection.vendor == "postgresql":
            _copy(aside, target, rows)
        else:
            _execute_many(aside, target, rows)
        cursor.execute(_telling(insert_all, tell))
        told = set(cursor.fetchall()) if tell else set()
        cursor.execute(f"DROP TABLE {aside}")
    return told


def _telling(statement: str, tell: tuple[str, ...]) -> str:
    if not tell:
        return statement
    names = ", ".join(tell)
    if connection.vendor != "postgresql":
        return f"{statement} RETURNING {names}"
    return f"WITH changed AS ({statement} RETURNING {names}) SELECT DISTINCT {names} FROM changed"  # noqa: S608  # names of our own tables


def _execute_many(table: str, target: Target, rows: pa.Table, on_conflict: str = "") -> None:
    names, values = ", ".join(target.columns), ", ".join(["%s"] * len(target.columns))
    statement = f"INSERT INTO {table} ({names}) VALUES ({values}) {on_conflict}"  # noqa: S608  # names of our own tables
    with connection.cursor() as cursor:
        cursor.executemany(statement, _tuples(rows.select(target.columns)))  # type: ignore[arg-type]  # any iterable


def _copy(table: str, target: Target, rows: pa.Table) -> None:
    text, rows = io.BytesIO(), rows.select(target.columns)
    has_text = any(pa.types.is_string(kind) for kind in rows.schema.types)
    plain = pyarrow.csv.WriteOptions(
        include_header=False, batch_size=16_384, quoting_style="needed" if has_text else "none"
    )
    pyarrow.csv.write_csv(rows, text, plain)
    text.seek(0)
    with connection.cursor() as cursor:
        statement = f"COPY {table} ({', '.join(target.columns)}) FROM STDIN (FORMAT csv)"
        cursor.copy_expert(statement, text, size=1 << 20)


def _tuples(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    columns = [pa.compute.cast(column, pa.string()) if pa.types.is_date(column.type) else column for column in rows]
    return zip(*(column.to_pylist() for column in columns), strict=True)
