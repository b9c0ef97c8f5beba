"""For which customer a call is: the caller's only one, or the one that the header names."""

import re

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request

from shelfops import tenancy
from shelfops.models import ApiToken, Customer
from shelfops.tenancy import NotAllowed

HEADER = "X-Customer"
SLUG = re.compile(r"[a-z0-9-]{1,60}")


def select(request: Request) -> Customer:
    """Raises NotFound for a stranger's customer, ValidationError with the choices where none was named."""
    slug = request.headers.get(HEADER)
    own = _own(request, slug)
    if slug is not None:
        found = next((one for one in own if one.slug == slug), None)
        if found is None:
            raise NotFound(f"There is no customer “{slug}” among yours.")
        return found
    if not own:
        raise NotAllowed("You have no role at any customer. Ask an ML manager to add you as a member.")
    if len(own) > 1:
        raise ValidationError({HEADER: [f"Name one of your customers: {', '.join(one.slug for one in own)}."]})
    return own[0]


def _own(request: Request, slug: str | None) -> list[Customer]:
    """The caller's customers, or at least the one that is named; who came with a token brings them along."""
    if isinstance(request.auth, ApiToken) and not request.user.is_superuser:
        return request.auth.customers
    rows = tenancy.customers_of(request.user).order_by("slug")
    if slug is None:
        return list(rows)
    return list(rows.filter(slug=slug)) if SLUG.fullmatch(slug) else []
