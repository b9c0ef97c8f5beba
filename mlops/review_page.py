"""The page on which a person decides about a challenger, and on which the decision can be read later."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import capfirst
from django.views.decorators.http import require_http_methods

from alerts import acting
from alerts.models import MLAlert
from mlops import drift_page, incidents, promotion, review_facts
from mlops import review as rule
from mlops.addresses import life_url, roll_back_url, url
from mlops.figures import Table
from mlops.forms import ReviewForm
from mlops.models import DriftIncident, ModelReview, ModelVersion
from mlops.review_backtest import Backtest
from shelfops import tenancy
from shelfops.models import MODEL_NAME_DEFAULT, User
from shelfops.own_pages import own_scripts_only
from shelfops.refusals import Refusal

STATUS_COLOURS = {
    ModelVersion.Status.CHAMPION: "success",
    ModelVersion.Status.CHALLENGER: "warning",
    ModelVersion.Status.CANDIDATE: "info",
    ModelVersion.Status.EXPERIMENTAL: "info",
}

RESULTS = {
    ModelReview.Action.APPROVE: ModelVersion.Status.CHAMPION,
    ModelReview.Action.REJECT: ModelVersion.Status.ARCHIVED,
}


@own_scripts_only
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, version: str) -> HttpResponse:
    """A version of another customer is not found; where several of the caller's have one, they choose."""
    return for_one(request, version, _decide if request.method == "POST" else _page, url)


view = admin.site.admin_view(show)


def for_one(
    request: HttpRequest,
    name: str,
    page: Callable[[HttpRequest, ModelVersion], HttpResponse],
    address: Callable[[ModelVersion], str],
) -> HttpResponse:
    """The page of the one version of this name; 404 for none, a choice of addresses for several."""
    found = _versions(request, name)
    if not found:
        raise Http404(f"There is no version {name}.")
    if len(found) > 1:
        choices = [(one, address(one)) for one in found]
        return render(request, "review_which.html", {"name": name, "choices": choices}, status=300)
    return page(request, found[0])


def _versions(request: HttpRequest, name: str) -> list[ModelVersion]:
    versions = ModelVersion.objects.select_related("customer", "run__job_run", "shadow_test", "parent")
    versions = versions.filter(version=name, model_name=request.GET.get("model_name", MODEL_NAME_DEFAULT))
    if slug := request.GET.get("customer"):
        versions = versions.filter(customer__slug=slug)
    return list(tenancy.scope(versions, cast(User, request.user)).order_by("customer__name"))


def _decide(request: HttpRequest, version: ModelVersion) -> HttpResponse:
    """Lets the rule do it; what it refuses comes back on the page, with what has changed meanwhile."""
    by = cast(User, request.user)
    tenancy.require(by, version.customer, rule.right(version))
    form = ReviewForm(request.POST, asks_for_verdict=incidents.of_challenger(version) is not None)
    if not form.is_valid():
        return _page(request, version, form)
    told = form.cleaned_data
    try:
        rule.review(
            version,
            told["action"],
            by=by,
            notes=told["notes"],
            expected_champion=told["champion"],
            verdict=told.get("verdict", ""),
        )
    except Refusal as refusal:
        return _page(request, _versions(request, version.version)[0], typed=told, refusal=str(refusal))
    messages.success(request, _done(version, ModelReview.Action(told["action"])))
    return redirect(url(version))


def _done(version: ModelVersion, action: ModelReview.Action) -> str:
    if action is ModelReview.Action.APPROVE:
        return f"{version} is approved and serves from now on."
    return f"{version} is rejected and archived."


# --- What is shown


def _page(
    request: HttpRequest,
    version: ModelVersion,
    form: ReviewForm | None = None,
    *,
    typed: dict[str, Any] | None = None,
    refusal: str = "",
) -> HttpResponse:
    """`typed` is what a person had filled in before a refusal: it is not lost, but the champion is today's."""
    champion = promotion.champion_of(version)
    compared, incident = review_facts.compared_with(version), _incident(version)
    reviewed, backtest = rule.review_of(version), Backtest(version)
    context = {
        "version": version,
        "colour": STATUS_COLOURS.get(ModelVersion.Status(version.status), "default"),
        "champion": champion,
        "refusal": refusal,
        "reviewed": reviewed,
        "overtaken": reviewed and version.status != RESULTS[ModelReview.Action(reviewed.action)],
        "since": promotion.since(version),
        "not_reviewable": rule.why_not_reviewable(version),
        "answer": review_facts.answer(version),
        "life_url": life_url(version),
        "before_url": life_url(reviewed.champion, version.customer) if reviewed and reviewed.champion else "",
        "roll_back_url": _roll_back_url(request, version, reviewed),
        "measures": review_facts.measures(version),
        "guards": review_facts.guards(version.decision),
        "departments": review_facts.departments(version),
        "stores": backtest.stores(),
        "charts": [backtest.by_day(), backtest.by_horizon()],
        "previews": review_facts.previews(version, compared or champion),
        "importances": review_facts.importances(version, compared),
        "lineage": review_facts.lineage(version, compared),
        "shadow": review_facts.shadow(version),
        "compared": compared,
        "incident": incident,
        "dossier": _dossier(incident) if incident and incident.dossier else [],
    }
    if not reviewed and not context["not_reviewable"]:
        context |= _asked(request, version, champion, form, typed or {})
    return render(request, "review.html", context, status=409 if refusal else 200)


def _roll_back_url(request: HttpRequest, version: ModelVersion, reviewed: ModelReview | None) -> str:
    """The way back to whom it replaced, as long as it serves in their place."""
    if not reviewed or not reviewed.champion or version.status != ModelVersion.Status.CHAMPION:
        return ""
    return roll_back_url(reviewed.champion, cast(User, request.user))


def _asked(
    request: HttpRequest,
    version: ModelVersion,
    champion: ModelVersion | None,
    form: ReviewForm | None,
    typed: dict[str, Any],
) -> dict[str, Any]:
    """The question, who may answer it, and the form for those."""
    right, by = rule.right(version), cast(User, request.user)
    waiting, alerts = incidents.of_challenger(version), _alerts(version)
    able = [role.label for role, rights in tenancy.MATRIX.items() if right in rights]
    shown: dict[str, Any] = {
        "question": review_facts.question(version, champion),
        "alerts": alerts,
        "right": right,
        "able": " or ".join(able),
        "will": review_facts.consequences(version, champion, alerts, waiting),
    }
    if tenancy.allowed(by, version.customer, right):
        suggested = {"verdict": waiting.suggested_verdict} if waiting else {}
        initial = suggested | typed | {"champion": champion.version if champion else ""}
        shown["form"] = form or ReviewForm(initial=initial, asks_for_verdict=waiting is not None)
    return shown


def _incident(version: ModelVersion) -> DriftIncident | None:
    """The drift that asked for it, decided about or not."""
    return DriftIncident.objects.select_related("champion").filter(challenger=version).first()


def _dossier(incident: DriftIncident) -> list[Table]:
    tables = drift_page.tables(incident.dossier)
    return [replace(table, headers=[capfirst(header) for header in table.headers]) for table in tables]


def _alerts(version: ModelVersion) -> list[MLAlert]:
    about = MLAlert.objects.open().filter(
        customer=version.customer, model_name=version.model_name, version=version.version
    )
    return list(about.filter(alert_type__in=acting.REVIEWED).order_by("pk"))
