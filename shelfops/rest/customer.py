"""For which customer a call is: the caller's only one, or the one that the header names."""

import re

from rest_framework.exceptions import NotFound, ValidationError

from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.tenancy import NotAllowed

HEADER = "X-Customer"
SLUG = re.compile(r"[a-z0-9-]{1,60}")


def select(user: User, slug: str | None) -> Customer:
    """Raises NotFound for a stranger's customer, ValidationError with the choices where none was named."""
    own = tenancy.customers_of(user).order_by("slug")
    if slug is not None:
        found = own.filter(slug=slug).first() if SLUG.fullmatch(slug) else None
        if found is None:
            raise NotFound(f"There is no customer “{slug}” among yours.")
        return found
    known = list(own)
    if not known:
        raise NotAllowed("You have no role at any customer. Ask an ML manager to add you as a member.")
    if len(known) > 1:
        raise ValidationError({HEADER: [f"Name one of your customers: {', '.join(one.slug for one in known)}."]})
    return known[0]
