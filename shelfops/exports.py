"""What an admin list writes to a file: named columns straight from the database, bounded in length."""

import datetime as dt
from typing import Any

from django.db.models import Model, QuerySet
from import_export.fields import Field
from import_export.resources import Resource
from tablib import Dataset

MOST_ROWS = 100_000
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Columns(Resource):
    """Names a file's columns on the export page; the rows come from `table`."""

    @classmethod
    def get_display_name(cls) -> str:
        return "Columns"


def default_columns(model: type[Model]) -> dict[str, str]:
    """Every column of the table under its own name."""
    return {field.name: field.attname for field in model._meta.concrete_fields}


def resource(model: type[Model], columns: dict[str, str]) -> type[Columns]:
    """Tells the export page which columns the file will have."""
    columns = columns or default_columns(model)
    fields = {name: Field(attribute=path, column_name=name, readonly=True) for name, path in columns.items()}
    return type(f"{model.__name__}Export", (Columns,), fields)


def table(queryset: QuerySet[Any], columns: dict[str, str], *, as_text: bool) -> Dataset:
    """The rows, refused where there are more than one file should hold; `as_text` disarms spreadsheet formulas."""
    if queryset.order_by()[: MOST_ROWS + 1].count() > MOST_ROWS:
        raise ValueError(
            f"These are more than {MOST_ROWS:,} rows. Narrow the list with its filters or its search, then export."
        )
    rows = queryset.values_list(*columns.values())
    data = Dataset(headers=list(columns))
    data.extend(tuple(map(_disarmed, row)) if as_text else row for row in rows.iterator(chunk_size=10_000))
    return data


def _disarmed(cell: Any) -> Any:
    """A spreadsheet would run a text that starts like a formula."""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
    # Excel knows days, but no moment with a time zone.
    is_plain = cell is None or isinstance(cell, int | float) or type(cell) is dt.date
    return cell if is_plain else str(cell)
