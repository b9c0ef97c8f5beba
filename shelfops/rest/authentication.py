"""Who calls: the bearer of a token, else whoever is logged in to the site."""

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from shelfops import tokens
from shelfops.models import ApiToken, User
from shelfops.rest.throttling import count_failure

OPENS_NOTHING = "This token is unknown, expired or revoked: manage.py issue_token EMAIL prints a new one."


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Token sho_…`; one that is unknown, expired, revoked or of an inactive person opens nothing."""

    keyword = "Token"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, text = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != self.keyword.lower():
            return None
        token = tokens.find(text.strip())
        if token is None:
            count_failure(request)
            raise AuthenticationFailed(OPENS_NOTHING)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return self.keyword
