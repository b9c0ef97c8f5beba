"""Experiments over the API: proposed, approved, started, looked at, completed, undone."""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from forecasting import experiment_runs
from forecasting.api import ParametersBody
from forecasting.orders import LEAST_WINDOW_DAYS, MOST_WINDOW_DAYS
from mlops import experiments
from mlops.experiment_results import results_of, with_guards
from mlops.models import ExperimentEvent, ModelExperiment
from mlops.routing import Kind
from mlops.serializers import VersionSerializer
from shelfops.models import MODEL_NAME_DEFAULT
from shelfops.rest.fields import Body, ChoiceField, ModelRow, Row, TextField, email
from shelfops.rest.filtering import ChoiceFilter, Filters, Ordering, TextFilter
from shelfops.rest.replay import once
from shelfops.rest.views import Rows
from shelfops.tenancy import Action

# --- What is told


class PlanBody(Body):
    """What to train; what is left out is as the champion's recipe has it."""

    tier = TextField(max_length=64, required=False, help_text="A feature tier, or department_tiered, …")
    segmentation = ChoiceField([kind.value for kind in Kind], required=False)
    segments = serializers.ListField(
        child=TextField(max_length=100),
        required=False,
        help_text="Such as Electronics; all where left out.",
    )
    params = ParametersBody(required=False)
    window_days = serializers.IntegerField(required=False, min_value=LEAST_WINDOW_DAYS, max_value=MOST_WINDOW_DAYS)
    top_products = serializers.IntegerField(required=False, min_value=1, max_value=10**6)


class ProposalBody(Body):
    """A hypothesis that somebody wants to try."""

    experiment_name = TextField(max_length=200)
    hypothesis = TextField(max_length=10_000)
    experiment_type = ChoiceField(ModelExperiment.Type.choices)
    model_name = TextField(max_length=64, default=MODEL_NAME_DEFAULT)
    proposed_by = serializers.EmailField(required=False, help_text="The caller, where it is given.")
    target_improvement_pct = serializers.FloatField(
        required=False, min_value=0.01, max_value=99.99, help_text="Default: the policy's."
    )
    plan = PlanBody(required=False)


class ApprovalBody(Body):
    """Why the proposal is approved, and under which conditions."""

    approved_by = serializers.EmailField(required=False, help_text="The caller, where it is given.")
    rationale = TextField(max_length=4000)
    conditions = serializers.DictField(required=False, help_text="`top_products` binds the run; others are shown.")


class RejectionBody(Body):
    """Why the proposal is rejected."""

    approved_by = serializers.EmailField(required=False, help_text="The caller, where it is given.")
    rationale = TextField(max_length=4000)


class StartBody(Body):
    """What completes a plan that leaves it open."""

    tier = TextField(max_length=64, required=False, help_text="As in the plan.")


class CompletionBody(Body):
    """What is adopted, and why; numbers that are sent along are kept beside those that the server computes."""

    decision = ChoiceField(ModelExperiment.Decision.choices)
    decision_rationale = TextField(max_length=4000)
    segments = serializers.ListField(
        child=TextField(max_length=100),
        required=False,
        help_text="For partial_adopt; left out, those that reach their target.",
    )
    results = serializers.DictField(required=False, help_text="As reported; stored, never computed with.")
    expected_champion = TextField(
        max_length=2000,
        required=False,
        allow_blank=True,
        help_text="Who serves beside the adopted versions, as the caller has seen it; several joined by “, ”.",
    )


class ReasonBody(Body):
    """Why the step is taken."""

    rationale = TextField(max_length=4000)


class UndoBody(ReasonBody):
    """Why what was adopted is undone; who has followed it meanwhile goes with it."""

    expected_champion = TextField(
        max_length=2000,
        required=False,
        allow_blank=True,
        help_text="Who serves in the adopted segments, as the caller has seen it; several joined by “, ”; 409 where "
        "others do by now.",
    )


# --- What is answered


class ExperimentEventSerializer(ModelRow):
    """One change of an experiment's status; `by` null is the system."""

    by = email()

    class Meta:
        model = ExperimentEvent
        fields: ClassVar = ["from_status", "to_status", "by", "reason", "as_of", "created_at"]


class ExperimentSerializer(ModelRow):
    """An experiment in a list."""

    proposed_by = email()
    approved_by = email()
    completed_by = email()

    class Meta:
        model = ModelExperiment
        fields: ClassVar[list[str]] = [
            "experiment_id", "experiment_name", "hypothesis", "experiment_type", "model_name", "status",
            "target_improvement_pct", "plan", "proposed_by", "created_at", "approved_by", "approved_at", "rationale",
            "conditions", "self_approved", "baseline_version", "experimental_version", "started_on", "error",
            "decision", "decision_rationale", "completed_by", "completed_at",
        ]  # fmt: skip


class ExperimentDetailSerializer(ExperimentSerializer):
    """Everything of an experiment."""

    versions = VersionSerializer(many=True, read_only=True)
    events = ExperimentEventSerializer(many=True, read_only=True)

    class Meta(ExperimentSerializer.Meta):
        fields: ClassVar[list[str]] = [
            *ExperimentSerializer.Meta.fields, "results", "reported_results", "adopted", "versions", "events",
        ]  # fmt: skip


class StartedSerializer(ExperimentDetailSerializer):
    """An experiment whose training is queued."""

    retrain_id = serializers.IntegerField(help_text="As GET /retrain/{id} takes it.")

    class Meta(ExperimentDetailSerializer.Meta):
        fields: ClassVar[list[str]] = [*ExperimentDetailSerializer.Meta.fields, "retrain_id"]


class GuardSerializer(Row):
    """What must not get worse when a version is better, and what was found."""

    name = serializers.CharField()
    passed = serializers.BooleanField()
    value = serializers.FloatField(allow_null=True)
    limit = serializers.FloatField(allow_null=True)
    sentence = serializers.CharField()


class ShownSerializer(Row):
    """One segment's version against who served the same rows; unknown is null."""

    segment = serializers.CharField()
    version = serializers.CharField()
    baseline_mae = serializers.FloatField(allow_null=True)
    experimental_mae = serializers.FloatField(allow_null=True)
    improvement_pct = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(allow_null=True), help_text="By whole days.")
    samples = serializers.IntegerField()
    days = serializers.IntegerField()
    reaches_target = serializers.BooleanField()
    guards = GuardSerializer(many=True, help_text="Of its shadow test; none until that is judged.")


class ResultsSerializer(Row):
    """What the experiment has shown so far, computed from shadow rows that have their actual."""

    experiment_id = serializers.UUIDField()
    status = serializers.ChoiceField(ModelExperiment.Status.choices)
    shadow_test_duration_days = serializers.IntegerField()
    baseline_version = serializers.CharField()
    experimental_version = serializers.CharField()
    target_improvement_pct = serializers.FloatField()
    baseline_mae = serializers.FloatField(allow_null=True)
    experimental_mae = serializers.FloatField(allow_null=True)
    improvement_pct = serializers.FloatField(allow_null=True)
    interval = serializers.ListField(child=serializers.FloatField(allow_null=True), help_text="By whole days.")
    samples = serializers.IntegerField()
    segments = ShownSerializer(many=True)
    latency_ms_per_1000 = serializers.DictField(help_text="By version: measured on the first night, beside who served.")
    products = serializers.DictField(help_text="By version: to how many products it is limited; null for all.")
    conditions = serializers.DictField()
    recommendation = serializers.CharField(help_text="Begins with PROMOTE, PARTIAL, EXTEND or REJECT.")


# --- The endpoints


class ExperimentFilters(Filters):
    """`from` and `to` are about when it was proposed."""

    days = "created_at"
    moments = True

    status = ChoiceFilter(choices=ModelExperiment.Status.choices)
    experiment_type = ChoiceFilter(choices=ModelExperiment.Type.choices)
    model_name = TextFilter()
    version = TextFilter("versions__version")
    ordering = Ordering(fields=["created_at", "completed_at"])


SPEC_PROPOSAL = OpenApiExample(
    "From the specification",
    value={
        "experiment_name": "Department-Tiered Forecasting — Electronics Focus",
        "hypothesis": "Electronics demand patterns differ from Grocery/Apparel. Dedicated model will reduce "
        "Electronics MAE from 18.2 to 15.5 (15% improvement).",
        "experiment_type": "segmentation",
        "model_name": "demand_forecast",
    },
    request_only=True,
)
SPEC_COMPLETION = OpenApiExample(
    "From the specification",
    value={
        "decision": "partial_adopt",
        "decision_rationale": "Electronics model shows strong improvement (22%). Adopt Electronics tier, keep global "
        "for others.",
        "segments": ["Electronics"],
    },
    request_only=True,
)


class Experiments(Rows):
    """Experiments, newest first."""

    queryset = ModelExperiment.objects.select_related("proposed_by", "approved_by", "completed_by")
    serializer_class = ExperimentSerializer
    filterset_class = ExperimentFilters
    noun = "experiment"
    rights: ClassVar = {
        "create": Action.PROPOSE_EXPERIMENT,
        "approve": Action.DECIDE_PROPOSAL,
        "reject": Action.DECIDE_PROPOSAL,
        "start": Action.PROPOSE_EXPERIMENT,
        "complete": Action.COMPLETE_EXPERIMENT,
        "cancel": Action.PROPOSE_EXPERIMENT,
        "rollback": Action.ROLL_BACK,
    }
    bodies: ClassVar = {
        "create": ProposalBody,
        "approve": ApprovalBody,
        "reject": RejectionBody,
        "start": StartBody,
        "complete": CompletionBody,
        "cancel": ReasonBody,
        "rollback": UndoBody,
    }

    @extend_schema(responses={status.HTTP_201_CREATED: ExperimentDetailSerializer}, examples=[SPEC_PROPOSAL])
    @once
    def create(self, request: Request) -> Response:
        """Proposes an experiment; a manager other than the proposer has to approve it."""
        told = self.told()
        self._is_the_caller("proposed_by", told)
        told.pop("proposed_by", None)
        name = told.pop("experiment_name")
        made = experiments.propose(self.customer, by=self.caller, name=name, **told)
        return self._all_of(made.pk, status.HTTP_201_CREATED)

    @extend_schema(responses=ExperimentDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Everything of an experiment, with its events."""
        return self._all_of(self._found(pk).pk)

    @extend_schema(responses=ExperimentDetailSerializer)
    @action(detail=True, methods=["patch"])
    @once
    def approve(self, request: Request, pk: str) -> Response:
        """Allows it; the conditions bind the run and are shown when it is completed."""
        told = self.told()
        self._is_the_caller("approved_by", told)
        experiments.approve(
            self._found(pk), by=self.caller, rationale=told["rationale"], conditions=told.get("conditions")
        )
        return self._all_of(pk)

    @extend_schema(responses=ExperimentDetailSerializer)
    @action(detail=True, methods=["patch"])
    @once
    def reject(self, request: Request, pk: str) -> Response:
        """Does not allow it."""
        told = self.told()
        self._is_the_caller("approved_by", told)
        experiments.reject(self._found(pk), by=self.caller, rationale=told["rationale"])
        return self._all_of(pk)

    @extend_schema(responses={status.HTTP_202_ACCEPTED: StartedSerializer})
    @action(detail=True, methods=["post"])
    @once
    def start(self, request: Request, pk: str) -> Response:
        """Asks for its training and answers at once: in_progress until its versions are in shadow.

        A training that failed leaves its `error`, and can be started again.
        """
        told = self.told()
        run = experiment_runs.start(self.customer, self._found(pk), self.caller, tier=told.get("tier"))
        answer = self._all_of(pk, status.HTTP_202_ACCEPTED)
        answer.data["retrain_id"] = run.pk
        return answer

    @extend_schema(responses=ResultsSerializer)
    @action(detail=True, methods=["get"])
    def results(self, request: Request, pk: str) -> Response:
        """Shadow so far: MAE of both on the same rows, per segment and overall, and what follows from it.

        A segment may reach its target while guards of its shadow test fail: a person weighs that.
        """
        found = self._found(pk)
        return Response(with_guards(results_of(found), found))

    @extend_schema(responses=ExperimentDetailSerializer, examples=[SPEC_COMPLETION])
    @action(detail=True, methods=["post"])
    @once
    def complete(self, request: Request, pk: str) -> Response:
        """Adopts all its versions, those of some segments, or none; the same again answers the same."""
        told = self.told()
        experiments.complete(
            self._found(pk),
            by=self.caller,
            decision=told["decision"],
            rationale=told["decision_rationale"],
            segments=told.get("segments"),
            reported=told.get("results"),
            expected_champion=told.get("expected_champion"),
        )
        return self._all_of(pk)

    @extend_schema(responses=ExperimentDetailSerializer)
    @action(detail=True, methods=["post"])
    @once
    def cancel(self, request: Request, pk: str) -> Response:
        """Ends it before its completion; what was trained for it is archived."""
        experiments.cancel(self._found(pk), by=self.caller, rationale=self.told()["rationale"])
        return self._all_of(pk)

    @extend_schema(responses=ExperimentDetailSerializer)
    @action(detail=True, methods=["post"])
    @once
    def rollback(self, request: Request, pk: str) -> Response:
        """Who served before the adoption serves again."""
        told = self.told()
        experiments.roll_back(
            self._found(pk),
            by=self.caller,
            rationale=told["rationale"],
            expected_champion=told.get("expected_champion"),
        )
        return self._all_of(pk)

    def _found(self, pk: str) -> ModelExperiment:
        try:
            key = UUID(pk)
        except ValueError:
            raise self.nothing() from None
        found: ModelExperiment = self.find(self.get_queryset().select_related("customer"), pk=key)
        return found

    def _all_of(self, pk: UUID | str, code: int = status.HTTP_200_OK) -> Response:
        rows = self.get_queryset().prefetch_related("versions__parent", "events__by")
        data = ExperimentDetailSerializer(rows.get(pk=pk), context=self.get_serializer_context()).data
        return Response(dict(data), code)

    def _is_the_caller(self, field: str, told: dict[str, Any]) -> None:
        if told.get(field, self.caller.email).lower() != self.caller.email.lower():
            raise serializers.ValidationError(
                {field: [f"You are {self.caller.email}. Leave it out, or name yourself."]}
            )


ROUTES: dict[str, Any] = {"experiments": Experiments}
