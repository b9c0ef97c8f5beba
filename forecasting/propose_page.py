"""The page on which a person proposes an experiment."""

from typing import Any, cast

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from forecasting.propose_form import ProposeForm
from mlops import experiments
from mlops.models import ModelExperiment, ModelPolicy
from shelfops import tenancy
from shelfops.models import Customer, User
from shelfops.own_pages import for_one, own_scripts_only
from shelfops.refusals import Refusal
from shelfops.tenancy import Action

RIGHT = Action.PROPOSE_EXPERIMENT


@own_scripts_only
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest) -> HttpResponse:
    """Of those at which the caller may propose; where it is none of them, of those that they may read."""
    page = _propose if request.method == "POST" else _empty
    return for_one(request, "Propose an experiment: for whom?", page, (RIGHT, Action.READ))


view = admin.site.admin_view(show)


def _empty(request: HttpRequest, customer: Customer) -> HttpResponse:
    return _page(request, customer, _form(customer, initial=_prefilled(request)))


def _propose(request: HttpRequest, customer: Customer) -> HttpResponse:
    by = cast(User, request.user)
    tenancy.require(by, customer, RIGHT)
    form = _form(customer, request.POST)
    if not form.is_valid():
        return _page(request, customer, form)
    told = form.cleaned_data
    if twin := _twin(customer, by, told):
        messages.info(request, "You had proposed this already: here it is.")
        return redirect("experiment", twin.pk)
    same = {name: told[name] for name in ("name", "hypothesis", "experiment_type", "target_improvement_pct")}
    try:
        made = experiments.propose(customer, by=by, plan=form.plan(), **same)
    except Refusal as refusal:
        form.add_error(None, str(refusal))
        return _page(request, customer, form)
    messages.success(request, "It is proposed. Below stands what happens next.")
    return redirect("experiment", made.pk)


def _twin(customer: Customer, by: User, told: dict[str, Any]) -> ModelExperiment | None:
    """What a double click has proposed already."""
    mine = ModelExperiment.objects.filter(customer=customer, proposed_by=by, status=ModelExperiment.Status.PROPOSED)
    return mine.filter(experiment_name=told["name"], hypothesis=told["hypothesis"]).first()


def _form(customer: Customer, data: Any = None, **options: Any) -> ProposeForm:
    target = ModelPolicy.of(customer).target_improvement_pct
    return ProposeForm(data, customer=customer, usual_target=target, **options)


def _prefilled(request: HttpRequest) -> dict[str, Any]:
    """What a link has filled in, such as the advisor's."""
    given: dict[str, Any] = {name: value for name, value in request.GET.items() if name in ProposeForm.base_fields}
    return given | ({"segments": request.GET.getlist("segments")} if "segments" in given else {})


def _page(request: HttpRequest, customer: Customer, form: ProposeForm) -> HttpResponse:
    may = tenancy.allowed(cast(User, request.user), customer, RIGHT)
    able = " or ".join(role.label for role, rights in tenancy.MATRIX.items() if RIGHT in rights)
    parameters_wrong = any(field.errors for field in form.parameters())
    context = {"customer": customer, "form": form if may else None, "right": RIGHT, "able": able}
    return render(request, "propose.html", {**context, "open_parameters": parameters_wrong})
