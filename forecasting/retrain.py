"""The heart of ShelfOps: a trigger becomes trained, judged and decided versions, step by step as in the specification.

trigger -> read sales -> fit and judge -> compare with the champion -> register, decide and log at once
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pandas as pd
from django.db import transaction
from django.utils import timezone

from forecasting import protocols, recipes, rivals, sales, segments, stored
from forecasting.orders import Order, Status, Trigger
from forecasting.panel import Panel
from forecasting.recipes import Task
from forecasting.train import NothingToLearn, target_rows
from mlops import backtests, comparison, promotion, registry
from mlops.models import GLOBAL, BacktestResult, ModelPolicy, ModelRetrainingLog, ModelVersion
from mlops.routing import in_words, parts
from shelfops.heartbeat import lease_time
from shelfops.models import Customer, JobRun, User
from shelfops.refusals import Refusal

Stage = Callable[[str, int], None]
DIED = "The worker died during the retrain. Start it again."
Conclude = Callable[[ModelRetrainingLog, Sequence[ModelVersion]], None]

# Stage -> percent done when it begins.
PERCENT = {
    "reading sales": 2,
    "fitting the days before the hold-out": 10,
    "refitting at each origin of the last week": 10,
    "forecasting the hold-out": 35,
    "fitting up to the last day": 45,
    "comparing with the champion": 75,
    "registering": 90,
    "deciding": 98,
}


class NothingTrained(Refusal):
    """None of the segments that were asked for could be trained; the message says why."""


@dataclass(frozen=True)
class Produced:
    """A segment that is trained and judged, its files in place, and what the rules say of it."""

    trained: registry.Trained
    champion: ModelVersion | None
    results: dict[str, pd.DataFrame]  # by baseline, "" for its own
    decision: promotion.Decision


def retrain(
    customer: Customer,
    order: Order,
    *,
    by: User | None = None,
    job_run: JobRun | None = None,
    stage: Stage = lambda _name, _percent: None,
    confirm: Callable[[], None] = lambda: None,
    conclude: Conclude = lambda _log, _versions: None,
) -> ModelRetrainingLog:
    """Trains, judges and decides each segment, and logs it: the row is opened before the work and closed once.

    Versions, their results, the decision and the closed row are one transaction: cut short anywhere, a retrain leaves
    no version, and files that nobody refers to, which the next one removes. `confirm` is called at its beginning,
    `conclude` at its end; what they raise, because the run was given up for dead meanwhile, undoes it. What goes wrong
    is written into the row and raised again.
    """
    registry.discard_leftovers(customer)
    log = ModelRetrainingLog.objects.create(
        customer=customer,
        trigger_type=order.trigger,
        trigger_metadata=dict(order.metadata),
        reason=order.reason,
        requested_by=by,
        as_of=order.as_of,
        job_run=job_run,
    )
    stopwatch = _Stopwatch(stage)
    try:
        produced = _produce(customer, order, log, stopwatch)
        stopwatch.stage("deciding")
        with transaction.atomic():
            confirm()
            versions = _decided(customer, produced, order, log)
            closed = _close_completed(log, versions, stopwatch)
            conclude(closed, versions)
            return closed
    except BaseException as error:
        close(log, ModelRetrainingLog.Status.FAILED, stages=stopwatch.done(), error=_in_a_line(error))
        raise


def _produce(customer: Customer, order: Order, log: ModelRetrainingLog, stopwatch: _Stopwatch) -> list[Produced]:
    """One segment after the other; one other than global that cannot be trained is left out, and noted in the log."""
    policy = ModelPolicy.of(customer)
    stopwatch.stage("reading sales")
    last_day = sales.last_complete_day(customer, order.as_of, policy)
    tasks = recipes.tasks(customer, last_day, order, policy)
    panel = sales.panel(customer, last_day=last_day, since=recipes.since(tasks, policy))
    log.notes = _left_to_global(tasks, panel)
    produced = []
    for number, task in enumerate(tasks):
        stopwatch.segment(task.segment, number, len(tasks))
        try:
            produced.append(_train(customer, order, stopwatch, task, panel, policy))
        except (NothingToLearn, backtests.NothingToScore) as refusal:
            if task.segment == GLOBAL:
                raise
            log.notes.append(f"{in_words(task.segment)} stays with the model for all products: {refusal}")
    log.save(update_fields=["notes"])
    if not produced:
        raise NothingTrained("No segment could be trained: " + "; ".join(log.notes))
    return produced


def _left_to_global(tasks: Sequence[Task], panel: Panel) -> list[str]:
    """Of each segmentation that is trained: how many series it does not reach."""
    kinds = {kind for task in tasks if (kind := parts(task.segment)[0])}
    return [note for kind in sorted(kinds) if (note := segments.without(panel, kind))]


def _train(
    customer: Customer,
    order: Order,
    stopwatch: _Stopwatch,
    task: Task,
    whole: Panel,
    policy: ModelPolicy,
) -> Produced:
    """Fits, judges and compares one segment and stores its files. Raises NothingToLearn where it has too few rows."""
    champion = task.champion
    panel, products = _own(whole, task, order, policy)
    recipe = recipes.recipe_for(order, task, panel, policy)
    fit_and_judge = protocols.emergency if order.rule.emergency else protocols.standard
    fitted = fit_and_judge(panel, recipe, task.split, policy, stopwatch.stage)

    stopwatch.stage("comparing with the champion")
    with ThreadPoolExecutor(1) as aside:  # one core compares while the other explains
        explained = aside.submit(stored.importances, fitted.serving, panel)
        learned_from = segments.cut(whole, champion.segment, policy) if champion else None
        rows = rivals.beside(champion, fitted, panel, order, policy, own_panel=learned_from)
        compared = comparison.compare(rows, level=policy.bootstrap_level)
        results = stored.results(fitted.judged, policy)
        if champion and rows["champion"].notna().all():  # unknown is not written as scored
            results[champion.version] = stored.champion_results(rows, policy)

    stopwatch.stage("registering")
    trained = stored.trained(fitted, panel, order.as_of, policy, products, explained.result())
    registry.store_files(customer, trained.files)
    return Produced(trained, champion, results, _decide(compared, order, task, customer, policy))


def _own(whole: Panel, task: Task, order: Order, policy: ModelPolicy) -> tuple[Panel, list[str]]:
    """What the segment learns from and is judged on, and the only products in it; none named means all."""
    panel = segments.cut(whole, task.segment, policy)
    rows = int(target_rows(panel, task.split.serving_start, task.split.last_day).sum())
    if note := segments.too_short(task.segment, rows, policy):
        raise NothingToLearn(note)
    if order.top_products is None:
        return panel, []
    products = segments.top_products(panel, task.split.serving_start, order.top_products)
    return segments.only_products(panel, products), products


def _decide(
    compared: comparison.Comparison, order: Order, task: Task, customer: Customer, policy: ModelPolicy
) -> promotion.Decision:
    first, champion = order.rule.first_status, task.champion
    return promotion.decide(
        compared,
        policy,
        as_of=order.as_of,
        champion=champion.version if champion else "",
        may_promote=order.rule.may_promote and order.promote,
        why_held=order.rule.why_held,
        hold_status=Status.CHALLENGER if first == Status.CANDIDATE else first,
        hold_alerts=order.rule.asks_a_person,
        frozen_until=promotion.frozen_until(customer, order.as_of, segment=task.segment),
    )


def _decided(
    customer: Customer, produced: Sequence[Produced], order: Order, log: ModelRetrainingLog
) -> list[ModelVersion]:
    """Registers the versions and carries the decisions out; whoever may serve one of the segments is locked before, all
    in one go."""
    versions = [_registered(customer, one, order, log) for one in produced]
    beside = {version.segment for version in versions}
    list(ModelVersion.objects.of(customer).filter(segment__in=beside).locked())
    scheduled = order.trigger == Trigger.SCHEDULED
    return [
        promotion.apply(one.decision, version, by=None, as_of=order.as_of, scheduled=scheduled)
        for one, version in zip(produced, versions, strict=True)
    ]


def _registered(customer: Customer, one: Produced, order: Order, log: ModelRetrainingLog) -> ModelVersion:
    """The segment as a version, with how it, seasonal naive and the champion did on the held-out rows."""
    version = registry.register(
        customer,
        one.trained,
        status=order.rule.first_status,
        reason=f"{order.trigger.label} retrain: {order.reason or 'by the timetable'}",
        by=log.requested_by,
        run=log,
        parent=one.champion,
    )
    for baseline, table in one.results.items():
        backtests.store(version, table, kind=BacktestResult.Kind.HOLDOUT, baseline=baseline)
    return version


def _close_completed(
    log: ModelRetrainingLog, versions: Sequence[ModelVersion], stopwatch: _Stopwatch
) -> ModelRetrainingLog:
    reasons = [version.decision["reason"] for version in versions]
    if len(versions) > 1:
        reasons = [f"{version}: {reason}" for version, reason in zip(versions, reasons, strict=True)]
    return close(
        log,
        ModelRetrainingLog.Status.COMPLETED,
        stages=stopwatch.done(),
        version_produced=", ".join(version.version for version in versions),
        decision="; ".join([*reasons, *log.notes]),
    )


def close(log: ModelRetrainingLog, status: ModelRetrainingLog.Status, **values: Any) -> ModelRetrainingLog:
    """Closes the row, once: a row that is closed already keeps what it says."""
    ModelRetrainingLog.objects.filter(pk=log.pk, status=ModelRetrainingLog.Status.RUNNING).update(
        **{"status": status, "completed_at": timezone.now()} | values
    )
    log.refresh_from_db()
    return log


def close_dead(run: JobRun) -> None:
    """Closes what a run that died has left open, as of its death, not of when it was found: in a database restored from
    a backup that is after files of versions which it does not know of any more, and which must stay.
    """
    now = timezone.now()
    died_at = min(now, (run.heartbeat_at or now) + lease_time())
    for log in ModelRetrainingLog.objects.filter(job_run=run, status=ModelRetrainingLog.Status.RUNNING):
        close(log, ModelRetrainingLog.Status.FAILED, error=DIED, completed_at=died_at)


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Stopwatch:
    """Tells where the retrain stands, segment by segment, and keeps how long each stage took."""

    def __init__(self, tell: Stage) -> None:
        self._tell, self._stages = tell, [("", time.perf_counter())]
        self._label, self._number, self._of = "", 0, 1

    def segment(self, segment: str, number: int, of: int) -> None:
        """What follows is about this one of so many segments."""
        self._label = "" if segment == GLOBAL else f" ({in_words(segment)})"
        self._number, self._of = number, of

    def stage(self, name: str) -> None:
        percent = PERCENT[name]
        label = self._label
        if name == "deciding":
            label = ""
        elif name != "reading sales":
            percent = (100 * self._number + percent) // self._of
        self._stages.append((name + label, time.perf_counter()))
        self._tell(name + label, percent)

    def done(self) -> list[dict[str, Any]]:
        ends = [begun for _name, begun in self._stages[1:]] + [time.perf_counter()]
        return [
            {"stage": name, "seconds": round(end - begun, 3)}
            for (name, begun), end in zip(self._stages, ends, strict=True)
            if name
        ]
