"""The admin site: open to everybody who has a role somewhere, whatever Django's own staff flag says."""

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.http import HttpRequest
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite

from shelfops.models import User
from shelfops.tenancy import has_a_role


class LoginForm(AuthenticationForm):
    """Asks for the e-mail address, and refuses people who have no role anywhere."""

    error_messages: ClassVar = {
        **AuthenticationForm.error_messages,
        "invalid_login": "This e-mail address and password do not belong together. Mind the password's capitals.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs.update({"type": "email", "autocomplete": "email"})

    def confirm_login_allowed(self, user: User) -> None:
        if not has_a_role(user):
            raise ValidationError(
                "You have no role at any customer. Ask an ML manager to add you as a member.", code="no_role"
            )


class AdminSite(UnfoldAdminSite):
    """Django's permission tables are not consulted: `shelfops.tenancy` decides."""

    login_form = LoginForm
    site_url = None
    index_title = "Overview"
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        """Asked several times while one page is made, and answered from one query."""
        known: dict[Any, bool] = request.__dict__.setdefault("_has_a_role", {})
        person = request.user
        if person.pk not in known:
            known[person.pk] = has_a_role(person)
        return known[person.pk]


def name_of_attempt(request: HttpRequest | None, credentials: dict[str, Any] | None = None) -> str | None:
    """Whom a login attempt is counted against: the same person in any case of letters."""
    data = credentials or (request.POST if request else {})
    name = data.get("username")
    return str(name).strip().lower() if name else None
