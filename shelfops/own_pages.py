"""What our own pages begin with: the policy of their scripts, and the customer that they are about."""

from collections.abc import Callable, Sequence

from csp.constants import SELF
from csp.decorators import csp_replace
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from shelfops import tenancy
from shelfops.models import Customer
from shelfops.tenancy import Action

own_scripts_only = csp_replace({"script-src": [SELF], "style-src": [SELF]})
"""Narrows the policy that the admin theme needs to scripts and styles from files of this host."""


def for_one(
    request: HttpRequest,
    title: str,
    page: Callable[[HttpRequest, Customer], HttpResponse],
    rights: Sequence[Action] = (Action.READ,),
) -> HttpResponse:
    """The page of the customer that `?customer=` names; who has several and names none chooses one.

    They are those at which the caller has the first of the rights that they have at any; 404 where there is none.
    """
    wanted = {"slug": slug} if (slug := request.GET.get("customer")) else {}
    for right in rights:
        found = list(tenancy.customers_of(request.user, right).filter(**wanted).order_by("name"))
        if len(found) == 1:
            return page(request, found[0])
        if found:
            return render(request, "which_customer.html", {"title": title, "customers": found}, status=300)
    raise Http404("There is no such customer.")
