"""The one door through which people get their role at a customer."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.password_validation import validate_password
from django.core.validators import validate_email
from django.db import transaction

from shelfops.models import Customer, Membership, Role, User


@dataclass(frozen=True)
class Joined:
    """What came of it; `password` is there once, when one was made up."""

    membership: Membership
    is_new_person: bool
    password: str | None


@transaction.atomic
def add_member(email: str, customer: Customer, role: Role, *, password: str | None = None) -> Joined:
    """Gives the person the role, making the person (with a made-up password) and the membership where missing."""
    email = email.strip()
    validate_email(email)
    user = User.objects.filter(email__iexact=email).first()
    made_up = secrets.token_urlsafe(12) if user is None and password is None else None
    is_new_person = user is None
    user = user or User(email=User.objects.normalize_email(email))
    if chosen := password or made_up:
        validate_password(chosen, user)
        user.set_password(chosen)
    user.save()
    membership, _ = Membership.objects.update_or_create(user=user, customer=customer, defaults={"role": role})
    return Joined(membership, is_new_person, made_up)
