"""Fields that the serializers of all apps use."""

import datetime as dt
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from shelfops.rest.filtering import A_DAY, day


def email(**kwargs: Any) -> serializers.EmailField:
    """Who did it; null is the system. The queryset has to select the person."""
    kwargs.setdefault("help_text", "Null: nobody yet, or the system.")
    return _Email(read_only=True, allow_null=True, **kwargs)


class _Email(serializers.EmailField):
    def to_representation(self, value: Any) -> str:
        return str(value.email)


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


class Body(serializers.Serializer):
    """A body of which every field means something: a misspelt one is refused, never ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(self.fields)
            raise serializers.ValidationError({name: [f"There is no such field. Known: {known}."] for name in unknown})
        return super().to_internal_value(data)
