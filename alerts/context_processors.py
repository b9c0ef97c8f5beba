"""What every page may say about alerts."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from alerts.menu import Menu, menu
from shelfops.scoped_admin import customer_ids
from shelfops.tenancy import Action


def open_alerts(request: HttpRequest) -> dict[str, Any]:
    """`menu`: the caller's open alerts, asked only where a page shows them; nothing for passers-by."""
    person = getattr(request, "user", None)
    if person is None or not person.is_authenticated:
        return {}
    return {
        "menu": SimpleLazyObject(lambda: _once(request)),
        "several_customers": SimpleLazyObject(lambda: len(customer_ids(request, Action.READ)) > 1),
    }


def _once(request: HttpRequest) -> Menu:
    """However many templates make the page."""
    known: dict[Any, Menu] = request.__dict__.setdefault("_menu", {})
    if request.user.pk not in known:
        known[request.user.pk] = menu(request)
    return known[request.user.pk]
