"""The engine over the API: retrains asked for, forecasts looked up, and who serves what."""

import datetime as dt
from typing import Any, ClassVar, cast

from django.urls import reverse
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from forecasting.models import Forecast
from forecasting.orders import LEAST_WINDOW_DAYS, MOST_WINDOW_DAYS, Trigger
from forecasting.retraining_job import JOB, retrain_forecast_model
from forecasting.serving import forecasts_of, predict_demand, who_serves
from forecasting.tiers import TIERS
from mlops.models import RoutingRule
from mlops.models.routing import RoutingRuleQuerySet
from mlops.serializers import version_name
from shelfops.models import JobRun
from shelfops.rest.fields import Body, ChoiceField, DayField, ModelRow, Row, TextField, email
from shelfops.rest.paging import ListCursor
from shelfops.rest.replay import once
from shelfops.rest.views import Endpoint
from shelfops.tenancy import Action

USUAL_DAYS, MOST_DAYS = 28, 366
ITEM = {"store_id", "product_id"}

# --- Retrains


class ParametersBody(Body):
    """Parameters of the booster other than the champion's."""

    num_boost_round = serializers.IntegerField(required=False, min_value=1, max_value=5000)
    learning_rate = serializers.FloatField(required=False, min_value=0.001, max_value=1)
    max_leaves = serializers.IntegerField(required=False, min_value=2, max_value=4096)
    max_depth = serializers.IntegerField(required=False, min_value=0, max_value=32)
    min_child_weight = serializers.FloatField(required=False, min_value=0, max_value=1e6)
    subsample = serializers.FloatField(required=False, min_value=0.05, max_value=1)
    colsample_bytree = serializers.FloatField(required=False, min_value=0.05, max_value=1)
    reg_lambda = serializers.FloatField(required=False, min_value=0, max_value=1e6)
    reg_alpha = serializers.FloatField(required=False, min_value=0, max_value=1e6)
    tweedie_variance_power = serializers.FloatField(required=False, min_value=1.01, max_value=1.99)


class RetrainBody(Body):
    """A retrain that a person asks for; without tier, window and parameters it trains the champion's recipe."""

    trigger = ChoiceField([Trigger.MANUAL.value], default=Trigger.MANUAL.value)
    reason = TextField(max_length=4000, help_text="Why it is needed now: kept in the log.")
    tier = ChoiceField(sorted(TIERS), required=False)
    window_days = serializers.IntegerField(required=False, min_value=LEAST_WINDOW_DAYS, max_value=MOST_WINDOW_DAYS)
    params = ParametersBody(required=False)
    promote = serializers.BooleanField(default=True, help_text="It may promote itself, by the rule.")


class AskedSerializer(ModelRow):
    """A retrain that was asked for, as far as it is."""

    retrain_id = serializers.IntegerField(source="pk", read_only=True)
    reason = serializers.SerializerMethodField()
    requested_by = email()
    version = serializers.SerializerMethodField(help_text="What came of it; null until then.")
    decision = serializers.SerializerMethodField(help_text="What became of the version; null until then.")
    page = serializers.CharField(source="get_absolute_url", read_only=True, help_text="Where people follow it.")

    class Meta:
        model = JobRun
        fields: ClassVar = [
            "retrain_id", "status", "stage", "percent", "version", "decision", "error", "reason", "requested_by",
            "page", "created_at", "started_at", "completed_at",
        ]  # fmt: skip

    def get_reason(self, run: JobRun) -> str:
        return str(run.arguments.get("reason", ""))

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_version(self, run: JobRun) -> Any:
        return run.result.get("version")

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_decision(self, run: JobRun) -> Any:
        return run.result.get("decision")


class Retrains(Endpoint):
    """Retrains that people and rules ask for, while they run and after."""

    queryset = JobRun.objects.filter(job=JOB).select_related("requested_by")
    serializer_class = AskedSerializer
    noun = "retrain"
    listed_as = "retraining-log"
    rights: ClassVar = {"create": Action.RETRAIN}
    bodies: ClassVar = {"create": RetrainBody}

    @extend_schema(responses={status.HTTP_202_ACCEPTED: AskedSerializer})
    @once
    def create(self, request: Request) -> Response:
        """Asks for a retrain and answers at once; a worker does it. `Location` says where it stands."""
        told = self.told()
        run = retrain_forecast_model(self.customer.pk, by=self.caller, **told)
        headers = {"Location": reverse("retrain-detail", args=[run.pk])}
        return Response(self.get_serializer(run).data, status.HTTP_202_ACCEPTED, headers=headers)

    def retrieve(self, request: Request, pk: str) -> Response:
        """How far it is, and what came of it."""
        return Response(self.get_serializer(self.get_object()).data)


# --- Forecasts


class ForecastQuery(serializers.Serializer):
    """One product in one store, over some days; from today on where nothing is said."""

    store_id = serializers.CharField(max_length=64)
    product_id = serializers.CharField(max_length=64)
    to = DayField(required=False, help_text=f"Default: {USUAL_DAYS} days in all; at most {MOST_DAYS}.")
    compute = serializers.BooleanField(
        default=False, help_text="Of a single day: work it out where nothing is published."
    )

    def get_fields(self) -> dict[str, serializers.Field]:
        first = DayField(required=False, help_text="Default: the customer's today.")
        return {**super().get_fields(), "from": first}


class ForecastSerializer(Row):
    """Units of one product in one store on one day, and why this version says so."""

    date = serializers.DateField()
    store_id = serializers.CharField()
    product_id = serializers.CharField()
    prediction = serializers.FloatField()
    lower = serializers.FloatField(allow_null=True)
    upper = serializers.FloatField(allow_null=True)
    version = serializers.CharField(help_text="Empty where no model says it: it was never sold there.")
    segment = serializers.CharField()
    why = serializers.CharField()
    origin = serializers.DateField(help_text="Last day whose sales it knew.")
    computed = serializers.BooleanField(help_text="Worked out now, because nothing was published.")


class Forecasts(Endpoint):
    """Published forecasts, one day ahead where the day has come."""

    queryset = Forecast.objects.none()  # the rows come through `serving`, which also says why
    serializer_class = ForecastSerializer
    pagination_class = ListCursor
    keyset = ("date",)
    queries: ClassVar = {"list": ForecastQuery}

    def list(self, request: Request) -> Response:
        """Newest day first; a day of which nothing is published is left out."""
        asked = self.asked()
        today = self.customer.today()
        last = asked.get("to")
        first = asked.get("from") or min(today, last or today)
        last = last or first + dt.timedelta(days=USUAL_DAYS - 1)
        _check_days(first, last)
        item = asked["store_id"], asked["product_id"]
        if not asked["compute"]:
            return self.page(forecasts_of(self.customer, *item, first, last))
        if first != last:
            raise serializers.ValidationError({"compute": ["Only one day is worked out: give the same from and to."]})
        return self.page([predict_demand(*item, first, customer=self.customer)])


def _check_days(first: dt.date, last: dt.date) -> None:
    if last < first:
        raise serializers.ValidationError({"to": [f"It is before {first}."]})
    if (last - first).days >= MOST_DAYS:
        raise serializers.ValidationError({"to": [f"At most {MOST_DAYS} days at once: page from day to day."]})


# --- Who serves what


class RoutingQuery(serializers.Serializer):
    """A product in a store on a day; or, without them, the rules."""

    store_id = serializers.CharField(max_length=64, required=False)
    product_id = serializers.CharField(max_length=64, required=False)
    at = DayField(required=False, help_text="Default: the customer's today for a product, any day for the rules.")
    version = serializers.CharField(max_length=100, required=False)
    segment = serializers.CharField(max_length=100, required=False)
    status = ChoiceField(["open", "ended"], required=False)

    def validate(self, asked: dict[str, Any]) -> dict[str, Any]:
        item = {"store_id", "product_id"} & set(asked)
        if len(item) == 1:
            raise serializers.ValidationError({name: ["Give store and product, or neither."] for name in ITEM - item})
        if item and (needless := set(asked) - ITEM - {"at"}):
            raise serializers.ValidationError({name: ["It narrows the rules, not one item."] for name in needless})
        return asked


class ServerSerializer(Row):
    """Which version served, or would serve, one product in one store on one day, why, and who approved it."""

    store_id = serializers.CharField()
    product_id = serializers.CharField()
    at = serializers.DateField()
    version = serializers.CharField()
    segment = serializers.CharField()
    served = serializers.BooleanField(help_text="A forecast of it was published for the day.")
    why = serializers.CharField()
    approved_by = serializers.CharField()
    since = serializers.DateField()
    forecast = ForecastSerializer(allow_null=True)


class RuleSerializer(ModelRow):
    """A segment is served by a version from `valid_from` until before `valid_to`."""

    version = version_name()
    by = email()

    class Meta:
        model = RoutingRule
        fields: ClassVar = ["model_name", "segment", "version", "valid_from", "valid_to", "by", "reason"]


class RulePage(serializers.Serializer):
    """A page of rules, newest first."""

    count = serializers.IntegerField()
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = RuleSerializer(many=True)


class Routing(Endpoint):
    """Routing rules, and what follows from them for one item."""

    queryset = RoutingRule.objects.select_related("version", "by")
    serializer_class = RuleSerializer
    queries: ClassVar = {"list": RoutingQuery}

    @extend_schema(
        responses=PolymorphicProxySerializer(
            component_name="Routing", serializers=[RulePage, ServerSerializer], resource_type_field_name=None,
            many=False,
        )
    )  # fmt: skip
    def list(self, request: Request) -> Response:
        """Who serves `product_id` in `store_id` on the day `at`; without them, the rules, newest first."""
        asked = self.asked()
        if "store_id" in asked:
            at = asked.get("at") or self.customer.today()
            server = who_serves(self.customer, asked["store_id"], asked["product_id"], at)
            return Response(ServerSerializer(server).data)
        rules = cast(RoutingRuleQuerySet, self.get_queryset())
        if "at" in asked:
            rules = rules.valid_on(asked["at"])
        if "status" in asked:
            rules = rules.open() if asked["status"] == "open" else rules.exclude(valid_to=None)
        keys = {"version": "version__version", "segment": "segment"}
        return self.page(rules.filter(**{key: asked[name] for name, key in keys.items() if name in asked}))


ROUTES = {"retrain": Retrains, "forecasts": Forecasts, "routing": Routing}
