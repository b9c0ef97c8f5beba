"""The site with one address more, a view that answers a constant to whoever has a token: what no call can go below."""

from django.conf import settings
from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from shelfops.wsgi import application  # noqa: F401  # what gunicorn serves


class Constant(APIView):
    """Authenticated and counted like every endpoint, and then nothing."""

    def get(self, request: Request) -> Response:
        return Response({"constant": True})


urlpatterns = [path("api/v1/constant", Constant.as_view()), path("", include("shelfops.urls"))]
settings.ROOT_URLCONF = __name__
