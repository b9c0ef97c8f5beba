"""How fast `load_sales` is on PostgreSQL, beside a bare COPY of the same rows into a table with the same indexes."""

import io
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from django.db import connection

from benchmarks import database
from benchmarks.measure import benchmark_file, peak_mib, table
from forecasting import catalogue
from forecasting.loading import load_sales
from shelfops.models import Customer

COLUMNS = ("store_id", "product_id", "date", "quantity", "unit_price", "promo")
KEYS = ("date", "store_id", "product_id")
GOAL = 0.5


def main() -> int:
    """Prints the table, and answers 1 where the goal is missed."""
    path = benchmark_file("three_stores")
    with database.of_its_own():
        return _compare(path)


def _compare(path: Path) -> int:
    customer = Customer.objects.create(slug="bench", name="Bench")
    seconds = {"load_sales": _timed(lambda: load_sales(customer, path))}
    peak = peak_mib()
    seconds["load_sales again"] = _timed(lambda: load_sales(customer, path))
    rows = _rows(path)
    by_day = np.lexsort([rows[name].to_numpy() for name in reversed(KEYS)])
    seconds["COPY, in the file's order"] = _copy(rows)
    seconds["COPY, in order of day"] = _copy(rows.take(pa.array(by_day)))
    print(table(*_report(seconds, len(rows))))
    bare = min(took for name, took in seconds.items() if name.startswith("COPY"))
    ratio = bare / seconds["load_sales"]
    print(f"\nload_sales / faster COPY: {ratio:.2f} (goal {GOAL}); peak memory {peak:,.0f} MiB")
    return 0 if ratio >= GOAL else 1


def _report(seconds: dict[str, float], rows: int) -> tuple[Sequence[str], list[list[Any]]]:
    return ["", "seconds", "rows/s"], [[name, took, rows / took] for name, took in seconds.items()]


def _timed(work: Callable[[], object]) -> float:
    with connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _rows(path: Path) -> pa.Table:
    """The file's rows with the ids that they have in the database."""
    customer = Customer.objects.get()
    table = pq.read_table(path).unify_dictionaries()
    ids = {"store_id": catalogue.store_ids(customer), "product_id": catalogue.product_ids(customer)}
    keys = {name: _numbered(table[name].combine_chunks(), known) for name, known in ids.items()}
    price = np.round(table["unit_price"].to_numpy().astype(float), 2)
    values = {"quantity": table["quantity"].cast(pa.float64()), "unit_price": pa.array(price, from_pandas=True)}
    return pa.table({**keys, "date": table["date"], **values, "promo": pa.nulls(len(table), pa.bool_())})


def _numbered(codes: pa.Array, ids: dict[str, int]) -> pa.Array:
    known = np.array([ids[code] for code in codes.dictionary.to_pylist()])
    return pa.array(known[codes.indices.to_numpy()])


def _copy(rows: pa.Table) -> float:
    text = io.BytesIO()
    pyarrow.csv.write_csv(rows.select(COLUMNS), text, pyarrow.csv.WriteOptions(include_header=False))
    text.seek(0)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bare")
        cursor.execute("CREATE TABLE bare (LIKE sales INCLUDING ALL)")
        statement = f"COPY bare ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv)"
        return _timed(lambda: cursor.copy_expert(statement, text, size=1 << 20))


if __name__ == "__main__":
    sys.exit(main())
