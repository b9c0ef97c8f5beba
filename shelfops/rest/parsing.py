"""JSON bodies as the database can hold them."""

import math
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request

DEEPEST = 20


class StrictJSONParser(JSONParser):
    """Refuses what no column takes: NUL bytes, halves of a character, infinite numbers, nesting without end."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise _too_deep() from None
        _check(data, DEEPEST)
        return data


def _check(value: Any, depth: int) -> None:
    if depth < 0:
        raise _too_deep()
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ParseError("The body holds a number that is too large to be stored.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_text(name)
            _check(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, depth - 1)


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ParseError("The body holds a NUL byte or half a character, which cannot be stored.")


def _too_deep() -> ParseError:
    return ParseError(f"The body is nested too deeply: at most {DEEPEST} levels.")


def body_of(request: Request) -> dict[str, Any]:
    """The body as an object; raises ParseError for a list or a bare value."""
    if not isinstance(request.data, dict):
        raise ParseError("The body must be a JSON object.")
    return request.data
