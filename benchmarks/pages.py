"""Every page of the demo's customer at ten times its size, beside an empty customer's first page."""

import csv
import io
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks import database
from benchmarks.measure import ROOT, table
from forecasting.models import FeedDay, Forecast, PlannedPrice, Sale, Series, Store
from forecasting.prepared import prepare
from forecasting.stored import PREVIEW
from mlops import artefacts, registry
from mlops.models import BacktestResult, ModelVersion, ShadowPrediction
from shelfops import bulk, customers, people
from shelfops.models import Customer, Role, User
from shelfops.tests.browser import screens

GOAL = 5.0
TIMES, ROUNDS = 10, 7
COPIES = range(1, TIMES)
NULL = "\\N"
OF_A_STORE = dict.fromkeys((Sale, Series, FeedDay, PlannedPrice, Forecast), "store_id")


def main() -> int:
    """Prints the table; answers 1 where a page takes more than the goal."""
    demo = Path(os.environ.get("SHELFOPS_BENCH_DEMO") or ROOT / "var")
    if not (demo / "db.sqlite3").exists():
        sys.exit(
            f"There is no demo in {demo}: run `DEMO_SERVE=0 make demo`, or name its folder in SHELFOPS_BENCH_DEMO."
        )
    with _a_copy(demo):
        customer = Customer.objects.get(slug="demo")
        _multiply(customer)
        prepare(customer)  # as a worker has done after the night
        print(f"{connection.vendor}, {Series.objects.count():,} series")
        rows = list(_measured(customer))
    print(table(("page", "queries", "first time, ms", "then, ms", "empty first page, ms", "ratio"), rows))
    print(f"\ngoal: each at most {GOAL} times an empty customer's first page")
    return int(any(row[-1] > GOAL for row in rows))


# --- Measuring


def _measured(customer: Customer) -> Iterator[tuple[str, int, float, float, float, float]]:
    customers.create(Customer(slug="fresh", name="Fresh Foods"))
    people.add_member("nobody@fresh.example", Customer.objects.get(slug="fresh"), Role.ML_MANAGER, password=None)
    empty = _client("nobody@fresh.example")
    client = _client("scientist@shelfops.example")
    pages = {"alerts menu": "/alerts/menu"} | screens.own(customer) | screens.in_admin(customer)
    for name, address in pages.items():
        cache.clear()
        first = _seconds(client, address)
        with CaptureQueriesContext(connection) as asked:
            _seconds(client, address)
            queries = len(asked)  # the next request empties the log
        pairs = [(_seconds(client, address), _seconds(empty, "/")) for _ in range(ROUNDS)]
        own, plain = (min(side) for side in zip(*pairs, strict=True))
        yield name, queries, first * 1000, own * 1000, plain * 1000, own / plain


def _client(email: str) -> Client:
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.get(email=email), backend="django.contrib.auth.backends.ModelBackend")
    return client


def _seconds(client: Client, address: str) -> float:
    begun = time.perf_counter()
    answer = client.get(address)
    taken = time.perf_counter() - begun
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answered {answer.status_code}")
    return taken


# --- The demo, copied


@contextmanager
def _a_copy(demo: Path) -> Iterator[None]:
    """Its rows and artefacts in a database and a folder that are thrown away."""
    shutil.copytree(demo / "artefacts", settings.ARTEFACT_DIR)
    source = sqlite3.connect(demo / "db.sqlite3")
    if connection.vendor == "sqlite":
        with sqlite3.connect(settings.DATABASES["default"]["NAME"]) as copy:
            source.backup(copy)
        yield
        return
    with database.of_its_own():
        _fill_from(source)
        yield


def _fill_from(demo: sqlite3.Connection) -> None:
    """Copies every table; PostgreSQL reads SQLite's zeros and ones, texts and numbers as what its columns are."""
    tables = [model._meta for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    with connection.cursor() as cursor:
        names = ", ".join(f'"{one.db_table}"' for one in tables)
        cursor.execute(f"TRUNCATE {names} CASCADE")
        cursor.execute("SET session_replication_role = replica")
        for one in tables:
            columns = ", ".join(f'"{field.column}"' for field in one.local_concrete_fields)
            found = demo.execute(f'SELECT {columns} FROM "{one.db_table}"')
            while rows := found.fetchmany(200_000):
                said = io.StringIO()
                csv.writer(said).writerows([NULL if cell is None else cell for cell in row] for row in rows)
                said.seek(0)
                cursor.copy_expert(f"COPY \"{one.db_table}\" ({columns}) FROM STDIN CSV NULL '{NULL}'", said)
        cursor.execute("SET session_replication_role = DEFAULT")
        for line in connection.ops.sequence_reset_sql(no_style(), [one.model for one in tables]):
            cursor.execute(line)


# --- Ten times as many stores


def _multiply(customer: Customer) -> None:
    """Nine further stores beside each, with the same sales, forecasts and results."""
    stores = list(Store.objects.filter(customer=customer))
    new = [
        Store(customer=customer, code=f"{store.code}-{copy}", name=store.name) for copy in COPIES for store in stores
    ]
    Store.objects.bulk_create(new)
    codes = dict(Store.objects.filter(customer=customer).values_list("code", "pk"))
    with transaction.atomic(), connection.cursor() as cursor:
        for copy in COPIES:
            for model, column in OF_A_STORE.items():
                _copy_rows(cursor, model, column, copy)
            _copy_named(cursor, ShadowPrediction, "store_id", copy)
            _copy_named(cursor, BacktestResult, "scope_value", copy, "scope_type = 'store'")
    for version in ModelVersion.objects.filter(customer=customer):
        _copy_preview(version, [{store.pk: codes[f"{store.code}-{copy}"] for store in stores} for copy in COPIES])
    bulk.refresh_statistics()  # as every load does, on SQLite
    if connection.vendor == "postgresql":  # whose autovacuum would have done so
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")


def _columns(model: type[models.Model], but: str) -> str:
    rest = [field.column for field in model._meta.concrete_fields if not field.primary_key and field.column != but]
    return ", ".join(f'"{name}"' for name in rest)


def _copy_rows(cursor: Any, model: type[models.Model], column: str, copy: int) -> None:
    """Rows that belong to a store, for the store's copy of this number."""
    name, columns = model._meta.db_table, _columns(model, column)
    taken = columns.replace('"', 'made."', 1).replace(', "', ', made."')
    cursor.execute(
        f"INSERT INTO {name} ({column}, {columns}) SELECT further.id, {taken} FROM {name} made "
        f"JOIN stores store ON store.id = made.{column} "
        f"JOIN stores further ON further.code = store.code || '-{copy}' AND further.customer_id = store.customer_id"
    )


def _copy_named(cursor: Any, model: type[models.Model], column: str, copy: int, where: str = "1 = 1") -> None:
    """Rows that only name a store."""
    name, columns = model._meta.db_table, _columns(model, column)
    cursor.execute(
        f"INSERT INTO {name} ({column}, {columns}) SELECT {column} || '-{copy}', {columns} FROM {name} "
        f"WHERE {where} AND {column} NOT LIKE '%-%'"
    )


def _copy_preview(version: ModelVersion, copies: list[dict[int, int]]) -> None:
    """The same files with ten times as long a preview, stored as another artefact."""
    files = registry.files_of(version)
    if PREVIEW not in files:
        return
    rows = pd.read_parquet(io.BytesIO(files[PREVIEW]))
    store, _, product = (rows["unique_id"].str.partition("|")[part] for part in range(3))
    further = [rows.assign(unique_id=store.astype(int).map(of).astype(str) + "|" + product) for of in copies]
    out = io.BytesIO()
    pd.concat([rows, *further]).to_parquet(out, index=False)
    place = f"{version.artefact}-large"
    digest = artefacts.save(place, {**files, PREVIEW: out.getvalue()})
    ModelVersion.objects.filter(pk=version.pk).update(artefact=place, artefact_sha256=digest)


if __name__ == "__main__":
    sys.exit(main())
