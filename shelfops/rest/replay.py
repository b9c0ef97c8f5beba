"""Requests that may be sent twice: who names an Idempotency-Key gets the first answer, and nothing happens twice."""

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from shelfops.models import StoredAnswer

HEADER = "Idempotency-Key"
KEY = re.compile("[!-~]{1,200}")
KEPT = dt.timedelta(days=1)
V = TypeVar("V")
Handler = Callable[..., Response]


class OtherRequest(APIException):
    """The key was used with something else."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_detail = f"This {HEADER} came with another request before. Use a new key for each new request."


def once(handler: Handler) -> Handler:
    """Has a handler answer the first answer to whoever sends the same key again.

    What it does and what it answered are committed together: a refused request leaves its key free, and one that
    arrives while its twin is at work waits for it.
    """

    @wraps(handler)
    def answer(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return handler(view, request, *args, **kwargs)
        if not KEY.fullmatch(key):
            raise ValidationError({HEADER: ["Use 1 to 200 printable ASCII characters without spaces, such as a UUID."]})
        asked = _fingerprint(request, str(view.customer.pk))
        with transaction.atomic():
            StoredAnswer.objects.filter(user=view.caller, key=key, expires_at__lte=timezone.now()).delete()
            stored, is_first = StoredAnswer.objects.get_or_create(
                user=view.caller, key=key, defaults={"fingerprint": asked, "expires_at": timezone.now() + KEPT}
            )
            if not is_first:
                return _again(stored, asked)
            return _keep(stored, handler(view, request, *args, **kwargs))

    answer.answers_once = True  # type: ignore[attr-defined]  # the schema tells it
    return answer


def forget_expired() -> int:
    """Deletes the answers that are not replayed any more, and returns how many."""
    return StoredAnswer.objects.filter(expires_at__lte=timezone.now()).delete()[0]


def _keep(stored: StoredAnswer, response: Response) -> Response:
    stored.status, stored.body = response.status_code, JSONRenderer().render(response.data).decode()
    stored.location = response.headers.get("Location", "")
    stored.save(update_fields=["status", "body", "location"])
    return response


def _again(stored: StoredAnswer, asked: str) -> Response:
    if stored.fingerprint != asked:
        raise OtherRequest
    headers = {"Idempotency-Replayed": "true"} | ({"Location": stored.location} if stored.location else {})
    return Response(json.loads(stored.body), status=stored.status, headers=headers)


def _fingerprint(request: Request, customer: str) -> str:
    asked = [request.method, request.path.rstrip("/"), sorted(request.query_params.items()), customer, request.data]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
