"""How a retrain is asked for: by timetable, person, drift or experiment; each request is one run of one job."""

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from forecasting import experiment_orders, experiment_plan
from forecasting.experiment_plan import DEFAULT_TIER
from forecasting.orders import BadOrder, Order, Trigger
from forecasting.retrain import close_dead, retrain
from forecasting.train import check_params
from mlops import experiments
from mlops.models import ModelExperiment, ModelRetrainingLog, ModelVersion
from shelfops import jobs
from shelfops.models import MODEL_NAME_DEFAULT, Customer, JobRun, User

JOB = experiment_orders.JOB
Advance = Callable[[int, int], None]
_watching: ContextVar[Advance | None] = ContextVar("watching", default=None)


def retrain_forecast_model(
    customer_id: UUID,
    *,
    trigger: str,
    trigger_metadata: Mapping[str, Any] | None = None,
    as_of: dt.date | None = None,
    reason: str | None = None,
    by: User | None = None,
    request: UUID | None = None,
    **options: Any,
) -> JobRun:
    """Asks for a retrain and returns at once; a worker does it.

    A scheduled retrain has one slot a day: whoever asks again gets the same run, as does who sends the same `request`
    twice. `options` are tier, window_days, params, promote and segments. With trigger experiment the metadata name
    an experiment_id, and the experiment's plan is trained: it is in progress from here on. Raises orders.BadOrder
    where it could not be carried out.
    """
    customer = Customer.objects.get(pk=customer_id)
    with transaction.atomic():
        slot, arguments = asked(
            customer,
            trigger=trigger,
            trigger_metadata=trigger_metadata,
            as_of=as_of,
            reason=reason,
            request=request,
            by=by,
            **options,
        )
        return jobs.request(customer, JOB, slot=slot, arguments=arguments, by=by)


def retrain_here(customer: Customer, *, watch: Advance | None = None, by: User | None = None, **wanted: Any) -> JobRun:
    """The same in this process, to its end; `watch` is told (percent, 100). A retrain that fails raises Refusal."""
    with transaction.atomic():
        slot, arguments = asked(customer, by=by, **wanted)
    token = _watching.set(watch)
    try:
        return jobs.run_now(customer, JOB, slot=slot, arguments=arguments, by=by)
    finally:
        _watching.reset(token)


def asked(
    customer: Customer,
    *,
    trigger: str,
    trigger_metadata: Mapping[str, Any] | None = None,
    as_of: dt.date | None = None,
    reason: str | None = None,
    request: UUID | None = None,
    by: User | None = None,
    **options: Any,
) -> tuple[str, dict[str, Any]]:
    """The slot and the arguments of a retrain, checked before anything is queued; an experiment is begun with it."""
    day = as_of or customer.today()
    if day > customer.today():
        raise BadOrder(f"{day} has not come yet: today is {customer.today()} at {customer}. Name a day up to then.")
    metadata = dict(trigger_metadata or {})
    arguments = {"trigger": trigger, "reason": reason or "", "metadata": metadata, **options}
    slot = day.isoformat() if trigger == Trigger.SCHEDULED else f"{trigger}:{request or uuid.uuid4()}"
    experiment = experiment_orders.named_in(customer, metadata) if trigger == Trigger.EXPERIMENT else None
    if experiment is None:
        _check_segments(customer, options.get("segments") or ())
    else:
        arguments |= experiment_orders.arguments(experiment, metadata, options)
        slot = experiment_orders.slot_of(experiment)
    wanted = order(arguments, day)
    check_params(wanted.tier or DEFAULT_TIER, wanted.params)
    if experiment is not None:
        experiment_orders.begin(experiment, by=by)
    return slot, arguments | {"as_of": day.isoformat()}


def _check_segments(customer: Customer, wanted: Iterable[str]) -> None:
    """A segment gets its first model by an experiment, never by a retrain that promotes itself."""
    served = set(ModelVersion.objects.of(customer).champions().values_list("segment", flat=True))
    if unserved := sorted(set(wanted) - served):
        raise BadOrder(
            f"{', '.join(unserved)} has no champion to retrain. There are: {', '.join(sorted(served)) or 'none'}. "
            "A new segment comes through an experiment."
        )


def order(arguments: Mapping[str, Any], day: dt.date) -> Order:
    """The order that a run's arguments stand for; the timetable gives none, which means scheduled on the slot's day."""
    given = {name: value for name, value in arguments.items() if value is not None and name != "as_of"}
    trigger = Trigger(given.pop("trigger", Trigger.SCHEDULED))
    segments = tuple(given.pop("segments", ()))
    return Order(trigger=trigger, as_of=day, segments=segments, **given)


def work(run: JobRun, progress: jobs.Progress) -> dict[str, Any]:
    """What a worker does for a run of this job."""
    if decided := ModelRetrainingLog.objects.filter(job_run=run, status=ModelRetrainingLog.Status.COMPLETED).first():
        return _result(decided)  # its worker died between the decision and the end of the run
    watch = _watching.get()

    def stage(name: str, percent: int) -> None:
        progress.stage(name, percent)
        if watch:
            watch(percent, 100)

    day = dt.date.fromisoformat(run.arguments["as_of"]) if "as_of" in run.arguments else _day_of_slot(run)
    experiment = experiment_orders.of_run(run)
    try:
        log = retrain(
            run.customer,
            order(run.arguments, day),
            by=run.requested_by,
            job_run=run,
            stage=stage,
            confirm=partial(_confirm, progress, experiment),
            conclude=partial(_conclude, experiment),
        )
    except jobs.Lost:
        raise  # whoever gave the run up for dead has told the experiment
    except Exception as error:
        if experiment is not None:
            experiments.failed(experiment, " ".join(str(error).split()) or type(error).__name__)
        raise
    return _result(log)


def _confirm(progress: jobs.Progress, experiment: ModelExperiment | None) -> None:
    """Locks the run, then the experiment, before any version is locked."""
    progress.confirm()
    if experiment is not None:
        experiments.check_in_progress(experiment)


def _conclude(experiment: ModelExperiment | None, log: ModelRetrainingLog, versions: Sequence[ModelVersion]) -> None:
    if experiment is not None:
        experiment_orders.conclude(experiment, log, versions)


def _result(log: ModelRetrainingLog) -> dict[str, Any]:
    """What the run answers; `version` and `status` are of the first one, all are in `versions`."""
    versions = list(log.versions.order_by("pk"))
    return {
        "retrain_id": log.job_run_id,
        "version": log.version_produced,
        "status": versions[0].status,
        "decision": log.decision,
        "versions": [
            {"version": version.version, "segment": version.segment, "status": version.status} for version in versions
        ],
    }


def _close_dead(run: JobRun) -> None:
    close_dead(run)
    experiment_orders.fail_dead(run)


def _day_of_slot(run: JobRun) -> dt.date:
    """The customer's fixed today, else the day the run was due, however late it comes."""
    return run.customer.clock or dt.date.fromisoformat(run.slot)


def register() -> None:
    """Called once, when the apps are ready."""
    experiments.check_plans_with(experiment_plan.check)
    jobs.register(JOB, work, resource=MODEL_NAME_DEFAULT, on_death=_close_dead)
