"""What an audit finds: faults by name, a bounded number of each, and how much was looked at."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

MOST_OF_A_KIND = 20
LEASES_OF_SILENCE = 3  # a run that has just died is closed by the next one and is no fault yet


@dataclass(frozen=True)
class Fault:
    """What is wrong, with which row, and what to do about it."""

    name: str
    subject: str
    message: str
    advice: str


@dataclass(frozen=True)
class Audit:
    """All faults found, and how many of what were looked at."""

    faults: tuple[Fault, ...]
    checked: dict[str, int]

    def __add__(self, other: "Audit") -> "Audit":
        return Audit(self.faults + other.faults, self.checked | other.checked)


def each(rows: "QuerySet[Any]", tell: Callable[[Any], Fault]) -> Iterator[Fault]:
    """One fault for each of the first rows, and one that counts the others; one query, two where there are others."""
    found = list(rows[: MOST_OF_A_KIND + 1])
    yield from map(tell, found[:MOST_OF_A_KIND])
    if len(found) > MOST_OF_A_KIND:
        others = rows.count() - MOST_OF_A_KIND
        yield replace(tell(found[-1]), subject=f"{others} more", message="The same is wrong with them.")


def silent_since() -> dt.datetime:
    """Who has given no sign of life since then is not at work any more."""
    return timezone.now() - dt.timedelta(seconds=LEASES_OF_SILENCE * settings.JOB_LEASE_SECONDS)
