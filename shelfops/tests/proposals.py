"""Experiments over the API: a shop to try them in, the specification's two people, and their first two steps."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from django.test import Client

from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.tests.nights import load
from forecasting.tests.synthetic import LAST, shop
from mlops import promotion
from mlops.models import ModelPolicy, ModelVersion
from shelfops.clock import set_clock
from shelfops.models import Customer, Membership, Role, User

V1 = "/api/v1/experiments"
SMALL = {"num_boost_round": 8, "max_leaves": 7, "learning_rate": 0.3}
DAY = dt.timedelta(days=1)
BEGUN = LAST - 13 * DAY
NOW = BEGUN + 14 * DAY
DEPARTMENTS = ["Electronics", "Grocery", "Apparel"]
PROPOSAL = {
    "experiment_name": "Department-Tiered Forecasting — Electronics Focus",
    "hypothesis": "Electronics demand patterns differ from Grocery/Apparel. Dedicated model will reduce Electronics "
    "MAE from 18.2 to 15.5 (15% improvement).",
    "experiment_type": "segmentation",
    "model_name": "demand_forecast",
    "proposed_by": "data_scientist@shelfops.com",
}
APPROVAL = {
    "approved_by": "ml_manager@shelfops.com",
    "rationale": "Electronics has high variability (promotions + tech cycles). Tier justification approved.",
}
COMPLETION = {
    "decision": "partial_adopt",
    "decision_rationale": "Electronics model shows strong improvement (22%). Grocery marginal (5%). Apparel no "
    "benefit. Adopt Electronics tier, keep global for others.",
    "results": {
        "baseline_mae": 12.8,
        "electronics_mae": 14.2,
        "grocery_mae": 12.1,
        "apparel_mae": 13.5,
        "improvement_electronics_pct": 22.0,
    },
}
Call = Callable[..., tuple[int, Any]]


def a_shop(customer: Customer, folder: Path) -> None:
    """Three departments, of which Electronics sells by quite another rhythm; v12 serves everything."""
    rows = shop(stores=2, products=6)
    number = rows["product_id"].str[1:].astype(int)
    rows["department"] = np.array(DEPARTMENTS)[number % 3]
    surge = (rows["department"] == "Electronics") & (rows["date"].dt.day % 9 < 3)
    rows.loc[surge, "quantity"] = rows.loc[surge, "quantity"] * 4 + 3
    load(customer, folder, rows)
    ModelPolicy.objects.update_or_create(customer=customer, defaults={"segment_min_rows": 200})
    set_clock(customer, BEGUN)
    [champion] = retrain(customer, Order(Trigger.MANUAL, BEGUN, "first", params=SMALL)).versions.all()
    if champion.status != "champion":
        promotion.promote(champion, by=None, reason="something has to serve", as_of=BEGUN)
    ModelVersion.objects.filter(pk=champion.pk).update(number=12, version="v12")


def two_people(customer: Customer) -> dict[str, User]:
    """The specification's two, by the beginning of their addresses."""
    roles = {"data_scientist": Role.DATA_SCIENTIST, "ml_manager": Role.ML_MANAGER}
    made = {name: User.objects.create_user(f"{name}@shelfops.com", None) for name in roles}
    for name, user in made.items():
        Membership.objects.create(user=user, customer=customer, role=roles[name])
    return made


def caller(clients: dict[str, Client]) -> Call:
    """What one of them is answered: (status, data)."""

    def send(who: str, method: str, path: str = "", body: Any = None) -> tuple[int, Any]:
        body = {} if method == "get" else {"data": body or {}, "content_type": "application/json"}
        answer = getattr(clients[who], method)(V1 + path, **body)
        return answer.status_code, answer.json()

    return send


def proposed(call: Call, **changes: Any) -> str:
    code, answer = call("data_scientist", "post", "", PROPOSAL | changes)
    assert (code, answer["status"]) == (201, "proposed")
    return f"/{answer['experiment_id']}"


def approved(call: Call, path: str, **changes: Any) -> str:
    code, answer = call("ml_manager", "patch", f"{path}/approve", APPROVAL | changes)
    assert (code, answer["status"]) == (200, "approved")
    return path
