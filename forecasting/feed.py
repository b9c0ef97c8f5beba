"""What a person says about the sales feed: a store was closed on a day, or its sales for it are not to be used."""

import datetime as dt

from django.db.models import QuerySet
from django.utils import timezone

from forecasting.models import FeedDay, Store
from shelfops import tenancy
from shelfops.models import User
from shelfops.refusals import Refusal
from shelfops.tenancy import Action

BY_HAND = (FeedDay.Status.CLOSED, FeedDay.Status.MISSING)


def mark(days: QuerySet[FeedDay], status: FeedDay.Status, *, by: User, note: str) -> int:
    """Marks those of the days that the person may mark, and says how many they were."""
    _check(status, note)
    own = tenancy.scope(days, by, "store__customer", Action.LOAD_DATA)
    keys = FeedDay.objects.filter(pk__in=own.order_by().values("pk"))
    return keys.update(status=status, note=note.strip(), marked_by=by, scored=False, updated_at=timezone.now())


def mark_day(store: Store, date: dt.date, status: FeedDay.Status, *, by: User, note: str) -> FeedDay:
    """Marks one store-day, also one of which nothing is known yet."""
    _check(status, note)
    tenancy.require(by, store.customer, Action.LOAD_DATA)
    defaults = {"status": status, "note": note.strip(), "marked_by": by, "scored": False}
    return FeedDay.objects.update_or_create(store=store, date=date, defaults=defaults)[0]


def _check(status: FeedDay.Status, note: str) -> None:
    if status not in BY_HAND:
        raise Refusal("Only a load makes a day complete. Load the day's sales again.")
    if not note.strip():
        raise Refusal("Say in the note why the day is marked.")
