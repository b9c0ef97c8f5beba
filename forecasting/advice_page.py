"""The page on which a person reads which departments deserve a model of their own, and drafts the proposal."""

from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from forecasting import advice, prepared
from mlops.figures import UNKNOWN, Row, Table, figure, percent
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.own_pages import for_one, own_scripts_only
from shelfops.tenancy import Action

COLOURS = {"worth_a_trial": "success", "too_little_data": "warning", "has_its_own": "info"}


@own_scripts_only
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Who has several customers names one; a customer of others is not found."""
    return for_one(request, "Models of their own: for whose departments?", _page)


view = admin.site.admin_view(show)


def _page(request: HttpRequest, customer: Customer) -> HttpResponse:
    report = prepared.advice_of(customer).answer()
    may = tenancy.allowed(cast(User, request.user), customer, Action.PROPOSE_EXPERIMENT)
    departments = report["departments"]
    context = {
        "customer": customer,
        "report": report,
        "departments": [_department(one, customer if may else None) for one in departments],
        "importance": departments[0]["signals"]["importance"] if departments else None,
        "errors": _errors(report),
        "demand": _demand(report),
        "shadow": _shadow(departments),
    }
    return render(request, "segment_advice.html", context)


def _department(one: advice.Facts, customer: Customer | None) -> dict[str, Any]:
    """What is said of it; the way to its proposal for those who may."""
    drafted = one["judgement"] not in ("has_its_own", "too_little_data")
    query = urlencode({"customer": customer.slug, **advice.draft(one)}) if customer and drafted else ""
    return {
        "name": one["department"],
        "judgement": advice.LABELS[one["judgement"]],
        "colour": COLOURS.get(one["judgement"], "default"),
        "reason": one["reason"],
        "data": one["signals"]["data"]["reason"],
        "draft": f"{reverse('propose_experiment')}?{query}" if query else "",
    }


def _errors(report: advice.Facts) -> Table:
    """Signal 1, and how much is known of each."""
    rows: list[Row] = [
        [
            one["department"],
            figure((error := one["signals"]["error"])["mae"]),
            percent(error["wape"]),
            percent(error["against_naive"]),
            UNKNOWN if error["gain_pct"] is None else f"{error['gain_pct']:+.1f} %",
            UNKNOWN if error["days"] is None else error["days"],
        ]
        for one in report["departments"]
    ]
    if whole := report["whole"] and report["whole"]["error"]:
        share = percent(whole["against_naive"])
        rows.append(["all products", figure(whole["mae"]), percent(whole["wape"]), share, UNKNOWN, whole["days"]])
    headers = [
        "Department",
        "MAE, units per product and day",
        "WAPE",
        "Of seasonal naive’s error",
        "Lower if as good as the whole",
        "Days scored",
    ]
    return Table("How each department is forecast, one day ahead", headers, rows)


def _demand(report: advice.Facts) -> Table:
    """Signals 3 and 4."""
    rows: list[Row] = [
        _sold(one["department"], {**one["signals"]["domain"], **one["signals"]["data"]})
        for one in report["departments"]
    ]
    if report["whole"]:
        rows.append(_sold("all products", report["whole"]["demand"]))
    headers = ["Department", "On promotion", "Volatility of its days", "Explained by the weekday", "Products in stores",
               "Rows to train on", "Days of history"]  # fmt: skip
    return Table("How each department sells, and how much is known of it", headers, rows)


def _sold(name: str, facts: advice.Facts) -> Row:
    return [
        name,
        percent(facts["promo_share"]),
        percent(facts["volatility"]),
        percent(facts["weekly_strength"]),
        f"{facts['series']:,}",
        f"{facts['rows']:,}",
        facts["history_days"],
    ]


def _shadow(departments: list[advice.Facts]) -> Table:
    rows: list[Row] = [
        [
            one["department"],
            f"{days['target_pct']:g} % of its MAE" + (f", {figure(days['effect'])}" if days["effect"] else ""),
            figure(days["deviation"]),
            f"{days['basis']}, {days['pairs']} days" if days["basis"] else "too few days known",
            UNKNOWN if days["by_power"] is None else f"{days['by_power']:,}",
            UNKNOWN if days["needed"] is None else f"{days['needed']:,}",
        ]
        for one in departments
        for days in [one["shadow_days"]]
    ]
    headers = ["Department", "To be seen", "Daily differences deviate by", "Known from", "Days by their variance",
               "Days to plan for"]  # fmt: skip
    return Table("How many shadow days the target needs", headers, rows)
