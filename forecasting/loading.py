"""Brings a file of sales into the database: all of a store's day or nothing of it, and the same again if repeated."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from django.conf import settings
from django.db.models import Count

from forecasting import catalogue, coverage, targets
from forecasting.first_sales import FirstSales, Places
from forecasting.intake.columns import UNKNOWN, Days, to_date
from forecasting.intake.files import UnusableFile
from forecasting.intake.rejects import Rejects
from forecasting.intake.sales import SalesFile, read_sales
from forecasting.models import Sale
from shelfops import bulk
from shelfops.models import Customer
from shelfops.refusals import Refusal

Report = dict[str, Any]
Advance = Callable[[int, int], None]

SHOWN = 10


def load_sales(
    customer: Customer,
    path: Path,
    *,
    strict: bool = False,
    rejects_path: Path | None = None,
    advance: Advance = lambda done, total: None,
) -> Report:
    """Loads what is good of the file and reports it; raises Refusal, having changed nothing, where nothing can be."""
    started = time.perf_counter()
    with refusing_unusable_files():
        file = read_sales(path, zone=ZoneInfo(customer.timezone), today=customer.real_today())
    rejected = put_rejects(customer, file.rejects, file.accepted, strict=strict, path=rejects_path)
    new = _put_catalogue(customer, file)
    load = _Load(customer, file)
    load.run(advance)
    bulk.refresh_statistics()
    seconds = time.perf_counter() - started
    return {
        **counts(path, file.read, file.accepted, rejected, seconds),
        "keys": len(file.daily),
        **new,
        **_days(customer, load.days.dates),
        "warnings": [
            *_conflicts(file),
            *_gaps(load),
            *_unreadable(load),
            *_reopened(load),
            *_without_department(customer, file),
            *_to_come(customer, load.days.dates),
        ],
        "ignored_columns": file.source.ignored,
    }


@contextmanager
def refusing_unusable_files() -> Iterator[None]:
    """What the pure modules say of a file becomes the product's refusal."""
    try:
        yield
    except UnusableFile as error:
        raise Refusal(str(error)) from None


def put_rejects(customer: Customer, rejects: Rejects, accepted: int, *, strict: bool, path: Path | None) -> Report:
    """Writes the rejects file and reports it; raises Refusal where nothing is good, or not everything if `strict`."""
    source = rejects.source.path
    path = path or settings.REJECTS_DIR / customer.slug / f"{source.name}.rejects.csv"
    if not len(rejects):
        path.unlink(missing_ok=True)
        return {"rejected": 0, "rejected_by_reason": {}, "rejects_file": None, "first_rejects": []}
    _write_rejects(rejects, path)
    reasons = rejects.by_reason()
    first = rejects.first(SHOWN)
    if strict or not accepted:
        line, reason = first[0]
        found = f"{len(rejects)} of {len(rejects) + accepted} rows" if accepted else f"none of the {len(rejects)} rows"
        verb = "are not good" if accepted else "is good"
        raise Refusal(f"Nothing was loaded: {found} {verb}, first line {line}: {reason}. All of them: {path}")
    return {
        "rejected": len(rejects),
        "rejected_by_reason": reasons,
        "rejects_file": str(path),
        "first_rejects": [{"line": line, "reason": reason} for line, reason in first],
    }


def _write_rejects(rejects: Rejects, path: Path) -> None:
    try:
        if path.parent.parent == settings.REJECTS_DIR:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        rejects.write(path)
    except OSError as error:
        raise Refusal(
            f"The rejects file {path} cannot be written: {error.strerror}. Name another: --rejects."
        ) from None


def counts(path: Path, read: int, accepted: int, rejected: Report, seconds: float) -> Report:
    """The part of the report that every kind of load has."""
    return {
        "file": str(path),
        "seconds": round(seconds, 2),
        "rows_per_second": round(read / seconds),
        "read": read,
        "accepted": accepted,
        **rejected,
    }


def _put_catalogue(customer: Customer, file: SalesFile) -> Report:
    labels = dict(zip(file.products, zip(file.departments.values, file.categories.values, strict=True), strict=True))
    reason = f"loaded with {file.source.path.name}"[:100]

    def put() -> Report:
        with bulk.turn(customer):
            return {
                "new_stores": catalogue.add_stores(customer, file.stores, reason=reason),
                "new_products": catalogue.put_products(customer, labels, reason=reason),
            }

    return bulk.patiently(put)


class _Load:
    """One file on its way in, in batches of whole store-days."""

    def __init__(self, customer: Customer, file: SalesFile) -> None:
        self.customer, self.file = customer, file
        self.store_ids = _ids(catalogue.store_ids(customer), file.stores)
        self.product_ids = _ids(catalogue.product_ids(customer), file.products)
        self.days = coverage.StoreDays(customer, file, self.store_ids)
        self.date, self.quantity = file.daily["date"].to_numpy(), file.daily["quantity"].to_numpy()
        self.first = FirstSales(
            customer,
            file.daily["store"].to_numpy(),
            file.daily["product"].to_numpy(),
            store_ids=self.store_ids,
            product_ids=self.product_ids,
        )
        self.reopened: set[coverage.StoreDay] = set()

    def run(self, advance: Advance) -> None:
        """Writes everything; whatever the moment at which it dies, running it again completes it."""
        for batch in self.days.batches(bulk.batch_rows()):
            rows = self.days.rows(batch[0], batch[-1])
            bulk.patiently(partial(self._write, batch, rows, self._table(rows)))
            advance(rows.stop, len(self.date))
        bulk.patiently(self._settle)

    def _table(self, rows: slice) -> pa.Table:
        part = self.file.daily.iloc[rows]
        promo = part["promo"].to_numpy()
        return pa.table(
            {
                "store_id": self.store_ids[part["store"]],
                "product_id": self.product_ids[part["product"]],
                "date": pa.array(part["date"].to_numpy(), pa.int32()).cast(pa.date32()),
                "quantity": part["quantity"].to_numpy(),
                "unit_price": pa.array(part["unit_price"].to_numpy(), from_pandas=True),
                "promo": pa.array(promo == 1, mask=promo == UNKNOWN),
            }
        )

    def _write(self, batch: Places, rows: slice, table: pa.Table) -> None:
        with bulk.turn(self.customer):
            sales = Sale.objects.filter(store__in=self.days.stores(batch), date__range=self.days.span(batch)).order_by()
            counted: dict[coverage.StoreDay, int] | None = None
            if sales.exists():
                coverage.put_unscored(bulk.correct(targets.SALES, table, ("store_id", "date")))
                found = sales.values_list("store_id", "date").annotate(rows=Count("id"))
                counted = {(store, date): count for store, date, count in found}
            else:
                bulk.insert(targets.SALES, table)
            self.first.update(rows, self.date, self.quantity)
            self._cover(batch, counted)

    def _cover(self, batch: Places, counted: dict[coverage.StoreDay, int] | None) -> None:
        """Marks the batch's store-days as complete; a closed one only if something was sold on it."""
        known = coverage.known_days(self.days.stores(batch), self.days.span(batch))
        complete = []
        for number in batch.tolist():
            key, rows = self.days.key(number), self.days.rows(number)
            if known.get(key, ("", 0))[0] == coverage.CLOSED:
                if not (self.quantity[rows] > 0).any():
                    continue
                self.reopened.add(key)
            count = rows.stop - rows.start if counted is None else counted.get(key, 0)
            if known.get(key) != (coverage.COMPLETE, count):
                complete.append((key, count))
        coverage.put_complete(complete)

    def _settle(self) -> None:
        with bulk.turn(self.customer):
            self.first.settle(self.date, self.quantity)


def _ids(known: dict[str, int], codes: list[str]) -> Places:
    return np.array([known[code] for code in codes], dtype=np.int64)


def _days(customer: Customer, dates: Days) -> Report:
    missing = coverage.missing_dates(customer, dates)
    return {
        "first_date": to_date(dates[0]),
        "last_date": to_date(dates[-1]),
        "days": len(dates),
        "missing_days": len(missing),
        "first_missing_days": missing[:SHOWN],
    }


def _conflicts(file: SalesFile) -> Iterator[str]:
    for name, attribute in (("departments", file.departments), ("categories", file.categories)):
        if attribute.conflicts:
            yield f"several {name} for product {_some(attribute.conflicts)}; the last one in the file holds"


def _gaps(load: _Load) -> Iterator[str]:
    """Stores that lack rows in the middle of the file."""
    names = dict(zip(load.store_ids.tolist(), load.file.stores, strict=True))
    gaps = sorted(((-count, names[store]) for store, count in coverage.empty_days(load.days).items()))
    for count, store in gaps[:SHOWN]:
        yield (
            f"store {store} has no row on {-count} of the file's dates; "
            "they count as days without a sale; mark them closed if it was shut"
        )
    if len(gaps) > SHOWN:
        yield f"{len(gaps) - SHOWN} more stores have no row on some of the file's dates"


def _unreadable(load: _Load) -> Iterator[str]:
    if len(load.days.unreadable):
        names = dict(zip(load.store_ids.tolist(), load.file.stores, strict=True))
        days = [f"{names[store]} on {date}" for store, date in map(load.days.key, load.days.unreadable.tolist())]
        yield f"all rows of {_some(days)} were rejected; these days stay missing until their rows are loaded"


def _reopened(load: _Load) -> Iterator[str]:
    names = dict(zip(load.store_ids.tolist(), load.file.stores, strict=True))
    if load.reopened:
        days = [f"{names[store]} on {date}" for store, date in sorted(load.reopened)]
        yield f"{_some(days)} had been marked closed; the file has sales, so they are complete now"


def _without_department(customer: Customer, file: SalesFile) -> Iterator[str]:
    lost = sorted(set(file.categories.values) & set(catalogue.categories_without_department(customer)))
    if lost:
        yield f"no department for category {_some(lost)}; name it in the table of categories to departments"


def _to_come(customer: Customer, dates: Days) -> Iterator[str]:
    """Days that only a customer whose clock is fixed can have before it."""
    if customer.clock and (last := to_date(dates[-1])) >= customer.clock:
        yield f"{customer}'s clock is fixed at {customer.clock}: the days from then to {last} count when it gets there"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
