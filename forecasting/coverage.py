"""Which days of which stores a load has covered, and what of its time span is not in."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from django.db.models import Min
from django.utils import timezone

from forecasting.intake.columns import Codes, Days, to_date, to_day
from forecasting.intake.sales import SalesFile
from forecasting.models import FeedDay
from shelfops.models import Customer

StoreDay = tuple[int, dt.date]
Places = npt.NDArray[np.int64]

COMPLETE, CLOSED = FeedDay.Status.COMPLETE, FeedDay.Status.CLOSED


class StoreDays:
    """The file's store-days in order of day and store, numbered `date * stores + store`, and the rows of each."""

    def __init__(self, customer: Customer, file: SalesFile, store_ids: Places) -> None:
        self.store_ids = store_ids
        day, store = file.daily["date"].to_numpy(), file.daily["store"].to_numpy()
        self.dates: Days
        self.dates, place = np.unique(day, return_inverse=True)
        sizes = np.bincount(place * len(store_ids) + store, minlength=len(self.dates) * len(store_ids))
        self.ends = np.cumsum(sizes)
        self.starts = self.ends - sizes
        known = self.dates[:, None] >= _since(customer, file.stores, day, store)[None, :]
        unreadable = self._unreadable(file, sizes)
        self.covered = np.flatnonzero(known.ravel() & ~unreadable)
        self.unreadable = np.flatnonzero(unreadable)

    def _unreadable(self, file: SalesFile, sizes: Places) -> npt.NDArray[np.bool_]:
        """Store-days of which every row was rejected: what was sold on them is not known to be nothing."""
        spoiled = file.spoiled[file.spoiled["date"].isin(self.dates)]
        place = np.searchsorted(self.dates, spoiled["date"].to_numpy())
        unreadable = np.zeros(len(sizes), dtype=bool)
        unreadable[place * len(self.store_ids) + spoiled["store"].to_numpy()] = True
        return unreadable & (sizes == 0)

    def rows(self, first: int, last: int | None = None) -> slice:
        """Where the rows of a store-day, or of a range of them, stand in the file."""
        return slice(int(self.starts[first]), int(self.ends[first if last is None else last]))

    def key(self, number: int) -> StoreDay:
        place, store = divmod(int(number), len(self.store_ids))
        return int(self.store_ids[store]), to_date(self.dates[place])

    def span(self, numbers: Places) -> tuple[dt.date, dt.date]:
        return self.key(numbers[0])[1], self.key(numbers[-1])[1]

    def stores(self, numbers: Places) -> list[int]:
        return self.store_ids[np.unique(numbers % len(self.store_ids))].tolist()

    def batches(self, limit: int) -> list[Places]:
        """Covered store-days in order, whole dates together unless one date alone exceeds the limit of rows."""
        weight = np.cumsum((self.ends - self.starts)[self.covered] + 1)
        date = self.covered // len(self.store_ids)
        batches, begin = [], 0
        while begin < len(weight):
            done = weight[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(weight, done + limit, side="right")))
            if end < len(weight) and (whole := int(np.searchsorted(date, date[end]))) > begin:
                end = whole
            batches.append(self.covered[begin:end])
            begin = end
        return batches

    def without_rows(self) -> set[StoreDay]:
        empty = self.covered[self.starts[self.covered] == self.ends[self.covered]]
        return {self.key(number) for number in empty}


def _since(customer: Customer, stores: list[str], day: Days, store: Codes) -> Days:
    """The first day of each store: in the file, or earlier if an earlier load brought one."""
    first = np.full(len(stores), np.iinfo(np.int32).max, dtype=np.int32)
    np.minimum.at(first, store, day)
    known = FeedDay.objects.filter(store__customer=customer).values_list("store__code").annotate(first=Min("date"))
    earlier = dict(known.order_by())
    return np.array(
        [min(at, to_day(earlier.get(code, to_date(at)))) for code, at in zip(stores, first.tolist(), strict=True)]
    )


def known_days(stores: list[int], span: tuple[dt.date, dt.date]) -> dict[StoreDay, tuple[str, int]]:
    """Status and rows of the store-days that are known."""
    days = FeedDay.objects.filter(store__in=stores, date__range=span).order_by()
    found = days.values_list("store_id", "date", "status", "rows")
    return {(store, date): (status, rows) for store, date, status, rows in found}


def put_complete(days: Iterable[tuple[StoreDay, int]]) -> None:
    """Marks the days as complete with so many rows, over whatever a person had marked."""
    now = timezone.now()
    FeedDay.objects.bulk_create(
        [
            FeedDay(store_id=store, date=date, status=COMPLETE, rows=rows, updated_at=now)
            for (store, date), rows in days
        ],
        batch_size=2_000,
        update_conflicts=True,
        unique_fields=["store", "date"],
        update_fields=["status", "rows", "note", "scored", "marked_by", "updated_at"],
    )


def put_unscored(days: Iterable[tuple[int, dt.date | str]]) -> None:
    """Has these store-days scored again: their sales have been corrected."""
    stores: dict[dt.date | str, list[int]] = {}
    for store, date in days:
        stores.setdefault(date, []).append(store)
    for date, those in stores.items():
        FeedDay.objects.filter(date=date, store__in=those, scored=True).update(scored=False)


def missing_dates(customer: Customer, dates: Days) -> list[dt.date]:
    """Dates between the first and the last of these that neither they nor any earlier load cover."""
    span = to_date(dates[0]), to_date(dates[-1])
    known = FeedDay.objects.filter(store__customer=customer, date__range=span, status__in=[COMPLETE, CLOSED])
    covered = {to_day(date) for date in known.order_by().values_list("date", flat=True).distinct()}
    between = np.setdiff1d(np.arange(dates[0], dates[-1]), dates)
    return [to_date(day) for day in between.tolist() if day not in covered]


def empty_days(days: StoreDays) -> Counter[int]:
    """How many days each store has that the file covers without a row, and no earlier load filled either."""
    known = known_days(days.store_ids.tolist(), days.span(days.covered))
    return Counter(key[0] for key in days.without_rows() if known.get(key) == (COMPLETE, 0))
