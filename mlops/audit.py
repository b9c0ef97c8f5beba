"""Whether the ledger is whole: what must be true of every version, decision and run, checked from rows and files."""

from collections.abc import Iterator

from django.db.models import Count, Q

from alerts.models import MLAlert
from mlops import decision_audit, registry, routing_audit
from mlops.artefacts import BrokenArtefact
from mlops.faults import Audit, Fault, silent_since
from mlops.models import DriftIncident, ModelRetrainingLog, ModelReview, ModelVersion, RoutingRule
from shelfops.models import Customer, JobRun


def audit(customer: Customer) -> Audit:
    """Reads every file and every event of the customer; changes nothing."""
    versions = list(ModelVersion.objects.filter(customer=customer).order_by("pk").prefetch_related("events"))
    runs = JobRun.objects.filter(customer=customer)
    log = ModelRetrainingLog.objects.filter(customer=customer)
    faults = [
        *_broken_files(versions),
        *_rival_champions(customer),
        *(fault for version in versions for fault in _broken_chain(version)),
        *_silent_runs(customer),
        *_retrainings_left_open(customer),
        *decision_audit.faults(customer),
        *routing_audit.faults(customer),
    ]
    checked = {
        "versions": len(versions),
        "champions": sum(version.status == ModelVersion.Status.CHAMPION for version in versions),
        "events": sum(len(version.events.all()) for version in versions),
        "retrainings": log.count(),
        "runs": runs.count(),
        "alerts": MLAlert.objects.filter(customer=customer).count(),
        "reviews": ModelReview.objects.filter(customer=customer).count(),
        "incidents": DriftIncident.objects.filter(customer=customer).count(),
        "routing rules": RoutingRule.objects.filter(customer=customer).count(),
    }
    return Audit(tuple(faults), checked)


def _broken_files(versions: list[ModelVersion]) -> Iterator[Fault]:
    for version in versions:
        try:
            registry.files_of(version)
        except BrokenArtefact as broken:
            champion = version.status == ModelVersion.Status.CHAMPION
            advice = "Restore the folder from a backup"
            advice += ", or roll back to a former champion at once: this one serves." if champion else ", or retrain."
            yield Fault("champion_artefact" if champion else "artefact", version.version, str(broken), advice)


def _rival_champions(customer: Customer) -> Iterator[Fault]:
    champion = Q(status=ModelVersion.Status.CHAMPION)
    segments = (
        ModelVersion.objects.filter(customer=customer)
        .order_by()
        .values("model_name", "segment")
        .annotate(champions=Count("pk", filter=champion))
        .filter(champions__gt=1)
    )
    for segment in segments:
        yield Fault(
            "rival_champions",
            f"{segment['model_name']} {segment['segment']}",
            f"{segment['champions']} versions are champion of one segment.",
            "Restore the constraint one_champion_per_segment, then roll back to the right one.",
        )


def _broken_chain(version: ModelVersion) -> Iterator[Fault]:
    """The first event creates, each goes on from where the one before ended, the last leads to the status."""
    advice = "A status was written past the rules: look at who did, and restore status and events from a backup."
    status = ""
    events = list(version.events.all())
    if not events:
        yield Fault("no_events", version.version, f"It is {version.status}, and no event says why.", advice)
        return
    for event in events:
        if event.from_status != status:
            message = (
                f"An event of {event.as_of} starts from {event.from_status or 'nothing'}, not {status or 'nothing'}."
            )
            yield Fault("broken_chain", version.version, message, advice)
        status = event.to_status
    if status != version.status:
        message = f"It is {version.status}, but its last event made it {status}."
        yield Fault("status_without_event", version.version, message, advice)


def _silent_runs(customer: Customer) -> Iterator[Fault]:
    running = JobRun.objects.filter(customer=customer, status=JobRun.Status.RUNNING)
    for run in running.exclude(_alive()):
        last = f"{run.heartbeat_at:%Y-%m-%d %H:%M} UTC" if run.heartbeat_at else "never"
        yield Fault(
            "silent_run",
            f"run {run.pk} ({run})",
            f"It is marked as running, and its last sign of life was: {last}.",
            "Start the scheduler and a worker, whose sweep closes it, or run the job again.",
        )


def _retrainings_left_open(customer: Customer) -> Iterator[Fault]:
    log = ModelRetrainingLog.objects.filter(customer=customer, status=ModelRetrainingLog.Status.RUNNING)
    at_work = Q(job_run__status=JobRun.Status.RUNNING) & _alive("job_run__")
    for retraining in log.exclude(at_work).filter(started_at__lt=silent_since()):
        yield Fault(
            "retraining_left_open",
            f"retraining {retraining.pk} ({retraining})",
            "It is marked as running, and no run is at work on it.",
            "Start the scheduler and a worker, whose sweep closes it, or retrain.",
        )


def _alive(path: str = "") -> Q:
    return Q(**{f"{path}heartbeat_at__isnull": False, f"{path}heartbeat_at__gte": silent_since()})
