"""An emergency retrain that failed, done again because a person asks for it."""

import datetime as dt
from typing import Any

from forecasting import drift
from forecasting.retrain import close_dead
from mlops import incidents, unreplaced
from mlops.models import DriftIncident
from shelfops import jobs
from shelfops.models import MODEL_NAME_DEFAULT, JobRun, User

JOB = "emergency_retrain"
CLOSED_MEANWHILE = "The incident was closed before the retrain could answer it."


def ask(incident: DriftIncident, slot: str, by: User, reason: str) -> JobRun:
    """Queues the retrain, in the caller's transaction."""
    as_of = incident.customer.today()
    arguments = {"incident": incident.pk, "as_of": as_of.isoformat(), "reason": reason}
    return jobs.request(incident.customer, JOB, slot=slot, arguments=arguments, by=by)


def work(run: JobRun, progress: jobs.Progress) -> dict[str, Any]:
    """What a worker does for a run of this job."""
    incident = _incident(run)
    if refusal := unreplaced.why_not(incident):
        raise jobs.Skip(refusal)

    def confirm() -> None:
        progress.confirm()
        if refusal := unreplaced.why_not(_incident(run)):
            raise jobs.Skip(refusal)

    log, failure = drift.train(
        incident,
        dt.date.fromisoformat(run.arguments["as_of"]),
        run.arguments["reason"],
        by=run.requested_by,
        job_run=run,
        stage=progress.stage,
        confirm=confirm,
    )
    told = incidents.answer_again(
        incident, log, failure=failure, run_url=run.get_absolute_url(), confirm=progress.confirm
    )
    if told is None:
        raise jobs.Skip(CLOSED_MEANWHILE)
    return {"incident": incident.pk, "new_version": told.version, "error": failure}


def _incident(run: JobRun) -> DriftIncident:
    rows = DriftIncident.objects.select_related("customer", "champion", "challenger", "closed_by")
    return rows.get(customer=run.customer, pk=run.arguments["incident"])


def register() -> None:
    """Called once, when the apps are ready."""
    unreplaced.retrain_with(ask)
    jobs.register(JOB, work, resource=MODEL_NAME_DEFAULT, on_death=close_dead)
