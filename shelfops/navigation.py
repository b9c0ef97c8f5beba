"""The admin's side bar, in a retailer's words: each table once, where the caller may see it."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

# Topic -> (table, its name in the side bar, icon). A table of a later step appears once it is registered.
TOPICS: dict[str, list[tuple[str, str, str]]] = {
    "Sales": [
        ("forecasting.sale", "Sales", "receipt_long"),
        ("forecasting.feedday", "Feed days", "event_available"),
        ("forecasting.plannedprice", "Planned prices", "sell"),
    ],
    "Catalogue": [
        ("forecasting.store", "Stores", "storefront"),
        ("forecasting.product", "Products", "inventory_2"),
        ("forecasting.categorydepartment", "Categories", "category"),
        ("forecasting.series", "Products in stores", "timeline"),
    ],
    "Models": [
        ("alerts.mlalert", "Alerts", "notifications"),
        ("forecasting.forecast", "Forecasts", "trending_up"),
        ("forecasting.forecastrun", "Forecast runs", "nights_stay"),
        ("mlops.routingrule", "Routing rules", "alt_route"),
        ("mlops.modelversion", "Model versions", "deployed_code"),
        ("mlops.modelretraininglog", "Retraining log", "model_training"),
        ("mlops.modelexperiment", "Experiments", "science"),
        ("mlops.shadowtest", "Shadow tests", "compare"),
        ("mlops.shadowprediction", "Shadow forecasts", "difference"),
        ("mlops.driftincident", "Drift incidents", "crisis_alert"),
        ("mlops.driftcheck", "Drift checks", "monitor_heart"),
        ("mlops.backtestresult", "Backtests", "query_stats"),
        ("mlops.degradationcheck", "Degradation checks", "trending_down"),
        ("mlops.modelreview", "Reviews", "rate_review"),
        ("mlops.versionevent", "Version events", "history"),
        ("shelfops.jobrun", "Runs", "pending_actions"),
    ],
    "Rules and people": [
        ("mlops.modelpolicy", "Policies", "gavel"),
        ("alerts.notificationchannel", "Alert channels", "outgoing_mail"),
        ("alerts.notification", "Sent alerts", "mark_email_read"),
        ("shelfops.customer", "Customers", "business"),
        ("shelfops.membership", "Members", "badge"),
        ("shelfops.apitoken", "API tokens", "key"),
    ],
    "Installation": [
        ("shelfops.user", "People", "group"),
        ("auth.group", "Groups", "groups"),
        ("django_celery_beat.periodictask", "Timetable", "schedule"),
        ("django_celery_beat.crontabschedule", "Times of day", "more_time"),
        ("django_celery_beat.intervalschedule", "Intervals", "timer"),
        ("django_celery_beat.clockedschedule", "Single times", "alarm"),
        ("axes.accessattempt", "Failed logins", "lock"),
        ("axes.accessfailurelog", "Failed login log", "lock_clock"),
        ("axes.accesslog", "Login log", "login"),
    ],
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups that have something to show to the caller."""
    pages = [
        {"title": "Overview", "icon": "home", "link": reverse("home"), "active": _at_home(request)},
        {"title": "Who serves what", "icon": "conversion_path", "link": reverse("routing")},
    ]
    groups = [{"title": topic, "separator": True, "items": _items(request, topic)} for topic in TOPICS]
    return [{"items": pages}, *(group for group in groups if group["items"])]


def _items(request: HttpRequest, topic: str) -> list[dict[str, Any]]:
    return [
        {"title": title, "icon": icon, "link": reverse(f"admin:{label.replace('.', '_')}_changelist")}
        for label, title, icon in TOPICS[topic]
        if _shown(request, label)
    ]


def _shown(request: HttpRequest, label: str) -> bool:
    if label not in _registered():
        return False
    return bool(admin.site._registry[apps.get_model(label)].has_view_permission(request))


def _registered() -> set[str]:
    return {model._meta.label_lower for model in admin.site._registry}


def _at_home(request: HttpRequest) -> bool:
    return request.path in (reverse("home"), reverse("admin:index"))
