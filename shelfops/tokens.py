"""API tokens: handed out once, found by their hash, revoked for good."""

import datetime as dt
import hashlib
import secrets
from functools import cache
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from shelfops import tenancy
from shelfops.models import ApiToken, ApiTokenQuerySet, Customer, User
from shelfops.refusals import Refusal

PREFIX = "sho_"
SHOWN = len(PREFIX) + 6  # enough to tell one's own tokens apart
LENGTH = len(PREFIX) + 43  # 32 random bytes in base64
LONGEST_NAME = 80
MOST_DAYS = 366
USED_EVERY = dt.timedelta(minutes=1)
COLUMNS = [column.attname for column in Customer._meta.concrete_fields]
OF_CUSTOMER = {f"customer_{name}": F(f"user__memberships__customer__{name}") for name in COLUMNS}


class NoTokenForThem(Refusal):
    """The person may not use the API, or asked for a token that lives too long."""


def issue(user: User, *, name: str, days: int) -> tuple[ApiToken, str]:
    """A new token and its text, which exists nowhere else. Raises NoTokenForThem."""
    if not tenancy.has_a_role(user):
        raise NoTokenForThem(f"{user} has no role at any customer, or is inactive. Run create_member first.")
    if not 1 <= days <= MOST_DAYS:
        raise NoTokenForThem(f"A token lives for 1 to {MOST_DAYS} days, not for {days}.")
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise NoTokenForThem(f"Name the token with 1 to {LONGEST_NAME} letters that say what it is for.")
    text = PREFIX + secrets.token_urlsafe(32)
    expires_at = timezone.now() + dt.timedelta(days=days)
    token = ApiToken.objects.create(
        user=user, name=name, prefix=text[:SHOWN], digest=_digest(text), expires_at=expires_at
    )
    return token, text


def find(text: str) -> ApiToken | None:
    """The valid token of this text with its person and their customers, noted as used; None for any other text.

    One query, a row for each customer: whoever calls the API needs all three.
    """
    if len(text) != LENGTH or not text.startswith(PREFIX):
        return None
    found: list[Any] = list(_with_customers().valid().filter(digest=_digest(text)))
    if not found:
        return None
    token: ApiToken = found[0]
    token.customers = [_customer(row) for row in found if row.customer_id is not None]
    _note_use(token)
    return token


def revoke(token: ApiToken, *, by: User) -> None:
    """It opens nothing any more; a token that was revoked before keeps who did it."""
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now(), revoked_by=by)


@cache
def _with_customers() -> ApiTokenQuerySet:
    """Made once: it is asked for with every call."""
    by_slug = F("user__memberships__customer__slug")
    return ApiToken.objects.select_related("user").annotate(**OF_CUSTOMER).order_by(by_slug)


def _customer(row: Any) -> Customer:
    return Customer.from_db(row._state.db, COLUMNS, [getattr(row, f"customer_{name}") for name in COLUMNS])


def _note_use(token: ApiToken) -> None:
    """Written at most once a minute: reading must not write."""
    now = timezone.now()
    if token.last_used_at is None or token.last_used_at <= now - USED_EVERY:
        due = Q(last_used_at=None) | Q(last_used_at__lte=now - USED_EVERY)
        ApiToken.objects.filter(due, pk=token.pk).update(last_used_at=now)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
