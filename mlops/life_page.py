"""The life of a version: what became of it, when, by whom and why, and how it did while it served."""

from dataclasses import replace
from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from mlops import addresses, degradation, promotion, review_facts, review_page, version_page
from mlops.backtests import ONE_DAY_AHEAD
from mlops.charts import Chart, Line, Tone
from mlops.figures import Row, Table
from mlops.models import BacktestResult, ModelVersion, RoutingRule
from mlops.review_page import STATUS_COLOURS
from mlops.routing import in_words
from shelfops.models import User
from shelfops.own_pages import own_scripts_only

NIGHTS = 120


@own_scripts_only
@require_safe
def show(request: HttpRequest, version: str) -> HttpResponse:
    """A version of another customer is not found; where several of the caller's have one, they choose."""
    return review_page.for_one(request, version, _page, addresses.life_url)


view = admin.site.admin_view(show)


def _page(request: HttpRequest, version: ModelVersion) -> HttpResponse:
    context = {
        "version": version,
        "colour": STATUS_COLOURS.get(ModelVersion.Status(version.status), "default"),
        "since": promotion.since(version),
        "where": in_words(version.segment),
        "answer": review_facts.answer(version),
        "events": list(version.events.select_related("by")),
        "unwatched": degradation.why_not(version),
        "served": _served(version),
        "chart": _daily(version),
        "tables": [
            replace(table, headers=[capfirst(header) for header in table.headers])
            for table in version_page.tables(version)
        ],
        "lineage": review_facts.lineage(version, None),
        "review_url": addresses.url(version),
        "roll_back_url": addresses.roll_back_url(version, cast(User, request.user)),
    }
    return render(request, "version_life.html", context)


def _served(version: ModelVersion) -> Table:
    """When it served, and until whom."""
    rules = RoutingRule.objects.filter(version=version).select_related("by").order_by("valid_from", "pk")
    rows: list[Row] = [
        [
            in_words(rule.segment),
            rule.valid_from,
            rule.valid_to or "it still serves",
            rule.by or "the system, by rule",
            rule.reason,
        ]
        for rule in rules
    ]
    return Table("When it served", ["What", "From", "Until before", "Decided by", "Why"], rows)


def _daily(version: ModelVersion) -> Chart:
    """Its error one day ahead on each day that is scored, served or in shadow, beside seasonal naive."""
    daily = version.backtests.filter(
        kind=BacktestResult.Kind.DAILY, lead_band=ONE_DAY_AHEAD, scope_type=BacktestResult.Scope.ALL
    )
    rows = list(daily.order_by("-day").values_list("day", "baseline", "mae")[: 2 * NIGHTS])
    found: dict[Any, dict[str, float | None]] = {}
    for day, baseline, mae in reversed(rows):
        found.setdefault(day, {})[baseline] = mae
    names = {"": (version.version, Tone.OWN), "seasonal_naive": ("Seasonal naive", Tone.NAIVE)}
    return Chart(
        key="error-by-day",
        title="Error one day ahead, day by day",
        what="Day",
        unit="units per product and day",
        labels=[str(day) for day in found],
        lines=[Line(name, [one.get(key) for one in found.values()], tone) for key, (name, tone) in names.items()],
    )
