"""One shape for what goes wrong: messages by field, or one `detail`; a wrong state also says what is allowed."""

from math import ceil
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views import defaults
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    ErrorDetail,
    MethodNotAllowed,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
    UnsupportedMediaType,
    ValidationError,
)
from rest_framework.response import Response
from rest_framework.views import exception_handler

from alerts.acting import NotesRequired
from forecasting.orders import BadOrder
from forecasting.serving import OutOfReach, UnknownItem
from forecasting.tiers import UnknownTier
from forecasting.train import BadParameter
from mlops.experiments import BadProposal, FourEyes
from mlops.review import UnknownVerdict
from mlops.routing import NobodyServes
from shelfops.own_pages import own_scripts_only
from shelfops.refusals import Refusal

# What a refusal answers with, by its class; 409 where it is not listed: the state does not allow it.
STATUSES: dict[type[Refusal], int] = {
    BadOrder: status.HTTP_400_BAD_REQUEST,
    BadProposal: status.HTTP_400_BAD_REQUEST,
    FourEyes: status.HTTP_403_FORBIDDEN,
    BadParameter: status.HTTP_400_BAD_REQUEST,
    UnknownTier: status.HTTP_400_BAD_REQUEST,
    NotesRequired: status.HTTP_400_BAD_REQUEST,
    OutOfReach: status.HTTP_400_BAD_REQUEST,
    UnknownVerdict: status.HTTP_400_BAD_REQUEST,
    NobodyServes: status.HTTP_404_NOT_FOUND,
    UnknownItem: status.HTTP_404_NOT_FOUND,
}
HOW_TO_LOG_IN = "Log in, or send the header “Authorization: Token sho_…”: manage.py issue_token EMAIL prints one."
HOW_TO_SEND = "Send the body as JSON, with the header “Content-Type: application/json”."
HOW_TO_SHOW_THE_COOKIE = "Send the cookie “csrftoken” as the header “X-CSRFToken” too, or call with a token."
NO_ENDPOINT = "No endpoint has this address. GET /api/schema lists all of them, /api/docs shows them to people."
SERVER_ERROR = "This is a fault of the program: its log holds the details."


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """The answer to what a view has raised; None for a fault of the program."""
    if isinstance(error, Refusal):
        return _refused(error)
    if isinstance(error, RequestDataTooBig):
        return Response({"detail": _too_large()}, status.HTTP_413_REQUEST_ENTITY_TOO_LARGE)
    if isinstance(error, SuspiciousOperation | UnreadablePostError):
        return Response({"detail": "The request cannot be read."}, status.HTTP_400_BAD_REQUEST)
    if isinstance(error, DjangoValidationError):
        error = ValidationError(getattr(error, "message_dict", {"detail": " ".join(error.messages)}))
    if isinstance(error, APIException) and (advice := _advice(error, context)):
        error.detail = ErrorDetail(advice, error.default_code)
    if isinstance(error, ValidationError) and isinstance(error.detail, list):
        return Response({"detail": " ".join(map(str, error.detail))}, status.HTTP_400_BAD_REQUEST)
    return exception_handler(error, context)


def _advice(error: APIException, context: dict[str, Any]) -> str:
    """What to do, where the library only says what is wrong; empty where it says enough."""
    match error:
        case NotAuthenticated():
            return HOW_TO_LOG_IN
        case UnsupportedMediaType():
            return HOW_TO_SEND
        case MethodNotAllowed():
            return f"{error.detail} Possible here: {', '.join(context['view'].allowed_methods)}."
        case Throttled():
            seconds = ceil(getattr(error, "wait", None) or 1)
            return f"Too many calls within this minute: call again in {seconds} seconds."
        case PermissionDenied() if str(error.detail).startswith("CSRF Failed"):
            return f"{error.detail} {HOW_TO_SHOW_THE_COOKIE}"
    return ""


def _too_large() -> str:
    return f"The body is too large: at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0:,} bytes."


def _refused(refusal: Refusal) -> Response:
    code = next((STATUSES[kind] for kind in type(refusal).__mro__ if kind in STATUSES), status.HTTP_409_CONFLICT)
    data: dict[str, Any] = {"detail": str(refusal)}
    if code == status.HTTP_409_CONFLICT:
        data["allowed"] = list(getattr(refusal, "allowed", []))
    return Response(data, code)


# --- What happens before or after a view, told as JSON to whoever calls the API


@own_scripts_only
def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_api(request):
        return defaults.page_not_found(request, exception)
    return JsonResponse({"detail": NO_ENDPOINT}, status=404)


@own_scripts_only
def server_error(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"detail": SERVER_ERROR}, status=500) if _is_api(request) else defaults.server_error(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return JsonResponse({"detail": "The request cannot be read."}, status=400)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def unknown_endpoint(request: HttpRequest) -> HttpResponse:
    """Ends the API's addresses, so that the site's own error page is never asked."""
    raise Http404
