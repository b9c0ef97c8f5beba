"""The addresses of the REST API: each app brings its own endpoints, this is where they meet."""

from typing import Any

from csp.constants import NONE, SELF
from csp.decorators import csp_replace
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.permissions import IsAuthenticated

import alerts.api
import forecasting.api
import forecasting.experiments_api
import mlops.api
from shelfops import api_errors
from shelfops.health import LiveView, ReadyView
from shelfops.rest.router import Router

# Everything of the page comes from this host; its style sheet holds icons as data.
DOCS_POLICY = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],
    "connect-src": [SELF],
    "base-uri": [NONE],
    "form-action": [NONE],
}


def router() -> Router:
    """All endpoints of customers, by prefix."""
    made = Router()
    apis = alerts.api, mlops.api, forecasting.api, forecasting.experiments_api
    for prefix, view in {prefix: view for api in apis for prefix, view in api.ROUTES.items()}.items():
        made.register(prefix, view, basename=prefix.replace("/", "-"))
    return made


schema = SpectacularAPIView.as_view(permission_classes=[IsAuthenticated])
docs: Any = csp_replace(DOCS_POLICY)(admin.site.admin_view(SpectacularSwaggerSplitView.as_view(url_name="schema")))

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(r"^schema/?$", schema, name="schema"),
    re_path(r"^docs/?$", docs, name="docs"),
    re_path(r"^v1/health/live/?$", LiveView.as_view(), name="health-live"),
    re_path(r"^v1/health/ready/?$", ReadyView.as_view(), name="health-ready"),
    path("v1/", include(router().urls)),
    re_path("", api_errors.unknown_endpoint),
]
