"""What an alert's metadata say, in words that a planner reads."""

from alerts.models import MLAlert
from shelfops.told import told

SHOWN_ELSEWHERE = frozenset({"model_name", "version", "segment"})


def facts(alert: MLAlert) -> list[tuple[str, str]]:
    """Label and value of each fact, unknown and empty ones left out, such as: Drift, 44.5 %."""
    return told(alert.metadata, SHOWN_ELSEWHERE)
