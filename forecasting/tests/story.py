"""A small retailer whose demand shifts: its days, told through the same doors that people and programs use."""

import datetime as dt
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pandas as pd
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from alerts.models import MLAlert
from conftest import PASSWORD
from forecasting.models import Forecast
from forecasting.tests.synthetic import shop
from mlops.models import DriftIncident, ModelPolicy, ModelVersion
from shelfops.models import Customer

DAY = dt.timedelta(days=1)
FIRST = dt.date(2026, 1, 5)
BEGAN = dt.date(2026, 5, 4)  # a Monday: the first model, the first night
SHIFTED = dt.date(2026, 5, 12)
FOUND = dt.date(2026, 5, 17)  # a Sunday, so that the weekly retrain has run as well
SWAPPED = {"P0": "P3", "P1": "P2", "P2": "P1", "P3": "P0"}
SMALL = ("num_boost_round=15", "max_leaves=15", "learning_rate=0.2")
PEOPLE = {"alice": "data_scientist", "bob": "ml_manager", "charlie": "retail_ops"}
NOTES = "The assortment was moved, and the backtest is better."


def call(*words: str) -> str:
    """What a command of manage.py says."""
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO())
    return out.getvalue()


class Retailer:
    """Acme Stores, with two weeks of drift windows instead of five."""

    def __init__(self, folder: Path) -> None:
        self.file, self.sales = folder / "sales.parquet", shifting_sales()
        call("create_customer", "acme", "--name", "Acme Stores", "--timezone", "Europe/Berlin")
        for name, role in PEOPLE.items():
            call("create_member", f"{name}@acme.example", "--role", role, "--password", PASSWORD)
        self.customer = Customer.objects.get(slug="acme")
        set_policy(logged_in("bob"), drift_baseline_days=7, drift_min_rows=60, holdout_days=7)
        self.today = BEGAN

    def begin(self) -> None:
        """The sales so far, and a first model from them."""
        self.load(FIRST, BEGAN)
        call("set_clock", BEGAN.isoformat())
        call("retrain", "--reason", "first model", *(word for one in SMALL for word in ("--param", one)))
        call("run_day")

    def live_until(self, day: dt.date) -> None:
        """Each morning yesterday's sales arrive, and the night's work follows."""
        while self.today < day:
            self.load(self.today, self.today + DAY)
            self.today += DAY
            call("set_clock", self.today.isoformat())
            call("run_day")

    def load(self, first: dt.date, until: dt.date) -> None:
        day = self.sales["date"].dt.date
        self.sales[(day >= first) & (day < until)].to_parquet(self.file, index=False)
        call("load_sales", str(self.file))


def shifting_sales() -> pd.DataFrame:
    """Three stores with four products, which from SHIFTED on sell each other's numbers."""
    rows = shop(stores=3, products=4, first=FIRST, last=FOUND + 14 * DAY)
    shifted = rows["date"].dt.date >= SHIFTED
    as_before = rows["product_id"].where(~shifted, rows["product_id"].map(SWAPPED))
    sold = rows.set_index(["date", "store_id", "product_id"])["quantity"]
    keys = pd.MultiIndex.from_arrays([rows["date"], rows["store_id"], as_before])
    return rows.assign(quantity=sold.loc[keys].to_numpy())


def logged_in(name: str) -> Client:
    """Somebody's browser, after the login form."""
    client = Client()
    form = {"username": f"{name}@acme.example", "password": PASSWORD}
    assert client.post(reverse("admin:login"), form).status_code == 302
    return client


def until_drift_is_found(folder: Path) -> Retailer:
    """On this morning a critical alert waits."""
    retailer = Retailer(folder)
    retailer.begin()
    retailer.live_until(FOUND)
    return retailer


def served(day: dt.date) -> set[str]:
    """Which versions made the forecasts that serve on a day."""
    return set(Forecast.objects.filter(date=day, lead=1).values_list("version__version", flat=True))


def faults() -> list[dict[str, str]]:
    """What the audit's command finds."""
    found: list[dict[str, str]] = json.loads(call("verify_audit", "--json"))["faults"]
    return found


# --- What waits, and the doors to decide


def incident() -> DriftIncident:
    return DriftIncident.objects.get()


def alert() -> MLAlert:
    return MLAlert.objects.get(alert_type="drift_detected")


def challenger() -> ModelVersion:
    """The version that drift has asked for."""
    return ModelVersion.objects.get(run__trigger_type="drift_detected")


def on_the_page(client: Client, action: str, expected: str = "v1") -> HttpResponse:
    """The review page's form."""
    form = {"action": action, "notes": NOTES, "champion": expected, "verdict": "real"}
    return client.post(f"/models/review/{challenger()}", form)


def over_the_api(client: Client, action: str, expected: str = "v1") -> HttpResponse:
    """The version's review over the API."""
    body = {"action": action, "notes": NOTES, "expected_champion": expected, "verdict": "real"}
    return client.post(f"/api/v1/models/{challenger()}/review", body, content_type="application/json")


def through_the_alert(client: Client, action: str) -> HttpResponse:
    """The alert's action in the admin."""
    return client.post(reverse("admin:alerts_mlalert_act", args=[alert().pk, action]), {"notes": NOTES})


def through_the_alert_over_the_api(client: Client, action: str) -> HttpResponse:
    """The alert's action over the API."""
    body = {"action": action, "notes": NOTES}
    return client.patch(f"/api/v1/ml-alerts/{alert().pk}/action", body, content_type="application/json")


def set_policy(client: Client, **values: float) -> None:
    """The policy's form in the admin, with these thresholds changed."""
    at = reverse("admin:mlops_modelpolicy_change", args=[ModelPolicy.objects.get().pk])
    form = client.get(at).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    answer = client.post(at, {name: value for name, value in (shown | values).items() if value not in (None, False)})
    assert answer.status_code == 302, answer.context["errors"]


Door = Callable[[Client, str], HttpResponse]
DOORS_TO_APPROVE: list[Door] = [on_the_page, over_the_api, through_the_alert, through_the_alert_over_the_api]
DOORS_TO_REJECT: list[Door] = [on_the_page, over_the_api]
