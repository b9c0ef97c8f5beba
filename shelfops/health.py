"""Whether the installation can work: for load balancers and watchdogs, without a login and without anybody's name."""

import datetime as dt
import logging
import os
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Max, OuterRef, Subquery
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from forecasting.models import FeedDay, ForecastRun, Store
from shelfops.celery import app
from shelfops.models import Customer

logger = logging.getLogger(__name__)
KEPT_SECONDS = 5  # probes come from many sides: what they ask is looked up once
BROKER_SECONDS = 2.0
STATES = ["up", "down"]


def _database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _broker() -> None:
    with app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)


def _artefact_store() -> None:
    settings.ARTEFACT_DIR.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.ARTEFACT_DIR, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(settings.ARTEFACT_DIR)


PARTS: dict[str, Callable[[], None]] = {
    "database": _database,
    "broker": _broker,
    "artefact_store": _artefact_store,
}


def _is_up(name: str) -> bool:
    try:
        PARTS[name]()
    except Exception as error:  # whatever the part's library raises, the answer is that it is down
        logger.error("Health: %s is down: %s", name, error)
        return False
    return True


def ages() -> dict[str, int | None]:
    """Days since the last forecast and the last day with sales, of the customer who waits longest; null for none."""
    today = {customer.pk: customer.today() for customer in Customer.objects.all()}
    forecasts = ForecastRun.objects.published().order_by().values_list("customer").annotate(Max("as_of"))
    newest = FeedDay.objects.filter(store=OuterRef("pk"), status=FeedDay.Status.COMPLETE).order_by("-date")
    stores = Store.objects.annotate(last_day=Subquery(newest.values("date")[:1]))
    sales = stores.order_by().values_list("customer").annotate(Max("last_day"))
    return {
        "days_since_last_forecast": _longest(today, dict(forecasts)),
        "days_since_last_sales": _longest(today, dict(sales)),
    }


def _longest(today: dict[Any, dt.date], last: dict[Any, dt.date | None]) -> int | None:
    waited = [(today[customer] - day).days for customer, day in last.items() if day is not None]
    return max(waited, default=None)


def readiness() -> dict[str, Any]:
    """Each part as up or down, and how old forecasts and sales are."""
    parts = {name: "up" if _is_up(name) else "down" for name in PARTS}
    known = ages() if parts["database"] == "up" else {}
    is_ready = "down" not in parts.values()
    return {"status": "ready" if is_ready else "not ready", **parts, **known}


class Live(serializers.Serializer):
    """The process answers."""

    status = serializers.CharField()


class Ready(Live):
    """What the installation needs, and how fresh its data are."""

    database = serializers.ChoiceField(STATES)
    broker = serializers.ChoiceField(STATES)
    artefact_store = serializers.ChoiceField(STATES)
    days_since_last_forecast = serializers.IntegerField(allow_null=True, required=False)
    days_since_last_sales = serializers.IntegerField(allow_null=True, required=False)


class _Open(APIView):
    authentication_classes = ()
    permission_classes = ()
    http_method_names = ["get", "head"]  # noqa: RUF012  # Django declares it so


class LiveView(_Open):
    """Answers as long as the process does."""

    @extend_schema(operation_id="health_live", responses=Live, auth=[])
    def get(self, request: Request) -> Response:
        """The process answers."""
        return Response({"status": "live"})


class ReadyView(_Open):
    """Answers 503 while a needed part is down; late sales or forecasts are told, but stop nothing."""

    @extend_schema(operation_id="health_ready", responses={200: Ready, 503: Ready}, auth=[])
    def get(self, request: Request) -> Response:
        """Database, broker and artefact store; 503 while one is down. Ages are those of the worst customer."""
        found = cache.get_or_set("health:ready", readiness, KEPT_SECONDS) or readiness()
        code = status.HTTP_200_OK if found["status"] == "ready" else status.HTTP_503_SERVICE_UNAVAILABLE
        return Response(found, code)
