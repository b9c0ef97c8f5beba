"""The base of every endpoint: a caller, one customer, a right, and only parameters that mean something."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import MethodNotAllowed, NotFound, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer, Serializer
from rest_framework.viewsets import GenericViewSet

from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.rest import customer as customers
from shelfops.rest.filtering import check_parameters
from shelfops.rest.paging import Pages
from shelfops.rest.parsing import body_of
from shelfops.tenancy import Action

SHOWN_OF_A_KEY = 100


class Asked(DjangoFilterBackend):
    """Filters of whoever asks for one; a form is made for nobody else."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> QuerySet[Any]:
        if not view.filterset_class or request.query_params.keys().isdisjoint(view.filterset_class.base_filters):
            return queryset
        return cast(QuerySet[Any], super().filter_queryset(request, queryset, view))


def _check_condition(request: Request) -> None:
    """A change that shall depend on what was seen is never made without looking."""
    if request.method not in SAFE_METHODS and "If-Match" in request.headers:
        advice = (
            "No answer here has an ETag: leave it out. Where it matters who serves, name that in expected_champion."
        )
        raise ValidationError({"If-Match": [advice]})


class Endpoint(GenericViewSet):
    """Rows and rights of one customer.

    `rights` names what an action needs where that is more than reading; rules that depend on the row check their own.
    `queries` names the serializer of an action's query parameters, `bodies` the one of its body. `noun` is what people
    call a row, `listed_as` the endpoint that lists it where that is another one.
    """

    rights: ClassVar[Mapping[str, Action]] = {}
    queries: ClassVar[Mapping[str, type[Serializer]]] = {}
    bodies: ClassVar[Mapping[str, type[Serializer]]] = {}
    customer_path: ClassVar[str] = "customer"
    noun: ClassVar[str] = ""
    listed_as: ClassVar[str] = ""
    filterset_class: Any = None
    filter_backends = (Asked,)
    pagination_class: Any = Pages
    lookup_value_regex = "[^/]+"
    http_method_names = ["get", "head", "post", "patch"]  # noqa: RUF012  # Django declares it so
    format_kwarg: None = None  # no suffixes such as .json
    customer: Customer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Calls are counted before they are refused; rights are asked of (user, customer)."""
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        request.version = request.versioning_scheme = None
        self.perform_authentication(request)
        self.check_throttles(request)
        self.check_permissions(request)
        if request.method is None or request.method.lower() not in self.action_map:
            raise MethodNotAllowed(str(request.method))
        self.customer = customers.select(request)
        request.customer = self.customer  # type: ignore[attr-defined]  # filters need its time zone
        if (right := self.rights.get(self.action, Action.READ)) is not Action.READ:
            tenancy.require(self.caller, self.customer, right)
        if any("\0" in value for value in kwargs.values()):
            raise self.nothing()
        _check_condition(request)
        check_parameters(request.query_params, self.known_parameters())

    @property
    def caller(self) -> User:
        return cast(User, self.request.user)

    def get_queryset(self) -> QuerySet[Any]:
        """The customer's rows."""
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):  # the schema is drawn without a caller
            return rows.none()
        return rows.filter(**{self.customer_path: self.customer})

    def known_parameters(self) -> set[str]:
        """What may stand in the query of this action."""
        if self.action in self.queries:
            own = set(self.queries[self.action]().fields)
        else:
            own = set(self.filterset_class.base_filters) if self.is_list and self.filterset_class else set()
        return own | (self.pagination_class.parameters if self.is_list else set())

    @property
    def is_list(self) -> bool:
        """Whether the action answers a page of rows."""
        return self.action == "list" or not getattr(self, "detail", True)

    def asked(self) -> dict[str, Any]:
        """The query parameters, read by the action's serializer."""
        return _valid(self.queries[self.action](data=self.request.query_params))

    def told(self) -> dict[str, Any]:
        """The body, read by the action's serializer."""
        return _valid(self.bodies[self.action](data=body_of(self.request)))

    def find(self, rows: QuerySet[Any], **key: Any) -> Any:
        """The one row of this key, else 404 in words."""
        try:
            return get_object_or_404(rows, **key)
        except Http404:
            raise self.nothing() from None

    def get_object(self) -> Any:
        """The row that the path names."""
        return self.find(self.get_queryset(), **{self.lookup_field: self.kwargs[self.lookup_field]})

    def nothing(self) -> NotFound:
        """Such as: There is no version “v99” at Acme Stores. GET /api/v1/models lists what there is."""
        key = str(self.kwargs[self.lookup_field]).replace("\0", "")[:SHOWN_OF_A_KEY]
        listed = reverse(f"{self.listed_as or self.basename}-list")
        return NotFound(f"There is no {self.noun} “{key}” at {self.customer}. GET {listed} lists what there is.")

    def page(self, rows: QuerySet[Any] | Sequence[Any], serializer: type[BaseSerializer] | None = None) -> Response:
        """One page of these rows."""
        chosen = serializer or self.get_serializer_class()
        found = self.paginate_queryset(rows)
        data = chosen(found, many=True, context=self.get_serializer_context()).data
        return self.get_paginated_response(data)


class Rows(Endpoint):
    """An endpoint that lists its queryset, filtered and paged."""

    def list(self, request: Request, *_args: Any, **_kwargs: Any) -> Response:
        """One page of the rows that pass the filter."""
        return self.page(self.filter_queryset(self.get_queryset()))


def _valid(serializer: Serializer) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return cast(dict[str, Any], serializer.validated_data)
