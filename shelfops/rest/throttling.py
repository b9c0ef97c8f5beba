"""How often one may call: counted by the minute for each person, and for each address where nobody is logged in."""

import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

WINDOW_SECONDS = 60


class PerMinute(BaseThrottle):
    """A counter in the cache: as many processes as share the cache share the limit."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if request.user is not None and request.user.is_authenticated:
            return _count("person", str(request.user.pk)) <= settings.API_CALLS_PER_MINUTE
        return _count("address", self.get_ident(request)) <= settings.API_ANONYMOUS_CALLS_PER_MINUTE

    def wait(self) -> float:
        return WINDOW_SECONDS - time.time() % WINDOW_SECONDS


def count_failure(request: Request) -> None:
    """Raises Throttled for an address that tries one bad token after the other; its valid tokens still work."""
    throttle = PerMinute()
    if _count("failures", throttle.get_ident(request)) > settings.API_FAILURES_PER_MINUTE:
        raise Throttled(throttle.wait())


def _count(kind: str, who: str) -> int:
    """How many it is by now, this one included."""
    key = f"calls:{kind}:{who}:{int(time.time() // WINDOW_SECONDS)}"
    cache.add(key, 0, 2 * WINDOW_SECONDS)
    try:
        return cache.incr(key)
    except ValueError:  # the cache was full and has just dropped it
        return 1
