"""Every screen that people open, each in every state that a customer's rows have."""

from django.apps import apps
from django.contrib import admin
from django.db.models import Model
from django.urls import reverse

from alerts.models import MLAlert
from forecasting.models import Series, Store
from mlops.models import DriftIncident, ModelExperiment, ModelReview, ModelVersion, ShadowTest
from mlops.review import AWAITS_REVIEW
from shelfops.models import Customer, JobRun
from shelfops.navigation import TOPICS
from shelfops.scoped_admin import ScopedAdmin

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
RUNS = tuple(f"run-{status}" for status in JobRun.Status.values)
EXPERIMENTS = tuple(f"experiment-{state}" for state in (*ModelExperiment.Status.values, "failed"))
OWN = (*RUNS, *EXPERIMENTS, "review", "review-decided", "version", "routing", "proposing", "advice", "clusters")
"""Pages with the admin's look and none of its scripts."""


def own(customer: Customer) -> dict[str, str]:
    """Our own pages by name; of a state only where the customer has it."""
    return _fixed() | _versions(customer) | _runs(customer) | _experiments(customer) | _routing(customer)


def in_admin(customer: Customer) -> dict[str, str]:
    """The overview, the lists, and one row of each table that is more than a list of fields."""
    return {"overview": "/"} | lists(*TOPICS) | rows(customer)


def lists(*topics: str) -> dict[str, str]:
    """The lists under these headings of the side bar."""
    return {
        f"list-{name.lower().replace(' ', '-')}": reverse(f"admin:{table.replace('.', '_')}_changelist")
        for topic in topics
        for table, name, _ in TOPICS[topic]
        if isinstance(admin.site._registry.get(apps.get_model(table)), ScopedAdmin)
    }


def _fixed() -> dict[str, str]:
    return {
        "proposing": reverse("propose_experiment"),
        "advice": reverse("segment_advice"),
        "clusters": reverse("store_clusters"),
    }


def _versions(customer: Customer) -> dict[str, str]:
    rows = ModelVersion.objects.of(customer)
    decided = ModelReview.objects.filter(customer=customer).order_by("-pk").first()
    found = {
        "review": rows.filter(AWAITS_REVIEW).order_by("-number").first(),
        "review-decided": decided and decided.version,
    }
    pages = {name: reverse("review", args=[version]) for name, version in found.items() if version}
    champion = ModelVersion.objects.champion_for(customer)
    return pages | ({"version": reverse("version", args=[champion])} if champion else {})


def _runs(customer: Customer) -> dict[str, str]:
    found = {run.status: run for run in JobRun.objects.filter(customer=customer).order_by("pk")}
    return {f"run-{status}": run.get_absolute_url() for status, run in found.items()}


def _experiments(customer: Customer) -> dict[str, str]:
    rows = ModelExperiment.objects.filter(customer=customer).order_by("created_at")
    found = {("failed" if one.error else one.status): one for one in rows}
    return {f"experiment-{state}": reverse("experiment", args=[one.pk]) for state, one in found.items()}


def _routing(customer: Customer) -> dict[str, str]:
    one = Series.objects.filter(store__customer=customer).select_related("store", "product").first()
    asked = f"?store={one.store.code}&product={one.product.code}" if one else ""
    return {"routing": f"{reverse('routing')}{asked}"}


def rows(customer: Customer) -> dict[str, str]:
    """One row of each table that is more than a list of fields."""
    alert = MLAlert.objects.open().filter(customer=customer).first()
    found = {
        "alert": alert,
        "incident": DriftIncident.objects.filter(customer=customer).order_by("-pk").first(),
        "version-fields": ModelVersion.objects.champion_for(customer),
        "experiment-fields": ModelExperiment.objects.filter(customer=customer).first(),
        "shadow-test": ShadowTest.objects.filter(customer=customer).first(),
        "policy": customer.policy,
        "store": Store.objects.filter(customer=customer).first(),
    }
    pages = {name: _change(row) for name, row in found.items() if row}
    acting = {"alert-dismissing": reverse("admin:alerts_mlalert_act", args=[alert.pk, "dismiss"])} if alert else {}
    return pages | acting


def _change(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
