"""The ledger's rows as the API shows them."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mlops.models import (
    BacktestResult,
    DriftCheck,
    DriftIncident,
    IncidentEvent,
    ModelRetrainingLog,
    ModelReview,
    ModelVersion,
    ShadowPrediction,
    ShadowTest,
    VersionEvent,
)
from mlops.promotion import champion_of
from shelfops.models import JobRun
from shelfops.rest.fields import Body, ChoiceField, ModelRow, TextField, email


def version_name(**kwargs: Any) -> serializers.SlugRelatedField:
    """Such as v13. The queryset has to select the version."""
    return serializers.SlugRelatedField("version", read_only=True, **kwargs)


# --- Versions


class VersionSerializer(ModelRow):
    """A version in a list."""

    parent = version_name(allow_null=True)  # type: ignore[assignment]  # the name of an attribute of fields, too
    retraining = serializers.IntegerField(source="run_id", allow_null=True, read_only=True, help_text="Its log row.")

    class Meta:
        model = ModelVersion
        fields: ClassVar[list[str]] = [
            "version", "model_name", "segment", "status", "tier", "as_of", "mae", "baseline_mae", "coverage",
            "metrics", "parent", "retraining", "champion_since", "created_at",
        ]  # fmt: skip


class EventSerializer(ModelRow):
    """One change of a version's status; `by` null is the system, by rule."""

    by = email()

    class Meta:
        model = VersionEvent
        fields: ClassVar = ["from_status", "to_status", "by", "reason", "as_of", "created_at"]


class ReviewSerializer(ModelRow):
    """How a person decided about a version."""

    by = email()
    champion = version_name(allow_null=True)

    class Meta:
        model = ModelReview
        fields: ClassVar = ["action", "by", "notes", "champion", "verdict", "as_of", "created_at"]


class ShadowTestSerializer(ModelRow):
    """A version's time in shadow."""

    class Meta:
        model = ShadowTest
        fields: ClassVar = [
            "status", "started_on", "target_days", "completed_on", "verdict", "days", "samples", "champion_mae",
            "challenger_mae", "improvement_pct", "lower", "upper", "result",
        ]  # fmt: skip


class TrainedBySerializer(ModelRow):
    """The run that produced a version."""

    requested_by = email()

    class Meta:
        model = ModelRetrainingLog
        fields: ClassVar = ["id", "trigger_type", "trigger_metadata", "reason", "requested_by", "as_of"]


class LineageSerializer(ModelRow):
    """Where a version comes from, and what came of it."""

    parent = version_name(allow_null=True)  # type: ignore[assignment]  # the name of an attribute of fields, too
    children = version_name(many=True)
    retraining = TrainedBySerializer(source="run", read_only=True, allow_null=True)

    class Meta:
        model = ModelVersion
        fields: ClassVar = [
            "parent", "children", "retraining", "evaluation_start", "evaluation_end", "train_start", "train_end",
            "rows", "series", "data_hash", "code_version", "libraries", "artefact_sha256",
        ]  # fmt: skip


class VersionDetailSerializer(VersionSerializer):
    """Everything of a version."""

    champion = serializers.SerializerMethodField(
        help_text="Who serves its segment now, empty for nobody: send it as `expected_champion` with a decision."
    )
    lineage = LineageSerializer(source="*", read_only=True)
    events = EventSerializer(many=True, read_only=True)
    review = serializers.SerializerMethodField()
    shadow_test = serializers.SerializerMethodField()

    class Meta(VersionSerializer.Meta):
        fields: ClassVar[list[str]] = [
            *VersionSerializer.Meta.fields, "champion", "recipe", "decision", "lineage", "events", "review",
            "shadow_test", "importances",
        ]  # fmt: skip

    def get_champion(self, version: ModelVersion) -> str:
        champion = champion_of(version)
        return champion.version if champion else ""

    @extend_schema_field(ReviewSerializer(allow_null=True))
    def get_review(self, version: ModelVersion) -> Any:
        found = getattr(version, "review", None)
        return ReviewSerializer(found).data if found else None

    @extend_schema_field(ShadowTestSerializer(allow_null=True))
    def get_shadow_test(self, version: ModelVersion) -> Any:
        found = getattr(version, "shadow_test", None)
        return ShadowTestSerializer(found).data if found else None


class ReviewBody(Body):
    """A decision about a challenger."""

    action = ChoiceField(ModelReview.Action.choices)
    notes = TextField(max_length=4000, help_text="Why: kept with the version and the alert.")
    expected_champion = TextField(
        max_length=100,
        required=False,
        allow_blank=True,
        help_text="The champion that the caller has seen, empty for none; 409 where it is another by now.",
    )
    verdict = ChoiceField(
        DriftIncident.Verdict.choices, required=False, help_text="On the drift that asked for the version."
    )


class RollbackBody(Body):
    """Why a former champion has to serve again."""

    reason = TextField(max_length=4000)
    expected_champion = TextField(max_length=100, required=False, allow_blank=True, help_text="As in a review.")


class TrainAgainBody(Body):
    """Why an emergency retrain that failed is done again."""

    reason = TextField(max_length=4000)


class CloseIncidentBody(Body):
    """Why an incident is closed though no new version was trained for it."""

    notes = TextField(max_length=4000, help_text="Why: kept with the incident and the alert.")
    verdict = ChoiceField(DriftIncident.Verdict.choices, required=False, help_text="What caused the drift.")


# --- Runs and results


class RetrainingSerializer(ModelRow):
    """A retrain from its trigger to its decision."""

    retrain_id = serializers.IntegerField(
        source="job_run_id", allow_null=True, read_only=True, help_text="What POST /retrain answered."
    )
    requested_by = email()
    versions = version_name(many=True, help_text="All that it made, as in `version_produced`.")

    class Meta:
        model = ModelRetrainingLog
        fields: ClassVar = [
            "id", "retrain_id", "model_name", "trigger_type", "trigger_metadata", "reason", "requested_by", "as_of",
            "status", "version_produced", "versions", "decision", "notes", "error", "stages",
            "started_at", "completed_at",
        ]  # fmt: skip


class BacktestSerializer(ModelRow):
    """Metrics of one version, or of a baseline beside it, over the scored rows of one scope; unknown is null."""

    version = version_name()

    class Meta:
        model = BacktestResult
        fields: ClassVar = [
            "version", "baseline", "kind", "origin", "lead_band", "first_day", "day", "scope_type", "scope_value", "n",
            "units", "mae", "wape", "rmse", "mape", "mape_n", "bias", "mase", "mase_n", "coverage", "width",
            "missed_above", "missed_below",
        ]  # fmt: skip


class ShadowPredictionSerializer(ModelRow):
    """What champion and challenger said of one product in one store on one day, and what was sold."""

    version = version_name()
    champion = version_name()

    class Meta:
        model = ShadowPrediction
        fields: ClassVar = [
            "forecast_date", "store_id", "product_id", "version", "champion", "champion_prediction",
            "champion_lower", "champion_upper", "challenger_prediction", "challenger_lower", "challenger_upper",
            "seasonal_naive", "actual_demand", "department", "band", "replayed", "created_at",
        ]  # fmt: skip


# --- Drift


class IncidentSerializer(ModelRow):
    """A segment whose champion has become worse, with what speaks for which cause."""

    champion = version_name()
    challenger = version_name(allow_null=True)
    retraining = serializers.IntegerField(source="retraining_id", allow_null=True, read_only=True)
    closed_by = email()

    class Meta:
        model = DriftIncident
        fields: ClassVar = [
            "id", "model_name", "segment", "status", "opened_on", "last_seen_on", "champion", "baseline_mae",
            "recent_mae", "drift_pct", "dossier", "suggested_verdict", "verdict", "retraining", "challenger",
            "outcome", "closed_on", "closed_by", "reason", "created_at",
        ]  # fmt: skip


class IncidentEventSerializer(ModelRow):
    """One step of an incident."""

    by = email()

    class Meta:
        model = IncidentEvent
        fields: ClassVar = ["kind", "by", "reason", "as_of", "created_at"]


class IncidentDetailSerializer(IncidentSerializer):
    """An incident with its steps, and what a person can do where the emergency retrain brought nothing."""

    events = IncidentEventSerializer(many=True, read_only=True)
    allowed_actions = serializers.SerializerMethodField(help_text="Beside a review of its challenger.")

    class Meta(IncidentSerializer.Meta):
        fields: ClassVar = [*IncidentSerializer.Meta.fields, "allowed_actions", "events"]

    @extend_schema_field(serializers.ListField(child=serializers.ChoiceField(["retrain", "close"])))
    def get_allowed_actions(self, incident: DriftIncident) -> list[str]:
        return ["retrain", "close"] if incident.is_unreplaced else []


class AskedAgainSerializer(ModelRow):
    """The run that does an emergency retrain again; what it logs has its key as `retrain_id`."""

    retrain_id = serializers.IntegerField(source="pk", read_only=True)
    requested_by = email()
    page = serializers.CharField(source="get_absolute_url", read_only=True, help_text="Where people follow it.")

    class Meta:
        model = JobRun
        fields: ClassVar = ["retrain_id", "status", "requested_by", "page", "created_at"]


class DriftCheckSerializer(ModelRow):
    """One night's verdict on one segment, with the incident that it opened or belongs to."""

    champion = version_name()
    incident = IncidentSerializer(read_only=True, allow_null=True)

    class Meta:
        model = DriftCheck
        fields: ClassVar = [
            "id", "as_of", "model_name", "segment", "champion", "verdict", "recent_mae", "baseline_mae", "drift_pct",
            "lower", "recent_naive_mae", "baseline_naive_mae", "recent_rows", "baseline_rows", "recent_days",
            "baseline_days", "first_day", "last_day", "reason", "incident",
        ]  # fmt: skip
