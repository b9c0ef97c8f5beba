"""What lists are filtered by: days, choices and names; what is misspelt is refused, never ignored."""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import django_filters
from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema_field
from rest_framework.exceptions import ValidationError

FIRST_DAY, LAST_DAY = dt.date(1970, 1, 1), dt.date(2199, 12, 31)
ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
A_DAY = f"Write a day as 2026-03-01, from {FIRST_DAY.year} to {LAST_DAY.year}."


def day(text: str) -> dt.date:
    """Raises ValueError for whatever is not a day as 2026-03-01."""
    if not ISO_DAY.fullmatch(text):
        raise ValueError(A_DAY)
    found = dt.date.fromisoformat(text)
    if not FIRST_DAY <= found <= LAST_DAY:
        raise ValueError(A_DAY)
    return found


class DayField(forms.Field):
    """A day in a query."""

    def to_python(self, value: Any) -> dt.date | None:
        if value in self.empty_values:
            return None
        try:
            return day(value)
        except ValueError:
            raise forms.ValidationError(A_DAY) from None


@extend_schema_field({"type": "string", "format": "date"})
class DayFilter(django_filters.Filter):
    """Rows from a day on, or up to it; timestamps are read in the customer's time zone."""

    field_class = DayField

    def __init__(self, field_name: str, *, last: bool = False, moments: bool = False, **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr="lte" if last else "gte", **kwargs)
        self.last, self.moments = last, moments

    def filter(self, qs: QuerySet[Any], value: dt.date | None) -> QuerySet[Any]:
        if value is None or not self.moments:
            return super().filter(qs, value)
        zone = ZoneInfo(self.parent.request.customer.timezone)
        first = dt.datetime.combine(value + dt.timedelta(days=1 if self.last else 0), dt.time.min, zone)
        return qs.filter(**{f"{self.field_name}__{'lt' if self.last else 'gte'}": first})


@extend_schema_field({"type": "string", "minLength": 1})
class TextFilter(django_filters.CharFilter):
    """Rows with this very text."""


class ChoiceFilter(django_filters.ChoiceFilter):
    """Rows with one of these values; another one is told which there are."""

    def __init__(self, field_name: str | None = None, *, choices: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        told = {"invalid_choice": f"Give one of: {', '.join(key for key, _ in choices)}."}
        super().__init__(field_name, choices=choices, error_messages=told, **kwargs)


class NumberFilter(django_filters.NumberFilter):
    """Rows with this whole number, from 1 on."""

    field_class = forms.IntegerField

    def __init__(self, field_name: str, **kwargs: Any) -> None:
        super().__init__(field_name, min_value=1, max_value=2**62, **kwargs)


class YesField(forms.Field):
    """true or false; the stock field takes anything else for no answer."""

    def to_python(self, value: Any) -> bool | None:
        if value in self.empty_values:
            return None
        if value not in ("true", "false"):
            raise forms.ValidationError("Write true or false.")
        return bool(value == "true")


@extend_schema_field({"type": "boolean"})
class YesFilter(django_filters.Filter):
    """Rows of which something holds, or does not."""

    field_class = YesField


class Ordering(django_filters.OrderingFilter):
    """Ties are broken by the key, so that no row is on two pages."""

    def __init__(self, *, fields: Sequence[str], **kwargs: Any) -> None:
        told = {"invalid_choice": f"Give one of: {', '.join(fields)}; with - before it the other way round."}
        super().__init__(fields=[(name, name) for name in fields], error_messages=told, **kwargs)

    def filter(self, qs: QuerySet[Any], value: list[str] | None) -> QuerySet[Any]:
        ordered: QuerySet[Any] = super().filter(qs, value)
        return ordered.order_by(*ordered.query.order_by, "-pk") if value else ordered


class Filters(FilterSet):
    """The base of all; a subclass with `days` names the field that `from` and `to` are about."""

    base_filters: dict[str, Any]
    days: ClassVar[str] = ""
    moments: ClassVar[bool] = False  # `days` is a timestamp

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        # The stock class copies every filter for each request; one that nobody asks for narrows nothing.
        if data is not None:
            self.base_filters = {name: one for name, one in self.base_filters.items() if name in data}
        super().__init__(data, *args, **kwargs)

    @property
    def form(self) -> forms.Form:
        """As the stock one, which makes a class for each request."""
        if not hasattr(self, "_form"):
            self._form = forms.Form(self.data)
            self._form.fields = {name: one.field for name, one in self.filters.items()}
        return self._form

    @classmethod
    def get_filters(cls) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters()
        if cls.days:
            found["from"] = DayFilter(cls.days, moments=cls.moments)
            found["to"] = DayFilter(cls.days, last=True, moments=cls.moments)
        return found


def check_parameters(given: QueryDict, known: Iterable[str]) -> None:
    """Raises ValidationError for names that are unknown or given twice, and for values that are empty."""
    allowed = sorted(known)
    advice = f"Known here: {', '.join(allowed)}." if allowed else "Nothing can be asked here."
    errors = {name: [f"There is no such parameter. {advice}"] for name in given if name not in allowed}
    errors |= {name: ["It is empty: give a value or leave it out."] for name in given if not given[name]}
    errors |= {name: ["It is given more than once: give one value."] for name, all_ in given.lists() if len(all_) > 1}
    if errors:
        raise ValidationError(errors)
