"""The page of a run, which reloads itself until the run has ended."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from mlops import addresses
from mlops.models import ModelRetrainingLog, ModelVersion
from mlops.routing import in_words
from shelfops import jobs, tenancy
from shelfops.models import JobRun, User
from shelfops.own_pages import own_scripts_only
from shelfops.tenancy import Action
from shelfops.told import sections

RELOAD_SECONDS = 5
Status = JobRun.Status
Trigger = ModelRetrainingLog.Trigger
NAMES = {
    "retrain": "Retrain",
    "run_day": "Nightly forecasts, scores and drift check",
    "forecast": "Forecasts",
    "score": "Scores",
    "detect_drift": "Drift check",
    "emergency_retrain": "Emergency retrain",
}
NEXT = {
    Status.QUEUED: "A worker begins it as soon as one is free. If it stays so for minutes, see that a worker runs.",
    Status.RUNNING: "You may leave this page: the work goes on.",
    Status.COMPLETED: "Nothing is left to do here.",
    Status.FAILED: "Put right what the error names, then start it again.",
    Status.SKIPPED: "Nothing was changed. It can be started again when the reason is gone.",
}
DONE_ONCE = "It is done once for its day: asking for it again shows this result."
COLOURS = {
    Status.COMPLETED: "success",
    Status.RUNNING: "info",
    Status.FAILED: "danger",
    Status.SKIPPED: "warning",
}


@own_scripts_only
@require_http_methods(["GET", "HEAD", "POST"])
def show(request: HttpRequest, run_id: int) -> HttpResponse:
    """A run of another customer is not found; what failed or was skipped is started again from here."""
    user = cast(User, request.user)
    runs = tenancy.scope(JobRun.objects.select_related("customer", "requested_by"), user)
    run = get_object_or_404(runs, pk=run_id)
    if request.method == "POST" and _is_started_here(run):
        tenancy.require(user, run.customer, Action.RETRAIN)
        jobs.request(run.customer, run.job, slot=run.slot, arguments=run.arguments, by=user)
        return redirect(run)
    context = {
        "run": run,
        "title": title(run),
        "asked_by": asked_by(run),
        "colour": COLOURS.get(Status(run.status), "default"),
        "next": _next(run),
        "links": list(_links(run)),
        "reload_seconds": None if run.is_over else RELOAD_SECONDS,
        "result": sections(_worded(run.result)),
        "again": _is_started_here(run) and tenancy.allowed(user, run.customer, Action.RETRAIN),
    }
    return render(request, "run.html", context)


def _is_started_here(run: JobRun) -> bool:
    """Whether it failed or was skipped; an experiment's training is started on the experiment's page."""
    return run.status in jobs.AGAIN and run.arguments.get("trigger") != Trigger.EXPERIMENT


view = admin.site.admin_view(show)


def title(run: JobRun) -> str:
    """What it is, such as: Retrain of 2026-03-02 (drift detected)."""
    name = job_in_words(run.job)
    day = day_of(run)
    trigger = run.arguments.get("trigger", Trigger.SCHEDULED) if run.job == "retrain" else None
    return name + (f" of {day}" if day else "") + (f" ({Trigger(trigger).label.lower()})" if trigger else "")


def job_in_words(job: str) -> str:
    """Its name for people."""
    return NAMES.get(job, job.replace("_", " ").capitalize())


def stages_in_words(stages: list[dict[str, Any]]) -> str:
    """Such as: loading 1.2 s, fitting 31.0 s."""
    return ", ".join(f"{stage['stage']} {stage['seconds']:.1f} s" for stage in stages)


def asked_by(run: JobRun) -> str:
    """Who or what wanted it; only the timetable asks without any arguments."""
    if run.requested_by:
        return f"by {run.requested_by}"
    if promoted := run.arguments.get("after"):
        return f"because {promoted} was promoted"
    return "by a command" if run.arguments else "by the timetable"


def day_of(run: JobRun) -> str:
    """The customer's day that it is about; "" where it is about none."""
    return str(run.arguments.get("as_of") or (run.slot if _is_of_a_day(run) else ""))


def _is_of_a_day(run: JobRun) -> bool:
    try:
        dt.date.fromisoformat(run.slot)
    except ValueError:
        return False
    return True


def _next(run: JobRun) -> str:
    told = NEXT[Status(run.status)]
    return f"{told} {DONE_ONCE}" if run.status == Status.COMPLETED and _is_of_a_day(run) else told


def _worded(result: Any) -> Any:
    """A result with the names of its segments for people."""
    if isinstance(result, list):
        return [_worded(one) for one in result]
    if not isinstance(result, dict):
        return result
    return {key: in_words(value) if key == "segment" else _worded(value) for key, value in result.items()}


def _links(run: JobRun) -> Iterator[tuple[str, str]]:
    """What it trains for, where its retrains are logged, and the versions that they have made."""
    if experiment := (run.arguments.get("metadata") or {}).get("experiment_id"):
        yield "The experiment that it trains for", reverse("experiment", args=[experiment])
    for log in ModelRetrainingLog.objects.filter(job_run=run).prefetch_related("versions__customer").order_by("pk"):
        if incident := log.trigger_metadata.get("incident_id"):
            yield "The drift incident that it answers", reverse("admin:mlops_driftincident_change", args=[incident])
        yield f"Log of the retrain: {log}", reverse("admin:mlops_modelretraininglog_change", args=[log.pk])
        for version in log.versions.all():
            page = addresses.life_url(version)
            yield f"Version {version}, {version.get_status_display().lower()}", page
            if version.status == ModelVersion.Status.CHALLENGER:
                yield f"Review {version}", addresses.url(version)
