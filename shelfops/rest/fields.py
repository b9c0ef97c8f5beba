"""Fields that the serializers of all apps use."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from shelfops.rest.filtering import A_DAY, day


def email(**kwargs: Any) -> serializers.EmailField:
    """Who did it; null is the system. The queryset has to select the person, or their address as `source`."""
    kwargs.setdefault("help_text", "Null: nobody yet, or the system.")
    return _Email(read_only=True, allow_null=True, **kwargs)


class _Email(serializers.EmailField):
    def to_representation(self, value: Any) -> str:
        return value if isinstance(value, str) else str(value.email)


@extend_schema_field({"type": "string", "format": "date"})
class DayField(serializers.Field):
    """A day as 2026-03-01."""

    def to_internal_value(self, data: Any) -> dt.date:
        try:
            return day(str(data))
        except ValueError:
            raise serializers.ValidationError(A_DAY) from None

    def to_representation(self, value: dt.date) -> str:
        return value.isoformat()


class MomentField(serializers.DateTimeField):
    """As the stock field shows it where the site's zone is UTC, in a tenth of the time."""

    def to_representation(self, value: dt.datetime) -> str:
        return value.astimezone(dt.UTC).isoformat().removesuffix("+00:00") + "Z"


class Row(serializers.Serializer):
    """What is only ever shown: how each field is read is found out once, not for each row of each page.

    Every row has every field: one for writing only is refused, and an attribute that is missing is an error.
    """

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return _reading(type(self)).of(instance)


class ModelRow(Row, serializers.ModelSerializer):
    """The same of a model's row."""

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        models.DateTimeField: MomentField
    }


Reader = Callable[[Any], Any]
# A column of these holds what is shown.
AS_STORED = {
    serializers.CharField,
    serializers.ChoiceField,
    serializers.BooleanField,
    serializers.IntegerField,
    serializers.JSONField,
}


class _Reading:
    """How rows of one class are read: the columns that are shown as they are in one go, then one by one."""

    def __init__(self, shown: type[Row]) -> None:
        fields = {str(name): field for name, field in shown().fields.items()}
        if hidden := [name for name, field in fields.items() if field.write_only]:
            raise TypeError(f"{shown.__name__} only shows: {', '.join(hidden)} cannot be for writing only.")
        model = getattr(getattr(shown, "Meta", None), "model", None)
        columns = {column.name: column for column in model._meta.concrete_fields} if model else {}
        sources = {column.attname for column in columns.values()}
        self.empty = dict.fromkeys(fields)
        self.names = [name for name, one in fields.items() if type(one) in AS_STORED and one.source in sources]
        self.stored = _attributes([str(fields[name].source) for name in self.names])
        self.readers = {name: _reader(one, columns) for name, one in fields.items() if name not in self.names}

    def of(self, row: Any) -> dict[str, Any]:
        shown = self.empty | dict(zip(self.names, self.stored(row), strict=True))
        for name, read in self.readers.items():
            shown[name] = read(row)
        return shown


_reading = cache(_Reading)


def _attributes(names: list[str]) -> Reader:
    return attrgetter(*names) if len(names) > 1 else lambda row: [getattr(row, name) for name in names]


def _reader(field: serializers.Field, columns: Mapping[str, models.Field]) -> Reader:
    get: Reader = field.get_attribute
    show, source = field.to_representation, str(field.source)
    column = columns.get(source)
    if column is not None and column.is_relation:  # its key says sooner that there is nobody
        key = attrgetter(column.attname)
        return lambda row: None if key(row) is None else show(get(row))
    if source == "*":
        return show
    if column is not None:
        get = attrgetter(source)

    def read(row: Any) -> Any:
        value = get(row)
        return None if value is None else show(value)

    return read


class ChoiceField(serializers.ChoiceField):
    """One of some values; another one is told which there are."""

    def __init__(self, choices: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(choices, **kwargs)
        self.error_messages["invalid_choice"] = f"Give one of: {', '.join(self.choices)}."


class TextField(serializers.CharField):
    """Text; the stock field takes a number for it."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class Body(serializers.Serializer):
    """A body of which every field means something: a misspelt one is refused, never ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(self.fields)
            raise serializers.ValidationError({name: [f"There is no such field. Known: {known}."] for name in unknown})
        return super().to_internal_value(data)
