"""How lists and read-only pages show a field: rounded, in words, in the customer's zone, linked to its page."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import CharField, DateTimeField, Field, FloatField, ForeignKey, IntegerField, JSONField, Model
from django.utils.dateformat import format as told_time
from django.utils.html import format_html
from unfold.decorators import display

from shelfops.models import Customer
from shelfops.told import in_words, label

Words = Callable[[Any], str]
CustomerOf = Callable[[Any], Customer]
Page = Callable[[Model, Customer], str]


def nowhere(_row: Model, _customer: Customer) -> str:
    """Of rows whose page only superusers may open: their names are shown, and lead nowhere."""
    return ""


def column(field: Field, words: Words | None, customer_of: CustomerOf, page: Page | None) -> Callable[[Any], Any]:
    """What shows the field of a row, None where it is unknown; `page` leads from a related row to its page."""
    write = _writer(field, words, customer_of, page)

    @display(description=_description(field), ordering=field.name)
    def shown(row: Any) -> Any:
        value = getattr(row, field.name)
        return None if value is None or value == "" else write(row, value)

    shown.__name__ = field.name  # Django finds the field's help text by it
    shown.do_not_call_in_templates = True
    return shown


def is_shown_anew(field: Field, words: Words | None, page: Page | None) -> bool:
    """Whether the admin's own way would say it worse."""
    return (
        bool(words or page)
        or isinstance(field, FloatField | JSONField | DateTimeField)
        or _is_count(field)
        or _is_code(field)
    )


def _is_count(field: Field) -> bool:
    return isinstance(field, IntegerField) and not field.primary_key and not field.choices


def _is_code(field: Field) -> bool:
    """A name that the code gave, such as the model's."""
    return isinstance(field, CharField) and field.name == "model_name"


def _description(field: Field) -> str:
    name = str(field.verbose_name).removesuffix(" pct")
    return label(name) if " mae" in f" {name}" else name


def _writer(field: Field, words: Words | None, customer_of: CustomerOf, page: Page | None) -> Callable[[Any, Any], Any]:
    if words:
        return lambda _row, value: words(value)
    if isinstance(field, ForeignKey) and page:
        return lambda row, value: _link(value, page(value, customer_of(row)))
    if isinstance(field, DateTimeField):
        return lambda row, value: at(value, customer_of(row))
    if isinstance(field, FloatField):
        write = percent if field.name.endswith("_pct") else rounded
        return lambda _row, value: write(value)
    return lambda _row, value: in_words(value) or None


def _link(row: Model, url: str) -> str:
    return format_html('<a href="{}" class="text-link">{}</a>', url, row) if url else str(row)


def at(time: Any, customer: Customer) -> str:
    """In the customer's zone, which is named."""
    return told_time(time.astimezone(ZoneInfo(customer.timezone)), "Y-m-d H:i T")


def rounded(value: float) -> str:
    """Three decimals at most; an export has them all."""
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def percent(value: float) -> str:
    """Of what is in percent already: 12.34 is 12.3 %."""
    return f"{value:,.1f} %"


def share(value: float) -> str:
    """0.1234 is 12.3 %."""
    return percent(value * 100)
