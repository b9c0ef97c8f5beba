"""A customer on whom everything waits that people decide, for tests of pages: no training, real rows."""

import datetime as dt

import numpy as np
from django.utils import timezone

from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from forecasting.models import FeedDay, ForecastRun, Store
from mlops import backtests
from mlops.decision import decide
from mlops.models import DriftCheck, DriftIncident, ModelPolicy, ModelVersion
from mlops.promotion import apply
from mlops.tests.ledger import DAY, a_comparison, a_department, a_version, rows
from shelfops.models import Customer, JobRun

TODAY = DAY + dt.timedelta(days=30)
IMPORTANCES = {"lag7": 0.45, "promo": 0.25, "rolling_mean_lag1_window_size28": 0.2, "relative_price": 0.1}


def what_waits(customer: Customer, *, stores: int = 3, nights: int = 30) -> ModelVersion:
    """v1 serves and has drifted; v2, which drift asked for, awaits its review and is returned."""
    customer.clock, customer.timezone = TODAY, "Europe/Berlin"
    customer.save()
    policy = ModelPolicy.of(customer)
    champion = a_version(customer, "champion")
    challenger = _challenger(customer, policy, stores)
    for version, strength in ((champion, 1.0), (challenger, 1.2)):
        importances = [{"feature": name, "share": share * strength} for name, share in IMPORTANCES.items()]
        ModelVersion.objects.filter(pk=version.pk).update(importances=importances)
    _nights(customer, champion, nights)
    _drift(customer, champion, challenger)
    _data(customer, stores)
    JobRun.objects.create(
        customer=customer, job="retrain", slot=TODAY.isoformat(), status="running", stage="fitting", percent=40,
        started_at=timezone.now(),
    )  # fmt: skip
    return challenger


def _challenger(customer: Customer, policy: ModelPolicy, stores: int) -> ModelVersion:
    departments = (a_department("Dairy"), a_department("Electronics", worse_pct=3.4, lower=-1.0, upper=7.0))
    comparison = a_comparison(improvement=6.1, departments=departments)
    made = decide(comparison, policy, as_of=TODAY, champion="v1", may_promote=False, why_held="a person reviews it")
    version = apply(made, a_version(customer, trigger="drift_detected", as_of=TODAY), by=None, as_of=TODAY)
    scored = rows(days=30, per_day=2 * stores)
    scored = scored.assign(store_id=[f"s{number % stores}" for number in range(len(scored))])
    scored = scored.assign(unique_id="a", origin=scored["ds"].min(), lead=1, scale=1.0)
    for baseline, column in {"": "prediction", "v1": "champion", "seasonal_naive": "naive"}.items():
        table = backtests.results(scored.assign(prediction=scored[column]), None, policy)
        backtests.store(version, table, kind="holdout", baseline=baseline)
    return version


def _nights(customer: Customer, champion: ModelVersion, nights: int) -> None:
    errors = 1.2 + 0.5 * np.linspace(0, 1, nights) ** 3
    DriftCheck.objects.bulk_create(
        DriftCheck(
            customer=customer, segment="global", as_of=TODAY - dt.timedelta(days=nights - 1 - at), champion=champion,
            verdict="drift" if error > 1.38 else "stable", recent_mae=error, baseline_mae=1.2, recent_naive_mae=2.1,
            drift_pct=(error / 1.2 - 1) * 100, last_day=TODAY - dt.timedelta(days=nights - at), reason="as measured",
        )
        for at, error in enumerate(errors.tolist())
    )  # fmt: skip


def _drift(customer: Customer, champion: ModelVersion, challenger: ModelVersion) -> None:
    DriftIncident.objects.create(
        customer=customer, segment="global", opened_on=TODAY, last_seen_on=TODAY, champion=champion,
        challenger=challenger, retraining=challenger.run, baseline_mae=12.8, recent_mae=18.5, drift_pct=44.5,
        suggested_verdict="real",
    )  # fmt: skip
    an_alert(
        customer, MLAlert.Type.DRIFT_DETECTED, "v2", title="Model drift detected: MAE 45 % worse",
        message="The emergency retrain has produced v2. Approve or reject it within 2 hours.",
        due_at=timezone.now() + dt.timedelta(minutes=90),
    )  # fmt: skip


def _data(customer: Customer, stores: int) -> None:
    yesterday = TODAY - dt.timedelta(days=1)
    made = Store.objects.bulk_create(Store(customer=customer, code=f"s{number}") for number in range(stores))
    FeedDay.objects.bulk_create(FeedDay(store=store, date=yesterday, status="complete") for store in made)
    ForecastRun.objects.create(customer=customer, as_of=TODAY, origin=yesterday, status="published")
