"""Versions and comparisons for tests, without any training."""

import datetime as dt
import json
from dataclasses import replace
from itertools import count

import numpy as np
import pandas as pd
from django.utils import timezone

from mlops import promotion, registry
from mlops.comparison import Comparison, Department, Measures
from mlops.models import GLOBAL, ModelRetrainingLog, ModelVersion
from mlops.registry import Trained
from shelfops.models import Customer

_made = count()
DAY = dt.date(2026, 3, 2)


def a_version(
    customer: Customer,
    status: str = "candidate",
    *,
    segment: str = GLOBAL,
    as_of: dt.date = DAY,
    parent: ModelVersion | None = None,
    trigger: str | None = None,
    metadata: dict[str, object] | None = None,
) -> ModelVersion:
    """A registered version with real files and the events that lead to its status; a trigger means a run."""
    made = registry.register(
        customer,
        Trained(
            recipe={"tier": "cold_start", "segment": segment},
            as_of=as_of,
            evaluation=(as_of, as_of),
            training=(as_of, as_of),
            rows=1,
            series=1,
            data_hash="0",
            files={"model.json": json.dumps({"made": next(_made)}).encode()},
        ),
        status=ModelVersion.Status.CANDIDATE,
        reason="trained",
        run=a_run_of(customer, trigger, metadata or {}) if trigger else None,
        parent=parent,
    )
    system = {"by": None, "as_of": as_of}
    if status == "champion":
        return promotion.promote(made, reason="better", **system)
    if status == "archived":
        return promotion.archive(made, reason="worse", **system)
    return made if status == "candidate" else promotion.hold(made, ModelVersion.Status(status), reason="no", **system)


def a_run_of(customer: Customer, trigger: str, metadata: dict[str, object]) -> ModelRetrainingLog:
    """A completed retrain."""
    return ModelRetrainingLog.objects.create(
        customer=customer,
        trigger_type=trigger,
        trigger_metadata=metadata,
        reason="asked for",
        as_of=DAY,
        status=ModelRetrainingLog.Status.COMPLETED,
        completed_at=timezone.now(),
    )


def rows(
    *,
    better: float = 10.0,
    days: int = 30,
    per_day: int = 40,
    actual: float = 10.0,
    off: float = 2.0,
    champion: bool = True,
    seed: int = 3,
) -> pd.DataFrame:
    """Held-out rows: actuals of about `actual`, the champion off by about `off`, the candidate `better` % less so.

    Errors alternate in sign, so that there is hardly any bias; seasonal naive is off by twice as much.
    """
    rng = np.random.default_rng(seed)
    n = days * per_day
    error = off * rng.uniform(0.5, 1.5, n) * np.where(np.arange(n) % 2, 1, -1)
    y = np.full(n, actual)
    table = pd.DataFrame(
        {
            "ds": pd.Timestamp(DAY) + pd.to_timedelta(np.arange(n) // per_day, "D"),
            "y": y,
            "prediction": y + error * (1 - better / 100),
            "naive": y + 2 * error,
            "department": np.where(np.arange(n) // 2 % 2, "Grocery", "Dairy"),
            "band": "fast",
            "lower": np.where(np.arange(n) % 10 == 0, y + 1, y - 1),
            "upper": y + 2,
        }
    )
    if champion:
        table = table.assign(champion=y + error, champion_lower=table["lower"], champion_upper=table["upper"])
    return table


def a_comparison(*, improvement: float | None = 10.0, **changes: object) -> Comparison:
    """One that passes every guard; `changes` replace fields, those of the candidate by candidate_<name>."""
    champion = Measures(mae=2.0, rmse=3.0, mape=0.2, bias=0.02, coverage={"fast": 0.90, "slow": 0.91})
    candidate = replace(champion, mae=2.0 * (1 - (improvement or 0) / 100))
    own = {name.removeprefix("candidate_"): changes.pop(name) for name in [*changes] if name.startswith("candidate_")}
    plain = Comparison(
        n=1000,
        days=30,
        first_day=DAY,
        last_day=DAY + dt.timedelta(days=29),
        units=5000.0,
        positive_share=0.8,
        level=0.9,
        candidate=replace(candidate, **own),
        champion=champion,
        naive=Measures(mae=4.0, rmse=6.0, mape=0.4, bias=0.0),
        improvement_pct=improvement,
        lower=0.5,
        upper=15.0,
        departments=(a_department(),),
    )
    return replace(plain, **changes)


def a_department(name: str = "Dairy", **changes: object) -> Department:
    plain = Department(name, 500, 2500.0, 1.8, 2.0, worse_pct=-10.0, lower=-12.0, upper=-8.0)
    return replace(plain, **changes)
