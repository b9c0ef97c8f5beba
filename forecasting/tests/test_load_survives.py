"""A load that is killed, and two that run at once, in processes and on a database of their own."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from forecasting.models import Store
from shelfops import bulk

ROOT = Path(settings.BASE_DIR)
SETUP = """
import django; django.setup()
from django.core.management import call_command
from shelfops import bulk
bulk.BATCH_ROWS = dict.fromkeys(bulk.BATCH_ROWS, {batch})
"""
ROWS = """
SELECT st.code, p.code, s.date, s.quantity FROM sales s
JOIN stores st ON st.id = s.store_id JOIN products p ON p.id = s.product_id ORDER BY 1, 2, 3
"""
DAYS = "SELECT st.code, f.date, f.status, f.rows FROM feed_days f JOIN stores st ON st.id = f.store_id ORDER BY 1, 2"
SERIES = """
SELECT st.code, p.code, s.first_sold FROM series s
JOIN stores st ON st.id = s.store_id JOIN products p ON p.id = s.product_id ORDER BY 1, 2
"""
TORN = """
SELECT count(*) FROM feed_days f
WHERE f.rows <> (SELECT count(*) FROM sales s WHERE s.store_id = f.store_id AND s.date = f.date)
"""


class Database:
    """A database that other processes can open, with one customer."""

    def __init__(self, folder: Path):
        self.environment = {
            **os.environ,
            "SHELFOPS_DATA_DIR": str(folder),
            "DJANGO_SETTINGS_MODULE": "shelfops.settings",
        }
        self.postgresql = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
        self.name = f"shelfops_test_{uuid.uuid4().hex[:12]}"
        self.file = folder / "db.sqlite3"
        if self.postgresql:
            server = settings.DATABASES["default"]
            self.execute(f"CREATE DATABASE {self.name}", database="postgres")
            self.environment["DATABASE_URL"] = "postgres://{USER}:{PASSWORD}@{HOST}:{port}/{name}".format(
                **server, port=server["PORT"] or 5432, name=self.name
            )
        self.python(
            "call_command('migrate', verbosity=0)\n"
            "from shelfops.models import Customer; Customer.objects.create(slug='acme', name='Acme')"
        ).check()

    def execute(self, statement, *, database=None):
        with closing(self._connect(database or self.name)) as own:
            if self.postgresql:
                own.autocommit = True
            return _fetch(own.cursor(), statement)

    def _connect(self, database):
        if not self.postgresql:
            return sqlite3.connect(self.file, timeout=20)
        server = settings.DATABASES["default"]
        options = {"user": server["USER"], "password": server["PASSWORD"], "host": server["HOST"]}
        return psycopg2.connect(dbname=database, port=server["PORT"] or 5432, **options)

    def python(self, code, batch=200):
        return Process([sys.executable, "-c", SETUP.format(batch=batch) + code], self.environment)

    def load(self, file, batch=200):
        return self.python(f"call_command('load_sales', {str(file)!r}, json=True)", batch)

    def content(self):
        return [self.execute(query) for query in (ROWS, DAYS, SERIES)]

    def count(self, table):
        return int(self.execute(f"SELECT count(*) FROM {table}")[0][0])

    def drop(self):
        if self.postgresql:
            self.execute(f"DROP DATABASE {self.name} WITH (FORCE)", database="postgres")


def _fetch(cursor, statement):
    cursor.execute(statement)
    return [tuple(map(str, row)) for row in cursor.fetchall()] if cursor.description else []


class Process:
    def __init__(self, command, environment):
        self.child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def check(self):
        out, err = self.child.communicate(timeout=120)
        assert self.child.returncode == 0, err
        return out

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.communicate()


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path)
    yield database
    database.drop()


@pytest.fixture
def undisturbed(acme):
    """What the database of this process holds after loading the files one by one."""

    def load(*files):
        for file in files:
            call_command("load_sales", file, json=True)
        with connection.cursor() as cursor:
            return [_fetch(cursor, query) for query in (ROWS, DAYS, SERIES)]

    return load


def write(path, *, first_day, days):
    lines = [
        f"2026-{1 + day // 28:02}-{1 + day % 28:02},{store},p{product},{(day + product) % 4 - (product == 3)}"
        for day in range(first_day, first_day + days)
        for store in "st"
        for product in range(40)
    ]
    path.write_text("date,store_id,product_id,quantity\n" + "\n".join(lines))
    return path


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it took over a minute"
        time.sleep(0.01)


def test_a_killed_load_is_completed_by_the_same_command(database, undisturbed, tmp_path):
    file = write(tmp_path / "sales.csv", first_day=0, days=250)
    load = database.load(file)
    wait_for(lambda: database.count("feed_days") > 20)
    load.kill()
    assert 20 < database.count("feed_days") < 500
    assert database.execute(TORN) == [("0",)]
    database.load(file).check()
    assert database.content() == undisturbed(file)
    assert database.count("feed_days") == 500


def test_two_loads_at_once_both_finish(database, undisturbed, tmp_path):
    early = write(tmp_path / "early.csv", first_day=0, days=60)
    late = write(tmp_path / "late.csv", first_day=50, days=60)
    for load in [database.load(early), database.load(late)]:
        load.check()
    assert database.content() == undisturbed(early, late)
    assert database.execute(TORN) == [("0",)]


@pytest.mark.postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_what_else_is_written_for_the_customer_does_not_wait_for_a_load(acme):
    def write_elsewhere():
        try:
            return Store.objects.create(customer=acme, code="s")
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, bulk.turn(acme):
        assert pool.submit(write_elsewhere).result(timeout=30).pk
