"""How far off the forecasts that served were, added up in SQL over the two windows that drift is measured on."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Abs

from forecasting import public_holidays
from forecasting.models import CategoryDepartment, FeedDay, Forecast, Series, Store
from mlops import routing
from mlops.models import GLOBAL, ModelPolicy
from shelfops.models import Customer

# What adds up over rows: absolute errors of forecast and seasonal naive, errors and units.
SUMS = {
    "rows": Count("id"),
    "absolute": Sum(Abs(F("prediction") - F("actual"))),
    "naive": Sum(Abs(F("seasonal_naive") - F("actual"))),
    "naive_rows": Count("seasonal_naive"),
    "error": Sum(F("prediction") - F("actual")),
    "units": Sum("actual"),
}


class State(StrEnum):
    """What the feed and the calendar say of a customer's day."""

    COUNTS = "counts"
    CLOSED = "closed"
    HOLIDAY = "holiday"
    MISSING = "missing"


@dataclass(frozen=True)
class Windows:
    """The recent days up to the last complete one, and the baseline right before them. All dates are inclusive."""

    first_day: dt.date
    recent_from: dt.date
    last_day: dt.date

    @classmethod
    def until(cls, last_day: dt.date, policy: ModelPolicy) -> "Windows":
        """The policy's windows that end on this day."""
        recent_from = last_day - dt.timedelta(days=policy.drift_recent_days - 1)
        return cls(recent_from - dt.timedelta(days=policy.drift_baseline_days), recent_from, last_day)

    @property
    def baseline_to(self) -> dt.date:
        return self.recent_from - dt.timedelta(days=1)

    @property
    def days(self) -> list[dt.date]:
        return [self.first_day + dt.timedelta(days=n) for n in range((self.last_day - self.first_day).days + 1)]


# --- Days


def calendar(customer: Customer, windows: Windows, policy: ModelPolicy) -> pd.DataFrame:
    """The `state` of each day of both windows, and a `note`: the holiday's name."""
    holidays = public_holidays.listed(customer.country, windows.first_day, windows.last_day)
    table = pd.DataFrame({"state": _feed_states(customer, windows, policy)}, index=pd.Index(windows.days, name="date"))
    table.loc[table.index.isin(list(holidays)), "state"] = State.HOLIDAY
    table["note"] = [holidays.get(day, "") for day in table.index]
    return table


def feed(customer: Customer, windows: Windows, policy: ModelPolicy) -> pd.DataFrame:
    """The feed's status of each active store (rows) and day of both windows (columns).

    A store-day without a row is missing, one before the store's first covered day is "". A store is active when it was
    covered within the `active_days` up to the last day.
    """
    since = min(windows.first_day, windows.last_day - dt.timedelta(days=policy.active_days - 1))
    known = FeedDay.objects.filter(store__customer=customer, date__range=(since, windows.last_day)).order_by()
    rows = pd.DataFrame.from_records(known.values_list("store_id", "date", "status"), columns=["store", "date", "is"])
    covered = rows[rows["is"] == FeedDay.Status.COMPLETE].groupby("store")["date"].agg(["min", "max"])
    active = covered[covered["max"] > windows.last_day - dt.timedelta(days=policy.active_days)]
    table = rows.pivot(index="store", columns="date", values="is").reindex(index=active.index, columns=windows.days)
    begun = np.array(windows.days)[None, :] >= active["min"].to_numpy()[:, None]
    return table.fillna(FeedDay.Status.MISSING.value).where(begun, "")


def _feed_states(customer: Customer, windows: Windows, policy: ModelPolicy) -> list[State]:
    """A day counts when enough stores are covered or closed; one on which all of those are closed is closed."""
    table = feed(customer, windows, policy)
    complete, closed = ((table == status).sum() for status in (FeedDay.Status.COMPLETE, FeedDay.Status.CLOSED))
    enough = (complete + closed > 0) & (complete + closed >= policy.complete_day_share * (table != "").sum())
    states = np.select([enough & (complete > 0), enough], [State.COUNTS, State.CLOSED], State.MISSING)
    return [State(state) for state in states]


# --- Rows


def rows(customer: Customer, windows: Windows) -> "QuerySet[Forecast]":
    """The forecasts one day ahead that served in the windows, whichever version made them, and whose actual is in.

    Without those that a version made of a day that it was trained on.
    """
    days = (windows.first_day, windows.last_day)
    known = Forecast.objects.one_day_ahead(customer).filter(date__range=days, actual__isnull=False)
    return known.filter(version__train_end__lt=F("date")).order_by()


def by_day(customer: Customer, windows: Windows, days: pd.DataFrame) -> pd.DataFrame:
    """The calendar's days with SUMS over all rows: one aggregate, however many rows there are."""
    found = rows(customer, windows).values("date").annotate(**SUMS)
    return on_calendar(pd.DataFrame.from_records(list(found), columns=["date", *SUMS]), days)


def on_calendar(cells: pd.DataFrame, days: pd.DataFrame) -> pd.DataFrame:
    """The calendar's days with SUMS of these cells, 0 where a day has none."""
    added = cells.groupby("date")[list(SUMS)].sum().astype(float)
    return days.join(added.reindex(days.index, fill_value=0.0))


def cells(customer: Customer, windows: Windows, segments: Sequence[str], *, as_of: dt.date) -> dict[str, pd.DataFrame]:
    """For each segment SUMS by date, store_id and department of the series that today's routing gives to it.

    Whoever served them then: so a new champion of one segment does not change what another is compared on.
    """
    found = rows(customer, windows)
    if any(routing.parts(segment)[0] is routing.Kind.LIFECYCLE for segment in segments):
        mature = Q(_mature_on(as_of, ModelPolicy.of(customer)))
        parts = {routing.Lifecycle.MATURE: found.filter(mature), routing.Lifecycle.NEW: found.filter(~mature)}
    else:
        parts = {routing.Lifecycle.MATURE: found}
    table = pd.concat(
        [_cells(customer, part).assign(lifecycle=age.value) for age, part in parts.items()], ignore_index=True
    )
    place = routing.resolve(segments, table)
    return {segment: table[place == at] for at, segment in enumerate(segments)}


def _mature_on(day: dt.date, policy: ModelPolicy) -> Exists:
    old_since = day - dt.timedelta(days=policy.new_item_days)
    return Exists(
        Series.objects.filter(store=OuterRef("store"), product=OuterRef("product"), first_sold__lte=old_since)
    )


def _cells(customer: Customer, found: "QuerySet[Forecast]") -> pd.DataFrame:
    # The category tells only where the product itself names no department: finer groups would be as many as rows.
    category = Case(When(product__department="", then=F("product__category")), default=Value(""))
    keys = ["date", "store_id", "product__department", "category"]
    grouped = found.annotate(category=category).values(*keys).annotate(**SUMS)
    table = pd.DataFrame.from_records(list(grouped), columns=[*keys, *SUMS])
    listed = dict(CategoryDepartment.objects.filter(customer=customer).values_list("category", "department"))
    from_category = table["category"].map(listed).fillna("")
    table["department"] = table["product__department"].where(table["product__department"] != "", from_category)
    clusters = dict(Store.objects.filter(customer=customer).values_list("id", "cluster"))
    table["store_cluster"] = table["store_id"].map(clusters)
    table[list(SUMS)] = table[list(SUMS)].astype(float).fillna(0.0)
    return table.drop(columns=keys[2:])


def by_segment(
    customer: Customer, windows: Windows, days: pd.DataFrame, segments: Sequence[str], *, as_of: dt.date
) -> dict[str, pd.DataFrame]:
    """`by_day` for each segment."""
    if list(segments) == [GLOBAL]:
        return {GLOBAL: by_day(customer, windows, days)}
    return {
        segment: on_calendar(table, days) for segment, table in cells(customer, windows, segments, as_of=as_of).items()
    }
