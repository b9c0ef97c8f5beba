"""The page of an experiment: what it has shown, and each step that its reader may take."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django.contrib import admin, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from forecasting import experiment_orders, experiment_runs
from mlops import experiment_facts, experiments
from mlops.addresses import life_url
from mlops.experiment_forms import ApproveForm, CompleteForm, ReasonForm, RollBackForm, StepForm
from mlops.experiment_results import question, tests_of, versions_of
from mlops.experiments import FourEyes, Status, WrongStep
from mlops.models import ModelExperiment, ModelPolicy, ModelVersion
from shelfops import tenancy
from shelfops.models import JobRun, User
from shelfops.own_pages import own_scripts_only
from shelfops.refusals import Refusal
from shelfops.tenancy import Action
from shelfops.told import told

Decision = ModelExperiment.Decision
RIGHTS = {
    "approve": Action.DECIDE_PROPOSAL,
    "reject": Action.DECIDE_PROPOSAL,
    "start": Action.PROPOSE_EXPERIMENT,
    "cancel": Action.PROPOSE_EXPERIMENT,
    "complete": Action.COMPLETE_EXPERIMENT,
    "rollback": Action.ROLL_BACK,
}
OFFERED: dict[Status, tuple[str, ...]] = {
    Status.PROPOSED: ("approve", "reject", "cancel"),
    Status.APPROVED: ("start", "cancel"),
    Status.IN_PROGRESS: ("start", "cancel"),
    Status.SHADOW_TESTING: ("complete", "cancel"),
    Status.COMPLETED: ("rollback",),
}
DONE = {
    "approve": "It is approved: now its training can be started.",
    "reject": "It is rejected.",
    "start": "Its training is queued.",
    "cancel": "It is cancelled.",
    "complete": "It is decided.",
    "rollback": "It is rolled back: who served before serves again.",
}


@own_scripts_only
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, experiment_id: UUID) -> HttpResponse:
    """An experiment of another customer is not found."""
    experiment = _found(request, experiment_id)
    return _take(request, experiment) if request.method == "POST" else _page(request, experiment)


view = admin.site.admin_view(show)


def _found(request: HttpRequest, experiment_id: UUID) -> ModelExperiment:
    rows = ModelExperiment.objects.select_related("customer", "proposed_by", "approved_by", "completed_by")
    found = tenancy.scope(rows, cast(User, request.user)).filter(pk=experiment_id).first()
    if found is None:
        raise Http404("There is no such experiment.")
    return found


# --- Taking a step


def _take(request: HttpRequest, experiment: ModelExperiment) -> HttpResponse:
    """Lets the rule do it; what it refuses comes back on the page, with what has changed meanwhile."""
    step, by = request.POST.get("step", ""), cast(User, request.user)
    if step not in RIGHTS:
        return _page(request, experiment, refusal="Choose one of the steps below.", code=400)
    tenancy.require(by, experiment.customer, RIGHTS[step])
    form = _form(step, experiment, request.POST)
    if not form.is_valid():
        return _page(request, experiment, {step: form})
    try:
        _do(step, experiment, form, by)
    except Refusal as refusal:
        code = 403 if isinstance(refusal, FourEyes) else 409
        return _page(request, _found(request, experiment.pk), typed=request.POST, refusal=str(refusal), code=code)
    messages.success(request, DONE[step])
    return redirect("experiment", experiment.pk)


@transaction.atomic
def _do(step: str, experiment: ModelExperiment, form: StepForm, by: User) -> None:
    told = form.cleaned_data
    if step != "complete":  # that one answers the same decision alike, and asks who serves
        _as_shown(experiment, told["state"])
    if isinstance(form, ApproveForm):
        experiments.approve(experiment, by=by, rationale=told["rationale"], conditions=form.conditions())
    elif isinstance(form, CompleteForm):
        _complete(experiment, form, by)
    elif step == "reject":
        experiments.reject(experiment, by=by, rationale=told["rationale"])
    elif step == "start":
        experiment_runs.start(experiment.customer, experiment, by)
    elif step == "cancel":
        experiments.cancel(experiment, by=by, rationale=told["rationale"])
    else:
        experiments.roll_back(
            experiment, by=by, rationale=told["rationale"], expected_champion=form.data.get("serving")
        )


def _as_shown(experiment: ModelExperiment, state: str) -> None:
    """Raises WrongStep, which says who did what, where it is not as the person was shown it."""
    now = ModelExperiment.objects.select_for_update(no_key=True).get(pk=experiment.pk)
    if state and state != _state(now):
        raise WrongStep(now, "be taken further from this form")


def _state(experiment: ModelExperiment) -> str:
    return f"{experiment.status}, failed" if experiment.error else experiment.status


def _complete(experiment: ModelExperiment, form: CompleteForm, by: User) -> None:
    told = form.cleaned_data
    experiments.complete(
        experiment,
        by=by,
        decision=told["decision"],
        rationale=told["rationale"],
        segments=form.wanted(),
        expected_champion=form.expected_champion(),
    )


# --- What is shown


def _page(
    request: HttpRequest,
    experiment: ModelExperiment,
    filled: dict[str, StepForm] | None = None,
    *,
    typed: Any = None,
    refusal: str = "",
    code: int = 200,
) -> HttpResponse:
    """`filled` is a form with faults; `typed` is what a person had filled in before a refusal, which is not lost."""
    policy, by = ModelPolicy.of(experiment.customer), cast(User, request.user)
    tests, versions = tests_of(experiment), versions_of(experiment)
    has_shown = bool(experiment.results or tests)
    shown = question(experiment).answer() if has_shown else None
    timeline = experiment_facts.timeline(experiment.events.select_related("by"))
    serving, run = experiment_facts.serving_beside(experiment, versions), _run(experiment)
    offered, why_not = _offered(experiment, by, policy, run)
    guarded = experiment_facts.guards(tests)
    advised = experiment_facts.without_reserve(shown, guarded) if shown else []
    forms = {step: _form(step, experiment, None, advised=advised, typed=typed) for step in offered} | (filled or {})
    context = {
        "experiment": experiment,
        "colour": experiment_facts.COLOURS.get(Status(experiment.status), "default"),
        "refusal": refusal,
        "next": experiment_facts.what_next(experiment, tests, policy),
        "plan": experiment_facts.plan(experiment),
        "conditions": experiment_facts.conditions(experiment),
        "target": policy.target_improvement_pct,
        "covered": experiment_facts.covered(experiment, shown),
        "tests": tests,
        "run": run,
        "results": experiment_facts.results(shown | _pages(versions), policy.bootstrap_level) if shown else None,
        "recommendation": experiment_facts.recommendation(shown, guarded) if shown else None,
        "reserves": experiment_facts.reserves(shown, guarded) if shown else [],
        "guards": guarded,
        "charts": experiment_facts.by_day(tests),
        "reported": told(experiment.reported_results),
        "changed": experiment_facts.changed(versions, serving) if experiment.status == Status.SHADOW_TESTING else [],
        "timeline": timeline,
        "ended": experiment_facts.ended(experiment, timeline),
        "forms": forms,
        "why_not": why_not,
        "will": experiment_facts.consequences(experiment, versions, serving, policy) if forms else {},
        "versions": versions,
    }
    return render(request, "experiment.html", context, status=code)


def _pages(versions: Sequence[ModelVersion]) -> dict[str, dict[str, str]]:
    return {"pages": {version.version: life_url(version) for version in versions}}


def _offered(
    experiment: ModelExperiment, by: User, policy: ModelPolicy, run: JobRun | None
) -> tuple[list[str], list[str]]:
    """The steps that this person may take now, and in a sentence each why they may not take the others."""
    may, why_not = [], []
    for step in OFFERED.get(Status(experiment.status), ()):
        if _is_needless(step, experiment, run):
            continue
        if not tenancy.allowed(by, experiment.customer, RIGHTS[step]):
            able = " or ".join(role.label for role, rights in tenancy.MATRIX.items() if RIGHTS[step] in rights)
            why_not.append(f"You may not {RIGHTS[step]}. Who may: {able}.")
        elif eyes := _four_eyes(step, experiment, by, policy):
            why_not.append(eyes)
        else:
            may.append(step)
    return may, list(dict.fromkeys(why_not))


def _is_needless(step: str, experiment: ModelExperiment, run: JobRun | None) -> bool:
    """Starting what is being trained, and rolling back what changed nothing."""
    if step == "start" and experiment.status == Status.IN_PROGRESS:
        return (
            not experiment.error and run is not None and run.status not in (JobRun.Status.FAILED, JobRun.Status.SKIPPED)
        )
    return step == "rollback" and not experiment.adopted


def _four_eyes(step: str, experiment: ModelExperiment, by: User, policy: ModelPolicy) -> str:
    if policy.allow_self_approval:
        return ""
    if step == "approve" and experiment.proposed_by_id == by.pk:
        return "You proposed it, so another manager has to approve it: four eyes see more than two."
    if step == "complete" and experiment.approved_by_id == by.pk:
        return "You approved it, so another person has to complete it: four eyes see more than two."
    return ""


def _form(
    step: str, experiment: ModelExperiment, data: Any, *, advised: Sequence[Any] = (), typed: Any = None
) -> StepForm:
    """Of a POST, or a fresh one that keeps what was typed before."""
    initial: dict[str, Any] = {"state": _state(experiment)}
    if typed and typed.get("step") == step:
        initial |= {name: typed[name] for name in ("rationale", "top_products", "note") if name in typed}
    if step == "complete":
        versions = versions_of(experiment)
        initial |= {
            "segments": _ticked(advised, typed),
            "beside": _beside(experiment_facts.serving_beside(experiment, versions)),
        }
        return CompleteForm(data, step=step, initial=initial, versions=versions)
    if step == "rollback":
        return RollBackForm(data, step=step, initial=initial | {"serving": experiments.serving_adopted(experiment)})
    kind = {"approve": ApproveForm, "start": StepForm}.get(step, ReasonForm)
    return kind(data, step=step, initial=initial)


def _ticked(advised: Sequence[Any], typed: Any) -> list[str]:
    if typed is not None:
        return typed.getlist("segments")
    return [one["segment"] for one in advised]


def _beside(serving: experiment_facts.Serving) -> str:
    return ",".join(f"{name}={champion}" for name, champion in serving.items() if champion)


def _run(experiment: ModelExperiment) -> JobRun | None:
    """The last run that trained it."""
    runs = JobRun.objects.filter(customer=experiment.customer, job=experiment_orders.JOB)
    return runs.filter(slot=experiment_orders.slot_of(experiment)).first()
