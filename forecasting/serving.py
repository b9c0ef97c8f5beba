"""What is expected of one product in one store on one day, and who says so: read where published, else computed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd
from django.db.models import Q

from forecasting import catalogue, sales
from forecasting.lookup import Published, published
from forecasting.models import Product, Series, Store
from forecasting.night import DAY, Night, rules_on
from forecasting.predict import predict_unsold
from mlops import routing
from mlops.models import MOST_DAYS_AHEAD, ModelPolicy, RoutingRule
from shelfops.models import Customer
from shelfops.refusals import Refusal

LAUNCHES_WITHIN = dt.timedelta(days=365)
NO_DEPARTMENT = "unassigned"


class UnknownItem(Refusal):
    """The customer has no such store or product."""


class OutOfReach(Refusal):
    """The day is before the first sale, too far ahead, or one that the version was trained on."""


@dataclass(frozen=True)
class Expected:
    """A forecast for a person or a program: the retailer's codes, units, and why this version.

    `version` is empty where no model made it, because the product was never sold in the store. `computed` says that
    nothing was published, so that it was worked out now.
    """

    store_id: str
    product_id: str
    date: dt.date
    prediction: float
    lower: float | None
    upper: float | None
    version: str
    segment: str
    why: str
    origin: dt.date
    computed: bool


@dataclass(frozen=True)
class Server:
    """Which version served, or would serve, one product in one store on one day, why, and who approved it."""

    store_id: str
    product_id: str
    at: dt.date
    version: str
    segment: str
    served: bool
    why: str
    approved_by: str
    since: dt.date
    forecast: Expected | None


def predict_demand(store_id: str, product_id: str, forecast_date: dt.date, *, customer: Customer) -> Expected:
    """Units of the product in the store (the retailer's codes) on the day, with an interval.

    Raises UnknownItem, OutOfReach, routing.NobodyServes, sales.NoSales.
    """
    found = forecasts_of(customer, store_id, product_id, forecast_date, forecast_date)
    return found[0] if found else _computed(customer, store_id, product_id, forecast_date)


def forecasts_of(customer: Customer, store_id: str, product_id: str, first: dt.date, last: dt.date) -> list[Expected]:
    """What is published for each of these days, in order; a day of which nothing is published is left out.

    One day ahead where there is such a row, else as in the run that is valid now. Raises UnknownItem.
    """
    rows = published(customer, store_id, product_id, first, last)
    if not rows:
        _item(customer, store_id, product_id)
    return [_published(row, store_id, product_id) for row in rows]


def who_serves(customer: Customer, store_id: str, product_id: str, at: dt.date) -> Server:
    """The version whose forecast served that day, with the rule that chose it; else the one that the rules name.

    Raises UnknownItem where the day has no forecast and the codes are unknown, and routing.NobodyServes.
    """
    for row in published(customer, store_id, product_id, at, at):
        if row.is_served:
            return _server(store_id, product_id, at, row.rule, _published(row, store_id, product_id))
    store, product = _item(customer, store_id, product_id)
    return _server(store_id, product_id, at, _rule(customer, store, product, at), None)


# --- Computing what is not published


def _computed(customer: Customer, store_id: str, product_id: str, date: dt.date) -> Expected:
    store, product = _item(customer, store_id, product_id)
    today, policy = customer.today(), ModelPolicy.of(customer)
    last_day = sales.last_complete_day(customer, today, policy)
    first_sold = _first_sold(store, product)
    _within_reach(date, first_sold, last_day, f"{product_id} in {store_id}")
    rule = _rule(customer, store, product, min(date, today))
    origin = min(last_day, date - DAY)
    if first_sold is None or first_sold > origin:
        return _never_sold(customer, store, product, date, origin, rule)
    if rule.version.train_end >= date:
        raise OutOfReach(
            f"{rule.version} served on {date} and was trained on sales up to {rule.version.train_end}: what it says of "
            "that day is no forecast. Ask for a later day."
        )
    night = Night(customer, policy, today, origin, only=Q(store=store, product=product))
    horizon = (date - origin).days
    row = night.forecast(rule.version, np.array([True]), horizon).iloc[-1]
    return Expected(
        store_id, product_id, date, float(row["prediction"]), _bound(row["lower"]), _bound(row["upper"]),
        rule.version.version, rule.segment, reason_of(rule), origin, computed=True,
    )  # fmt: skip


def _never_sold(
    customer: Customer, store: Store, product: Product, date: dt.date, origin: dt.date, rule: RoutingRule
) -> Expected:
    """From how other products of its department sold when they were new: no model has anything to go by."""
    department = catalogue.department_of(product)
    alike = Q(product__in=catalogue.products_of(customer, department).values("pk"))
    launched = sales.panel(customer, last_day=origin, since=origin - LAUNCHES_WITHIN, only=alike)
    item = pd.DataFrame({"unique_id": [f"{store.pk}|{product.pk}"], "department": [department]})
    rows = predict_unsold(launched, item, (date - origin).days)
    return Expected(
        store.code, product.code, date, float(rows["prediction"].iloc[-1]), None, None, "", rule.segment,
        f"Not sold in this store before: the mean of other {department or NO_DEPARTMENT} products when they were new.",
        origin, computed=True,
    )  # fmt: skip


def _within_reach(date: dt.date, first_sold: dt.date | None, last_day: dt.date, item: str) -> None:
    if date > last_day + MOST_DAYS_AHEAD * DAY:
        raise OutOfReach(
            f"{date} is too far ahead: sales are in up to {last_day}, and forecasts look {MOST_DAYS_AHEAD} days "
            "further. Ask for an earlier day, or load newer sales."
        )
    if first_sold is None and date <= last_day:
        raise OutOfReach(f"{item} had not been sold by {date}. Ask for a day after {last_day}.")
    if first_sold is not None and date < first_sold:
        raise OutOfReach(f"{item} was first sold on {first_sold}. Ask for that day or a later one.")


def _rule(customer: Customer, store: Store, product: Product, day: dt.date) -> RoutingRule:
    """The rule that the series falls under on the day. Raises routing.NobodyServes."""
    rules = rules_on(customer, day)
    first_sold = _first_sold(store, product)
    age = None if first_sold is None else (day - first_sold).days
    segments = pd.DataFrame(
        {
            routing.Kind.DEPARTMENT: [catalogue.department_of(product)],
            routing.Kind.STORE_CLUSTER: [store.cluster],
            routing.Kind.LIFECYCLE: routing.lifecycle(
                pd.Series([age], dtype=float), ModelPolicy.of(customer).new_item_days
            ),
        }
    )
    place = routing.resolve([rule.segment for rule in rules], segments)[0]
    if place == routing.UNROUTED:
        raise routing.NobodyServes(
            f"No rule serves {product.code} in {store.code} on {day}: no champion serves all products. Promote one."
        )
    return rules[place]


def _item(customer: Customer, store_id: str, product_id: str) -> tuple[Store, Product]:
    store = Store.objects.filter(customer=customer, code=store_id).first()
    product = Product.objects.filter(customer=customer, code=product_id).first()
    if store is None:
        raise UnknownItem(f"{customer} has no store “{store_id}”. Check the spelling, or load its sales.")
    if product is None:
        raise UnknownItem(f"{customer} has no product “{product_id}”. Check the spelling, or load its sales.")
    return store, product


def _first_sold(store: Store, product: Product) -> dt.date | None:
    return Series.objects.filter(store=store, product=product).values_list("first_sold", flat=True).first()


# --- In words


def _published(row: Published, store_id: str, product_id: str) -> Expected:
    rule = row.rule
    return Expected(
        store_id, product_id, row.date, row.prediction, row.lower, row.upper, rule.version.version, rule.segment,
        reason_of(rule), row.origin, computed=False,
    )  # fmt: skip


def _server(store_id: str, product_id: str, at: dt.date, rule: RoutingRule, forecast: Expected | None) -> Server:
    return Server(
        store_id=store_id,
        product_id=product_id,
        at=at,
        version=rule.version.version,
        segment=rule.segment,
        served=forecast is not None,
        why=rule.reason,
        approved_by=approver_of(rule),
        since=rule.valid_from,
        forecast=forecast,
    )


def reason_of(rule: RoutingRule) -> str:
    """Such as: v7 serves department Toys since 2026-03-02, decided by bob@acme.example: better in shadow."""
    serves, since = ("served", "from") if rule.valid_to else ("serves", "since")
    begun = f"{rule.version} {serves} {routing.in_words(rule.segment)} {since} {rule.valid_from}"
    return f"{begun}, decided by {approver_of(rule)}: {rule.reason}"


def approver_of(rule: RoutingRule) -> str:
    """Who decided that the rule holds."""
    return rule.by.email if rule.by else "the system, by rule"


def _bound(value: float) -> float | None:
    return None if pd.isna(value) else float(value)
