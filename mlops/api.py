"""The ledger over the API: versions and decisions about them, the retraining log, backtests, shadow rows and drift."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from mlops import promotion, unreplaced
from mlops.models import (
    BacktestResult,
    DriftCheck,
    DriftIncident,
    ModelRetrainingLog,
    ModelVersion,
    ShadowPrediction,
)
from mlops.review import review
from mlops.serializers import (
    AskedAgainSerializer,
    BacktestSerializer,
    CloseIncidentBody,
    DriftCheckSerializer,
    IncidentDetailSerializer,
    IncidentSerializer,
    RetrainingSerializer,
    ReviewBody,
    RollbackBody,
    ShadowPredictionSerializer,
    TrainAgainBody,
    VersionDetailSerializer,
    VersionSerializer,
)
from shelfops.models import MODEL_NAME_DEFAULT
from shelfops.rest.filtering import ChoiceFilter, Filters, NumberFilter, Ordering, TextFilter, YesFilter
from shelfops.rest.paging import Cursor
from shelfops.rest.replay import once
from shelfops.rest.views import Rows
from shelfops.tenancy import Action


class OneModel(serializers.Serializer):
    """Which model a version's name is of."""

    model_name = serializers.CharField(max_length=64, default=MODEL_NAME_DEFAULT)


# --- Versions


class VersionFilters(Filters):
    """`from` and `to` are about the customer's day on which it was trained."""

    days = "as_of"

    status = ChoiceFilter(choices=ModelVersion.Status.choices)
    segment = TextFilter()
    model_name = TextFilter()
    tier = TextFilter()
    ordering = Ordering(fields=["created_at", "as_of", "mae", "number"])


SPEC_REVIEW = OpenApiExample(
    "From the specification",
    value={"action": "approve", "notes": "Backtest better in every department; the drift is real."},
    request_only=True,
)


class Versions(Rows):
    """Model versions, and what people decide about them."""

    queryset = ModelVersion.objects.select_related("parent")
    serializer_class = VersionSerializer
    filterset_class = VersionFilters
    lookup_field = "version"
    noun = "version"
    rights: ClassVar = {"rollback": Action.ROLL_BACK}
    queries: ClassVar = dict.fromkeys(["retrieve", "review", "rollback"], OneModel)
    bodies: ClassVar = {"review": ReviewBody, "rollback": RollbackBody}

    @extend_schema(responses=VersionDetailSerializer)
    def retrieve(self, request: Request, version: str) -> Response:
        """Everything of a version: metrics, decision, lineage, events."""
        rows = self.get_queryset().select_related("run__requested_by", "review__by", "review__champion", "shadow_test")
        found = self.find(rows.prefetch_related("children", "events__by"), version=version, **self.asked())
        return Response(VersionDetailSerializer(found, context=self.get_serializer_context()).data)

    @extend_schema(responses=VersionDetailSerializer, examples=[SPEC_REVIEW])
    @action(detail=True, methods=["post"])
    @once
    def review(self, request: Request, version: str) -> Response:
        """Approves a challenger, which then serves its segment, or rejects it.

        Its open alerts are actioned with it, and the drift incident that led to it is closed. The same again answers
        the same; a conflicting decision gets 409 with who decided what. Data scientists review what drift asked for,
        managers everything.
        """
        told = self.told()
        review(
            self._version(version),
            told["action"],
            by=self.caller,
            notes=told["notes"],
            expected_champion=told.get("expected_champion"),
            verdict=told.get("verdict", ""),
        )
        return self.retrieve(request, version)

    @extend_schema(responses=VersionDetailSerializer)
    @action(detail=True, methods=["post"])
    @once
    def rollback(self, request: Request, version: str) -> Response:
        """An archived former champion serves again; for some days nothing promotes itself."""
        told = self.told()
        promotion.roll_back(
            self._version(version),
            by=self.caller,
            reason=told["reason"],
            as_of=self.customer.today(),
            expected_champion=told.get("expected_champion"),
        )
        return self.retrieve(request, version)

    def _version(self, version: str) -> ModelVersion:
        found: ModelVersion = self.find(
            self.get_queryset().select_related("customer", "run"), version=version, **self.asked()
        )
        return found


# --- The log and the results


class RetrainingFilters(Filters):
    """`from` and `to` are about the customer's day on which it ran."""

    days = "as_of"

    status = ChoiceFilter(choices=ModelRetrainingLog.Status.choices)
    trigger_type = ChoiceFilter(choices=ModelRetrainingLog.Trigger.choices)
    version = TextFilter(method="by_version")
    segment = TextFilter(method="by_version")
    model_name = TextFilter()
    retrain_id = NumberFilter("job_run")
    ordering = Ordering(fields=["started_at", "completed_at", "as_of"])

    def by_version(self, logs: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return logs.filter(pk__in=ModelVersion.objects.filter(**{name: value}).values("run"))


class RetrainingLog(Rows):
    """Every retrain, with what came of it."""

    queryset = ModelRetrainingLog.objects.select_related("requested_by").prefetch_related("versions")
    serializer_class = RetrainingSerializer
    filterset_class = RetrainingFilters
    noun = "retrain in the log"

    def retrieve(self, request: Request, pk: str) -> Response:
        """One retrain."""
        return Response(self.get_serializer(self.get_object()).data)


class BacktestFilters(Filters):
    """`from` and `to` are about the last day scored; `status` and `segment` about the version."""

    days = "day"

    version = TextFilter("version__version")
    model_name = TextFilter("version__model_name")
    status = ChoiceFilter("version__status", choices=ModelVersion.Status.choices)
    segment = TextFilter("version__segment")
    kind = ChoiceFilter(choices=BacktestResult.Kind.choices)
    scope_type = ChoiceFilter(choices=BacktestResult.Scope.choices)
    scope_value = TextFilter()
    lead_band = TextFilter()
    baseline = TextFilter()
    is_baseline = YesFilter(method="by_baseline")

    def by_baseline(self, results: QuerySet[Any], _name: str, wanted: bool) -> QuerySet[Any]:
        return results.exclude(baseline="") if wanted else results.filter(baseline="")


class Backtests(Rows):
    """How versions and baselines did, by day and scope."""

    queryset = BacktestResult.objects.select_related("version")
    serializer_class = BacktestSerializer
    filterset_class = BacktestFilters
    pagination_class = Cursor
    keyset = ("day", "id")


class ShadowFilters(Filters):
    """`from` and `to` are about the day forecast; `status` and `segment` about the version in shadow."""

    days = "forecast_date"

    version = TextFilter("version__version")
    champion = TextFilter("champion__version")
    model_name = TextFilter("version__model_name")
    status = ChoiceFilter("version__status", choices=ModelVersion.Status.choices)
    segment = TextFilter("version__segment")
    store_id = TextFilter()
    product_id = TextFilter()
    department = TextFilter()
    has_actual = YesFilter("actual_demand", lookup_expr="isnull", exclude=True)


class ShadowPredictions(Rows):
    """Every version in shadow beside its champion, one day ahead."""

    queryset = ShadowPrediction.objects.select_related("version", "champion")
    serializer_class = ShadowPredictionSerializer
    filterset_class = ShadowFilters
    pagination_class = Cursor
    keyset = ("forecast_date", "id")


# --- Drift


class DriftFilters(Filters):
    """`from` and `to` are about the night of the check; `status` about its incident."""

    days = "as_of"

    version = TextFilter("champion__version")
    model_name = TextFilter()
    segment = TextFilter()
    verdict = ChoiceFilter(choices=DriftCheck.Verdict.choices)
    status = ChoiceFilter("incident__status", choices=DriftIncident.Status.choices)
    ordering = Ordering(fields=["as_of", "drift_pct"])


class Drift(Rows):
    """What the nightly checks found."""

    queryset = DriftCheck.objects.select_related(
        "champion", "incident__champion", "incident__challenger", "incident__closed_by"
    )
    serializer_class = DriftCheckSerializer
    filterset_class = DriftFilters


class IncidentFilters(Filters):
    """`from` and `to` are about the day on which it was opened."""

    days = "opened_on"

    version = TextFilter("champion__version")
    model_name = TextFilter()
    segment = TextFilter()
    status = ChoiceFilter(choices=DriftIncident.Status.choices)
    ordering = Ordering(fields=["opened_on", "closed_on"])


class Incidents(Rows):
    """Drift from its detection to a person's decision, each with its dossier."""

    queryset = DriftIncident.objects.select_related("customer", "champion", "challenger", "closed_by")
    serializer_class = IncidentSerializer
    filterset_class = IncidentFilters
    noun = "drift incident"
    rights: ClassVar = {"retrain": Action.RETRAIN, "close": Action.REVIEW_DRIFT}
    bodies: ClassVar = {"retrain": TrainAgainBody, "close": CloseIncidentBody}

    @extend_schema(responses=IncidentDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """One incident, with its steps."""
        found = self.find(self.get_queryset().prefetch_related("events__by"), pk=pk)
        return Response(IncidentDetailSerializer(found, context=self.get_serializer_context()).data)

    @extend_schema(responses={202: AskedAgainSerializer})
    @action(detail=True, methods=["post"])
    @once
    def retrain(self, request: Request, pk: str) -> Response:
        """Does an emergency retrain again that failed, and answers its run at once; a worker does it.

        An alert tells how it ended. Whoever asks while one is at work gets that one; 409 where the incident is closed
        or has a challenger that awaits its review.
        """
        run = unreplaced.train_again(self.get_object(), by=self.caller, reason=self.told()["reason"])
        return Response(AskedAgainSerializer(run).data, 202)

    @extend_schema(responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    @once
    def close(self, request: Request, pk: str) -> Response:
        """Closes an incident for which no new version could be trained, and its alert: the champion stays.

        Answers the incident; the same again answers the same. 409 where somebody else has closed it otherwise, or a
        challenger awaits its review.
        """
        told = self.told()
        unreplaced.close(self.get_object(), by=self.caller, notes=told["notes"], verdict=told.get("verdict"))
        return self.retrieve(request, pk)


ROUTES = {
    "models": Versions,
    "retraining-log": RetrainingLog,
    "backtests": Backtests,
    "shadow-predictions": ShadowPredictions,
    "drift/incidents": Incidents,
    "drift": Drift,
}
