"""Fields that the serializers of all apps use."""

import datetime as dt
from collections.abc import Callable, Sequence
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
    """What is only ever shown: how each field is read is found out once, not for each row of each page."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        return {name: read(instance) for name, read in _readers(type(self))}


class ModelRow(Row, serializers.ModelSerializer):
    """The same of a model's row."""

    serializer_field_mapping = serializers.ModelSerializer.serializer_field_mapping | {
        models.DateTimeField: MomentField
    }


Reader = Callable[[Any], Any]


@cache
def _readers(shown: type[Row]) -> list[tuple[str, Reader]]:
    return [(str(field.field_name), _reader(field)) for field in shown().fields.values()]


def _reader(field: serializers.Field) -> Reader:
    get: Reader = field.get_attribute
    show, source = field.to_representation, str(field.source)
    model = getattr(getattr(field.parent, "Meta", None), "model", None)
    if model is not None and source in {column.attname for column in model._meta.concrete_fields}:
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
