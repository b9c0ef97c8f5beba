"""Which customer a person of several looks at: chosen with one click, kept in the session."""

from typing import cast

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from shelfops import tenancy
from shelfops.models import Customer, User

KEY = "customer"


def customers(request: HttpRequest) -> list[Customer]:
    """The caller's, by name: one query per request."""
    known: list[Customer] | None = request.__dict__.get("_customers")
    if known is None:
        known = list(tenancy.customers_of(cast(User, request.user)).order_by("name", "slug"))
        request.__dict__["_customers"] = known
    return known


def customer(request: HttpRequest) -> Customer | None:
    """The chosen one, where it is still the caller's, else their first; None for whoever has none yet."""
    wanted = request.session.get(KEY)
    mine = customers(request)
    return next((one for one in mine if one.slug == wanted), mine[0] if mine else None)


def named_or_chosen(request: HttpRequest) -> Customer | None:
    """The one that `?customer=` names, None where it is not the caller's; without it the chosen one."""
    if KEY not in request.GET:
        return customer(request)
    return next((one for one in customers(request) if one.slug == request.GET[KEY]), None)


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Keeps the choice and goes back to where it was made."""
    slug = request.POST.get(KEY, "")
    if slug not in {one.slug for one in customers(request)}:
        raise Http404("There is no such customer.")
    request.session[KEY] = slug
    back = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()})
    return redirect(back if is_ours else "home")
