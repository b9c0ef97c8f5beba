"""Keeps `Series.first_sold` at the first day with a positive quantity, whatever order files and corrections come in."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from django.db.models import Min

from forecasting import targets
from forecasting.intake.columns import Codes, Days, Floats
from forecasting.models import Sale, Series
from shelfops import bulk
from shelfops.models import Customer

NEVER = np.iinfo(np.int32).max

Places = npt.NDArray[np.int64]


class FirstSales:
    """The first sale of each series in a file; `store` and `product` are the rows' codes into the arrays of ids."""

    def __init__(
        self, customer: Customer, store: Codes, product: Codes, *, store_ids: Places, product_ids: Places
    ) -> None:
        self.customer = customer
        self.store_ids, self.product_ids = pd.Index(store_ids), pd.Index(product_ids)
        self.series, pairs = pd.factorize(self._pair(store, product))
        self.pairs = pd.Index(pairs)
        self.known = self._read()

    def update(self, rows: slice, days: Days, quantity: Floats) -> None:
        """Takes in these rows, just written, which are in order of day."""
        series, days, sold = self.series[rows], days[rows], quantity[rows] > 0
        # What is known may have been the first sale until this row took it back.
        undone = np.unique(series[~sold & (self.known[series] == days)])
        firsts, at = np.unique(series[sold], return_index=True)
        first_days = days[sold][at]
        earlier = first_days < self.known[firsts]
        self._write(firsts[earlier], first_days[earlier])
        self._recount(np.setdiff1d(undone, firsts[earlier]))

    def settle(self, days: Days, quantity: Floats) -> None:
        """Corrects what another load of the same customer changed in between."""
        self.known = self._read()
        sold = quantity > 0
        first = np.full(len(self.pairs), NEVER, dtype=np.int32)
        np.minimum.at(first, self.series[sold], days[sold])
        undone = self.series[~sold & (self.known[self.series] == days)]
        self._recount(np.union1d(np.flatnonzero(first < self.known), undone))

    def _pair(self, store: Codes | Places, product: Codes | Places) -> Places:
        return store.astype(np.int64) * len(self.product_ids) + product

    def _ids(self, series: Places) -> tuple[Places, Places]:
        store, product = np.divmod(self.pairs.to_numpy()[series], len(self.product_ids))
        return self.store_ids.to_numpy()[store], self.product_ids.to_numpy()[product]

    def _read(self) -> Days:
        known = np.full(len(self.pairs), NEVER, dtype=np.int32)
        rows = Series.objects.filter(store__customer=self.customer).order_by()
        found = list(rows.values_list("store_id", "product_id", "first_sold"))
        if found:
            stores, products, first = zip(*found, strict=True)
            store, product = _places(self.store_ids, stores), _places(self.product_ids, products)
            places = np.where((store < 0) | (product < 0), -1, _places(self.pairs, self._pair(store, product)))
            at = np.array(first, dtype="datetime64[D]").astype(np.int32)
            known[places[places >= 0]] = at[places >= 0]
        return known

    def _write(self, series: Places, days: Days) -> None:
        if not len(series):
            return
        columns = [*self._ids(series), pa.array(days, pa.int32()).cast(pa.date32())]
        bulk.upsert(targets.SERIES, pa.table(columns, names=list(targets.SERIES.columns)))
        self.known[series] = days

    def _recount(self, series: Places) -> None:
        """Looks the first sale up in the sales themselves."""
        for place, *ids in zip(series.tolist(), *self._ids(series), strict=True):
            store, product = map(int, ids)
            mine = Series.objects.filter(store_id=store, product_id=product)
            sales = Sale.objects.of_series(store, product).filter(quantity__gt=0)
            first: dt.date | None = sales.aggregate(first=Min("date"))["first"]
            if first is None:
                mine.delete()
            else:
                Series.objects.update_or_create(store_id=store, product_id=product, defaults={"first_sold": first})
            self.known[place] = NEVER if first is None else np.datetime64(first, "D").astype(np.int32)


def _places(index: pd.Index, values: Sequence[int] | Places) -> Places:
    """Where in the index each value stands, -1 where it does not."""
    return index.get_indexer(pd.Index(values)).astype(np.int64)
