"""Alerts for tests."""

from alerts.alerting import raise_alert
from alerts.models import MLAlert
from shelfops.models import Customer


def an_alert(
    customer: Customer,
    alert_type: MLAlert.Type = MLAlert.Type.PROMOTION_PENDING,
    version: str = "v2",
    **changes: object,
) -> MLAlert:
    """One about a version that awaits a decision."""
    texts = {
        "title": f"{version} awaits a decision",
        "message": "6.1 % better, but RMSE is 3.4 % worse",
        "action_url": f"/models/review/{version}",
        "metadata": {"version": version},
        "dedupe": f"demand_forecast:{version}",
        "model_name": "demand_forecast",
        "version": version,
        "segment": "global",
    }
    return raise_alert(customer, alert_type, **{**texts, **changes})
