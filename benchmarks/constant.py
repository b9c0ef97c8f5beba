"""The site with two addresses more, views that answer a constant: what no call can go below."""

from django.conf import settings
from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shelfops.rest.views import Endpoint
from shelfops.wsgi import application  # noqa: F401  # what gunicorn serves


class Constant(APIView):
    """Authenticated and counted like every endpoint, and then nothing."""

    def get(self, request: Request) -> Response:
        return Response({"constant": True})


class ConstantOfCustomer(Endpoint):
    """The same of a customer's endpoint: its customer is found, too, and the right to read."""

    is_list = False

    def list(self, request: Request) -> Response:
        return Response({"constant": True})


urlpatterns = [
    path("api/v1/constant", Constant.as_view()),
    path("api/v1/constant-of-customer", ConstantOfCustomer.as_view({"get": "list"})),
    path("", include("shelfops.urls")),
]
settings.ROOT_URLCONF = __name__
