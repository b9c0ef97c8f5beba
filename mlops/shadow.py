"""The life of shadow tests: begun where there is room, followed night by night, judged once, forgotten in time."""

import datetime as dt

import pandas as pd
from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet

from alerts.alerting import raise_alert
from alerts.models import MLAlert
from mlops import promotion
from mlops.comparison import Comparison, compare
from mlops.models import GLOBAL, ModelPolicy, ModelVersion, ShadowPrediction, ShadowTest
from mlops.room import BESIDE_THE_CHAMPION, Room, asked_by_drift
from mlops.shadow_verdict import Finding, Served, is_due, judge
from shelfops.models import Customer

Status = ShadowTest.Status
PRUNE_ROWS = 20_000  # deleted in one statement, so that no lock lasts
COLUMNS = {
    "forecast_date": "ds",
    "actual_demand": "y",
    "challenger_prediction": "prediction",
    "challenger_lower": "lower",
    "challenger_upper": "upper",
    "champion_prediction": "champion",
    "champion_lower": "champion_lower",
    "champion_upper": "champion_upper",
    "seasonal_naive": "naive",
    "department": "department",
    "band": "band",
}
TEXTS = ("department", "band")


def running(customer: Customer) -> "QuerySet[ShadowTest]":
    """The tests whose versions forecast each night, from their `started_on` on."""
    tests = ShadowTest.objects.filter(customer=customer, status=Status.RUNNING)
    return tests.select_related("version").order_by("version_id")


def start(customer: Customer, as_of: dt.date) -> list[ShadowTest]:
    """Begins the tests of the versions that wait, as far as there is room; called before the night's shadow rows.

    A version waits as long as nobody serves whom it could be compared with, and what drift asked for until the night
    after: the day that found the drift may be cut short and done again.
    """
    waiting = ModelVersion.objects.filter(
        customer=customer, status__in=BESIDE_THE_CHAMPION, shadow_test=None
    ).select_related("customer")
    segments = {(one.model_name, one.segment): one for one in waiting.order_by("model_name", "segment")}
    return [test for one in segments.values() for test in _start_beside(one, as_of)]


@transaction.atomic
def _start_beside(version: ModelVersion, as_of: dt.date) -> list[ShadowTest]:
    """Begins what may begin in the version's segment."""
    list(ModelVersion.objects.segment_of(version).locked())
    if not _is_served(version):
        return []
    days = ModelPolicy.of(version.customer).shadow_days
    return [
        ShadowTest.objects.create(
            customer=version.customer, version=one, started_on=max(as_of, one.as_of), target_days=days
        )
        for one in Room.beside(version).next
        if not (one.as_of >= as_of and asked_by_drift(one))
    ]


def _is_served(version: ModelVersion) -> bool:
    champions = ModelVersion.objects.of(version.customer, version.model_name).champions()
    return champions.filter(segment__in=[version.segment, GLOBAL]).exists()


# --- Progress and verdict


def evaluate_due(customer: Customer, as_of: dt.date) -> list[ShadowTest]:
    """Counts what has been scored before `as_of`, and judges the tests that have their days; those, once each.

    Called when the day's actuals are in.
    """
    tests = list(running(customer))
    _count(tests, as_of)
    policy = ModelPolicy.of(customer)
    due = [
        test
        for test in tests
        if is_due(test.days, target_days=test.target_days, started_on=test.started_on, as_of=as_of, policy=policy)
    ]
    judged = [_evaluate(test, policy, as_of) for test in due]
    return [test for test in judged if test is not None]


def scored(test: ShadowTest, as_of: dt.date) -> "QuerySet[ShadowPrediction]":
    """The test's rows that can be compared: those before `as_of` with their actual, a day without a sale too."""
    return ShadowPrediction.objects.filter(
        version_id=test.version_id,
        forecast_date__gte=test.started_on,
        forecast_date__lt=as_of,
        actual_demand__isnull=False,
    )


def _count(tests: list[ShadowTest], as_of: dt.date) -> None:
    """Counts days and samples so far, and writes what has changed; a night long past leaves what later ones wrote."""
    for test in tests:
        by_day = scored(test, dt.date.max).values_list("forecast_date").annotate(rows=Count("pk"))
        known = dict(by_day.order_by())
        counts = [rows for day, rows in known.items() if day < as_of]
        counted = {"days": len(counts), "samples": sum(counts)}
        if len(counts) == len(known) and counted != {"days": test.days, "samples": test.samples}:
            ShadowTest.objects.filter(pk=test.pk, status=Status.RUNNING).update(**counted)
        test.days, test.samples = counted["days"], counted["samples"]


def _evaluate(test: ShadowTest, policy: ModelPolicy, as_of: dt.date) -> ShadowTest | None:
    """Judges the test and tells people, all in one transaction; None where somebody else ended it meanwhile.

    The rows are read before the locks, because that takes a while.
    """
    comparison = compare(frame(scored(test, as_of)), level=policy.bootstrap_level)
    served = _served(test, as_of)
    with transaction.atomic():
        list(ModelVersion.objects.segment_of(test.version).locked())
        locked = ShadowTest.objects.select_related("version__run", "customer").select_for_update(of=("self",))
        test = locked.get(pk=test.pk)
        if test.status != Status.RUNNING:
            return None
        finding = judge(
            comparison,
            policy,
            as_of=as_of,
            status=ModelVersion.Status(test.version.status),
            champion=promotion.champion_of(test.version),
            target_days=test.target_days,
            served=served,
        )
        _complete(test, finding, comparison, as_of)
        _tell(test, finding)
    return test


def frame(rows: "QuerySet[ShadowPrediction]") -> pd.DataFrame:
    """Shadow rows with the columns that `compare` reads, in the order of their key."""
    ordered = rows.order_by("forecast_date", "store_id", "product_id").values_list(*COLUMNS)
    table = pd.DataFrame.from_records(ordered.iterator(chunk_size=20_000), columns=list(COLUMNS.values()))
    numbers = {name: float for name in table.columns if name not in ("ds", *TEXTS)}
    return table.astype({"ds": "datetime64[ns]", **numbers})


def _served(test: ShadowTest, as_of: dt.date) -> list[Served]:
    """Who served beside the version, in the order in which they did."""
    counted = (
        scored(test, as_of)
        .values_list("champion__version")
        .annotate(
            days=Count("forecast_date", distinct=True),
            samples=Count("pk"),
            first_day=Min("forecast_date"),
            last_day=Max("forecast_date"),
        )
    )
    return [Served(*row) for row in counted.order_by("last_day", "first_day", "champion_id")]


def _complete(test: ShadowTest, finding: Finding, comparison: Comparison, as_of: dt.date) -> None:
    test.status, test.completed_on, test.verdict = Status.COMPLETED, as_of, finding.verdict
    test.days, test.samples = comparison.days, comparison.n
    test.champion_mae = comparison.champion.mae if comparison.champion else None
    test.challenger_mae = comparison.candidate.mae
    test.improvement_pct, test.lower, test.upper = comparison.improvement_pct, comparison.lower, comparison.upper
    test.result = {**test.result, **finding.as_json()}
    test.save()


def _tell(test: ShadowTest, finding: Finding) -> None:
    """What came of it; and where it makes a case for a challenger, the question whether it shall serve."""
    version, experiment = test.version, _experiment(test.version)
    raise_alert(
        test.customer,
        MLAlert.Type.SHADOW_TEST_COMPLETE,
        title=f"{version} has completed its shadow test",
        message=finding.decision.reason,
        metadata={
            "model_name": version.model_name,
            "version": version.version,
            "segment": version.segment,
            "champion": finding.decision.champion,
            "verdict": finding.verdict.value,
            "champion_mae": test.champion_mae,
            "challenger_mae": test.challenger_mae,
            "improvement_pct": test.improvement_pct,
            "lower": test.lower,
            "upper": test.upper,
            "days": test.days,
            "samples": test.samples,
        }
        | ({"experiment_id": experiment} if experiment else {}),
        action_url=f"/experiments/{experiment}/results" if experiment else f"/models/review/{version.version}",
        dedupe=f"{version.model_name}:{version.version}",
        model_name=version.model_name,
        version=version.version,
        segment=version.segment,
    )
    if finding.asks_a_person:
        promotion.ask_a_person(finding.decision, version)


def _experiment(version: ModelVersion) -> str:
    """The experiment that an experimental version was trained for; empty where there is none."""
    if version.status != ModelVersion.Status.EXPERIMENTAL or version.run is None:
        return ""
    return str(version.run.trigger_metadata.get("experiment_id") or "")


# --- Retention


def prune(customer: Customer, as_of: dt.date, *, rows_at_once: int = PRUNE_ROWS) -> int:
    """Deletes shadow rows `keep_shadow_days` after their test's end, in bounded statements; how many. Verdicts stay."""
    last_kept = as_of - dt.timedelta(days=ModelPolicy.of(customer).keep_shadow_days)
    over = ShadowTest.objects.filter(customer=customer, completed_on__lt=last_kept).exclude(status=Status.RUNNING)
    total = 0
    for version in over.order_by("pk").values_list("version_id", flat=True):
        old = ShadowPrediction.objects.filter(version_id=version)
        deleted = rows_at_once
        while deleted == rows_at_once:
            deleted, _ = ShadowPrediction.objects.filter(pk__in=old.values("pk")[:rows_at_once]).delete()
            total += deleted
    return total
