"""How long lists are cut: by page number with a count, or from row to row where a table has no end."""

import datetime as dt
from operator import attrgetter
from typing import Any

from django.core import signing
from django.core.exceptions import EmptyResultSet
from django.db.models import IntegerField, Q, QuerySet, Value
from django.db.models.expressions import RawSQL
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

Schema = dict[str, Any]
SIZE = "page_size"
MOST_COUNTED = 1_000
MOST_PAGED = 10_000
LINK: Schema = {"type": "string", "format": "uri", "nullable": True}


class Pages(BasePagination):
    """Page numbers over the newest 10,000 rows, with a count up to 1,000; filters lead to older ones.

    Counting a million rows would take longer than answering them. A page knows by one row more whether another follows.
    """

    page_size = 25
    max_page_size = 500
    parameters = frozenset({"page", SIZE})

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request = request
        self.number = _whole_number(request, "page", 1, 10**9)
        self.size = page_size(request, self.page_size, self.max_page_size)
        self.first = (self.number - 1) * self.size
        if self.first >= MOST_PAGED:
            raise NotFound(f"Pages lead to the first {MOST_PAGED} rows: narrow the filter to see others.")
        rows = queryset.annotate(counted=_count_of(queryset))  # in one statement: two would take longer than the count
        found = list(rows[self.first : self.first + self.size + 1])
        if not found and self.number > 1:
            raise NotFound("There is no such page: the list ends before it.")
        self.has_more, page = len(found) > self.size, found[: self.size]
        self.count = max(found[0].counted, self.first + len(found)) if self.has_more else self.first + len(page)
        return page

    def get_paginated_response(self, data: Any) -> Response:
        follows = self.has_more and self.first + self.size < MOST_PAGED
        answer = {
            "count": self.count,
            "next": self._link(self.number + 1) if follows else None,
            "previous": self._link(self.number - 1) if self.number > 1 else None,
            "results": data,
        }
        if self.has_more and self.count >= MOST_COUNTED:
            answer["count_is_at_least"] = True
        return Response(answer)

    def _link(self, number: int) -> str:
        return replace_query_param(self.request.build_absolute_uri(), "page", number)

    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        at_least = {
            "type": "boolean",
            "description": f"There, and true, where there are {MOST_COUNTED} rows or more and they were not counted.",
        }
        properties = {
            "count": {"type": "integer", "example": 123},
            "next": LINK,
            "previous": LINK,
            "results": schema,
            "count_is_at_least": at_least,
        }
        return {"type": "object", "required": ["count", "next", "previous", "results"], "properties": properties}

    def get_schema_operation_parameters(self, view: Any) -> list[Schema]:
        return [_parameter("page", 1), _parameter(SIZE, self.page_size, self.max_page_size)]


class Cursor(BasePagination):
    """From row to row by the view's `keyset`, fields of which the last is unique; newest first, without a count.

    Rows that arrive meanwhile move nothing, and the thousandth page costs as much as the first.
    """

    page_size = 100
    max_page_size = 1000
    parameters = frozenset({"cursor", SIZE})

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.request, self.names, self.salt = request, view.keyset, f"cursor:{view.basename}"
        self.size = page_size(request, self.page_size, self.max_page_size)
        self.backwards, place = self._read(request.query_params.get("cursor"))
        found = list(self.rows_from(queryset, place)[: self.size + 1])
        self.has_more, self.has_place = len(found) > self.size, place is not None
        page = found[: self.size]
        self.page = page[::-1] if self.backwards else page
        return self.page

    def rows_from(self, rows: Any, place: list[Any] | None) -> Any:
        """The rows beyond the place, in the order in which they are read."""
        sign = "" if self.backwards else "-"
        ordered = rows.order_by(*(sign + name for name in self.names))
        return ordered.filter(beyond(self.names, place, "gt" if self.backwards else "lt")) if place else ordered

    def get_paginated_response(self, data: Any) -> Response:
        further, back = (self.has_place, self.has_more) if self.backwards else (self.has_more, self.has_place)
        return Response(
            {
                "next": self._link(False, self.page[-1]) if further and self.page else None,
                "previous": self._link(True, self.page[0]) if back and self.page else None,
                "results": data,
            }
        )

    def _link(self, backwards: bool, row: Any) -> str:
        place = [_plain(getattr(row, name)) for name in self.names]
        cursor = signing.dumps([backwards, *place], salt=self.salt)
        return replace_query_param(remove_query_param(self.request.build_absolute_uri(), "cursor"), "cursor", cursor)

    def _read(self, cursor: str | None) -> tuple[bool, list[Any] | None]:
        if cursor is None:
            return False, None
        try:
            backwards, *place = signing.loads(cursor, salt=self.salt)
        except signing.BadSignature:
            raise ValidationError({"cursor": ["This is no cursor of this list: follow next and previous."]}) from None
        return backwards, place

    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        properties = {"next": LINK, "previous": LINK, "results": schema}
        return {"type": "object", "required": ["next", "previous", "results"], "properties": properties}

    def get_schema_operation_parameters(self, view: Any) -> list[Schema]:
        cursor = {"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "From next, previous."}
        return [cursor, _parameter(SIZE, self.page_size, self.max_page_size)]


class ListCursor(Cursor):
    """The same over a list in memory, of which the key is a day."""

    def rows_from(self, rows: list[Any], place: list[Any] | None) -> list[Any]:
        (name,) = self.names
        ordered = sorted(rows, key=attrgetter(name), reverse=not self.backwards)
        if place is None:
            return ordered
        last = dt.date.fromisoformat(place[0])
        return [row for row in ordered if (getattr(row, name) > last if self.backwards else getattr(row, name) < last)]


def _count_of(rows: QuerySet[Any]) -> RawSQL | Value:
    """How many there are, counted up to MOST_COUNTED."""
    try:
        keys, values = rows.order_by().values("pk")[:MOST_COUNTED].query.sql_with_params()
    except EmptyResultSet:  # of rows.none(), which has no statement
        return Value(0)
    return RawSQL(f"(SELECT COUNT(*) FROM ({keys}) counted)", values, IntegerField())  # noqa: S608,S611  # the ORM's own


def beyond(names: tuple[str, ...], place: list[Any], side: str) -> Q:
    """The rows on one side of a place in the order of `names`."""
    condition = Q(**{f"{names[-1]}__{side}": place[-1]})
    for name, value in zip(names[-2::-1], place[-2::-1], strict=True):
        # The plain bound, which follows from the rest, is what an index can be entered by.
        condition = Q(**{f"{name}__{side}e": value}) & (Q(**{f"{name}__{side}": value}) | condition)
    return condition


def page_size(request: Request, usual: int, most: int) -> int:
    """How many rows were asked for."""
    return _whole_number(request, SIZE, usual, most)


def _whole_number(request: Request, name: str, usual: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise ValidationError({name: [f"Give a whole number from 1 to {most}."]})
    return int(text)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | str) else value.isoformat()


def _parameter(name: str, usual: int, most: int | None = None) -> Schema:
    schema: Schema = {"type": "integer", "minimum": 1, "default": usual}
    if most is not None:
        schema["maximum"] = most
    return {"name": name, "in": "query", "schema": schema}
