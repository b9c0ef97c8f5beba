"""The page on which clusters of stores are proposed, named and accepted."""

from typing import Any, cast

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from forecasting import clusters, prepared
from forecasting.clusters import LEAST_K, MOST_K, BadNames, Proposal
from forecasting.models import Store
from mlops.figures import Table
from mlops.models import ModelVersion
from mlops.routing import Kind
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.own_pages import for_one, own_scripts_only
from shelfops.refusals import Refusal
from shelfops.tenancy import Action

RIGHT = Action.LOAD_DATA


@own_scripts_only
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """Who has several customers names one; a customer of others is not found."""
    return for_one(request, "Clusters of stores: for whom?", _accept if request.method == "POST" else _page)


view = admin.site.admin_view(show)


def _accept(request: HttpRequest, customer: Customer) -> HttpResponse:
    by, names = cast(User, request.user), request.POST.getlist("name")
    tenancy.require(by, customer, RIGHT)
    k = _number(request.POST.get("k"))
    try:
        if k is None:
            raise BadNames("Choose how many clusters there are to be.")
        digest = request.POST.get("digest", "")
        changed = clusters.accept(customer, names=names, k=k, digest=digest, by=by)
    except Refusal as refusal:
        code = 200 if isinstance(refusal, BadNames) else 409
        return _page(request, customer, names=names, refusal=str(refusal), k=k, code=code)
    messages.success(request, f"Accepted: {changed} store{'' if changed == 1 else 's'} changed cluster.")
    return redirect(f"{reverse('store_clusters')}?customer={customer.slug}&k={k}")


def _page(
    request: HttpRequest,
    customer: Customer,
    *,
    names: list[str] | None = None,
    refusal: str = "",
    k: int | None = None,
    code: int = 200,
) -> HttpResponse:
    """`names` are those that a person had typed before a refusal."""
    k = k or _number(request.GET.get("k"))
    context: dict[str, Any] = {"customer": customer, "refusal": refusal, "numbers": range(LEAST_K, MOST_K + 1)}
    try:
        proposal = clusters.proposed(prepared.clusters_of(customer).answer(), k)
    except Refusal as nothing:
        return render(request, "store_clusters.html", {**context, "nothing": str(nothing)}, status=code)
    able = " or ".join(role.label for role, rights in tenancy.MATRIX.items() if RIGHT in rights)
    context |= {
        "proposal": proposal,
        "clusters": _shown(customer, proposal, names),
        "tried": _tried(proposal),
        "may": tenancy.allowed(cast(User, request.user), customer, RIGHT),
        "right": RIGHT,
        "able": able,
        "served": _served(customer),
    }
    return render(request, "store_clusters.html", context, status=code)


def _number(text: str | None) -> int | None:
    is_one = text is not None and text.isdecimal() and LEAST_K <= int(text) <= MOST_K
    return int(cast(str, text)) if is_one else None


def _shown(customer: Customer, proposal: Proposal, names: list[str] | None) -> list[dict[str, Any]]:
    """Each cluster with what its stores are called and belong to so far."""
    stores = {store.code: store for store in Store.objects.filter(customer=customer)}
    typed = names if names and len(names) == len(proposal.clusters) else [one.name for one in proposal.clusters]
    return [
        {
            "name": name,
            "traits": Table(
                f"What sets cluster {number} apart",
                ["Feature", "Standard deviations from the mean of all stores"],
                [[trait.words, f"{trait.z:+.1f}"] for trait in cluster.traits],
            ),
            "stores": [{"store": stores[code], "code": code} for code in cluster.stores],
        }
        for number, (name, cluster) in enumerate(zip(typed, proposal.clusters, strict=True), start=1)
    ]


def _tried(proposal: Proposal) -> Table:
    rows = [[f"{k} clusters", f"{value:.2f}"] for k, value in proposal.silhouettes.items()]
    return Table("How well each number of clusters tells the stores apart", ["Number", "Silhouette"], rows)


def _served(customer: Customer) -> list[str]:
    """Versions that serve a cluster as it is now."""
    champions = ModelVersion.objects.of(customer).champions()
    found = champions.filter(segment__startswith=f"{Kind.STORE_CLUSTER.value}:")
    return list(found.order_by("segment").values_list("version", flat=True))
