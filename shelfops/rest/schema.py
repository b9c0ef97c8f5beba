"""How the OpenAPI document tells what all endpoints share: tokens, headers, and the shapes of errors."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema as Stock
from drf_spectacular.plumbing import get_doc
from drf_spectacular.utils import OpenApiParameter
from rest_framework.serializers import ModelSerializer

from shelfops import tenancy
from shelfops.rest import customer, replay
from shelfops.rest.views import Endpoint, Rows
from shelfops.tenancy import Action

Schema = dict[str, Any]
DETAIL = {"type": "string", "description": "What is wrong and what to do, in one sentence."}
SHAPES: Schema = {
    "Error": {"type": "object", "required": ["detail"], "properties": {"detail": DETAIL}},
    "BadRequest": {
        "type": "object",
        "description": "Messages by field or parameter, or one `detail` about the whole request.",
        "additionalProperties": {},
    },
    "Conflict": {
        "type": "object",
        "required": ["detail", "allowed"],
        "properties": {
            "detail": DETAIL,
            "allowed": {
                "type": "array",
                "items": {"type": "string"},
                "description": "The statuses or actions that are possible now.",
            },
        },
    },
}
ERRORS = {
    "400": ("BadRequest", "A field or parameter is wrong."),
    "401": ("Error", "No token or session, or one that opens nothing."),
    "403": ("Error", "The role does not include it."),
    "404": ("Error", "There is no such thing, or it is another customer's."),
    "429": ("Error", "Too many calls; `Retry-After` says for how long to wait."),
}
WRITING_ERRORS = {
    "409": ("Conflict", "Its state does not allow it, or another decision was faster."),
    "413": ("Error", "The body is too large."),
    "415": ("Error", "The body is not JSON."),
    "422": ("Error", "The Idempotency-Key came with another request before."),
}


class AutoSchema(Stock):
    """Adds headers and errors to every operation of a customer's endpoint."""

    def get_override_parameters(self) -> list[Any]:
        if not isinstance(self.view, Endpoint):
            return []
        found: list[Any] = [
            OpenApiParameter(
                customer.HEADER,
                {"type": "string", "pattern": f"^{customer.SLUG.pattern}$"},
                OpenApiParameter.HEADER,
                description="Slug; needed by callers with several.",
            )
        ]
        if self.view.action in self.view.queries:
            found.append(self.view.queries[self.view.action])
        if getattr(getattr(self.view, self.view.action), "answers_once", False):
            found.append(
                OpenApiParameter(
                    replay.HEADER,
                    {"type": "string", "pattern": f"^{replay.KEY.pattern}$"},
                    OpenApiParameter.HEADER,
                    description="Sent again with the same request, it gets the first answer; kept for a day.",
                )
            )
        return found

    def get_description(self) -> str:  # type: ignore[override]  # as the stock class has it
        """What it does and who may; of a list that says nothing by itself, what its rows and its filters are about."""
        view = self.view
        if isinstance(view, Rows) and view.action == "list":
            return " ".join(get_doc(what) for what in (type(view), view.filterset_class) if what)
        right = view.rights.get(view.action, Action.READ) if isinstance(view, Endpoint) else Action.READ
        is_for_all = all(right in actions for actions in tenancy.MATRIX.values())
        return str(super().get_description()) + ("" if is_for_all else f"\n\nWho may: {tenancy.able(right)}.")

    def get_request_serializer(self) -> Any:
        if isinstance(self.view, Endpoint) and self.method in ("POST", "PATCH"):
            return self.view.bodies.get(self.view.action)
        return super().get_request_serializer()

    def get_tags(self) -> list[str]:
        return [self.path.removeprefix("/api/v1/").split("/")[0]]

    def _is_list_view(self, serializer: Any = None) -> bool:
        if isinstance(self.view, Endpoint):
            return self.method == "GET" and self.view.is_list
        return super()._is_list_view(serializer)

    def _insert_field_validators(self, field: Any, schema: Schema) -> None:
        """How far a column's whole numbers reach depends on the database, and the document does not."""
        super()._insert_field_validators(field, schema)  # type: ignore[no-untyped-call]  # the library has no types
        if schema.get("type") == "integer" and isinstance(field.parent, ModelSerializer):
            for bound in ("minimum", "maximum", "format"):
                schema.pop(bound, None)

    def _get_response_bodies(self, direction: Any = "response") -> Schema:
        bodies: Schema = super()._get_response_bodies(direction)
        if not isinstance(self.view, Endpoint):
            return bodies
        errors = ERRORS if self.method == "GET" else ERRORS | WRITING_ERRORS
        return bodies | {code: _error(*told) for code, told in errors.items() if code not in bodies}


def _error(component: str, description: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}}
    return {"description": description, "content": content}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its own registration
    """The token's header."""

    target_class = "shelfops.rest.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        description = "`Token sho_…`, as `manage.py issue_token EMAIL` prints it."
        return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}


def only_api(endpoints: Iterable[tuple[str, str, str, Any]]) -> list[tuple[str, str, str, Any]]:
    """The documented paths, as the specification writes them: without a trailing slash."""
    return [(path.rstrip("/"), regex, method, view) for path, regex, method, view in endpoints]


def with_errors(result: Schema, **_kwargs: Any) -> Schema:
    """The shapes of errors beside those of rows."""
    result["components"]["schemas"] |= SHAPES
    return result
