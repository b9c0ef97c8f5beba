"""The ledger's tables, one module each."""

from mlops.models.backtest import BacktestResult
from mlops.models.drift import DegradationCheck, DriftCheck, DriftIncident, IncidentEvent
from mlops.models.experiment import ExperimentEvent, ModelExperiment
from mlops.models.kept import KeptAnswer
from mlops.models.policy import MOST_DAYS_AHEAD, ModelPolicy
from mlops.models.retraining import ModelRetrainingLog
from mlops.models.review import ModelReview
from mlops.models.routing import RoutingRule
from mlops.models.shadow import ShadowPrediction, ShadowTest
from mlops.models.version import GLOBAL, ModelVersion, VersionEvent

__all__ = [
    "GLOBAL",
    "MOST_DAYS_AHEAD",
    "BacktestResult",
    "DegradationCheck",
    "DriftCheck",
    "DriftIncident",
    "ExperimentEvent",
    "IncidentEvent",
    "KeptAnswer",
    "ModelExperiment",
    "ModelPolicy",
    "ModelRetrainingLog",
    "ModelReview",
    "ModelVersion",
    "RoutingRule",
    "ShadowPrediction",
    "ShadowTest",
    "VersionEvent",
]
