"""What tests of nights start from: a small shop that is loaded, and versions that are fitted in a moment."""

import datetime as dt
from pathlib import Path

import pandas as pd

from forecasting import sales, stored
from forecasting.loading import load_sales
from forecasting.models import Forecast
from forecasting.tests.synthetic import LAST, shop
from forecasting.train import Recipe, fit
from mlops import promotion, registry
from mlops.intervals import ANY, Widths
from mlops.models import GLOBAL, ModelVersion
from shelfops.models import Customer

DAY = dt.timedelta(days=1)
AS_OF = LAST - 13 * DAY
ROW = [
    "store__code", "product__code", "date", "lead", "origin", "version__version", "rule__segment", "prediction",
    "lower", "upper", "seasonal_naive", "department", "band", "actual",
]  # fmt: skip


def load(customer: Customer, folder: Path, rows: pd.DataFrame | None = None) -> None:
    """Loads these rows, or two stores with four products each up to LAST."""
    rows = shop(stores=2, products=4) if rows is None else rows
    rows.to_parquet(folder / "sales.parquet", index=False)
    load_sales(customer, folder / "sales.parquet")


def a_candidate(
    customer: Customer, as_of: dt.date = AS_OF, *, segment: str = GLOBAL, tier: str = "cold_start", rounds: int = 5
) -> ModelVersion:
    """A version fitted on the four weeks before the day; more rounds make it forecast otherwise."""
    last = as_of - DAY
    params = {"num_boost_round": rounds, "max_leaves": 7, "learning_rate": 0.3, "min_child_weight": 1}
    recipe = {"tier": tier, "params": params, "window_days": 28, "segment": segment}
    model = fit(sales.panel(customer, last_day=last), Recipe(**recipe), first=last - 27 * DAY, last=last)
    model = model.with_widths(Widths(0.9, {"fast": {"1": 2.0}, ANY: {"1": 1.0, "14": 1.5}}))
    trained = registry.Trained(
        recipe=recipe,
        as_of=as_of,
        evaluation=(last - 27 * DAY, last),
        training=(last - 27 * DAY, last),
        rows=model.rows,
        series=8,
        data_hash="",
        files={stored.SERVING + name: data for name, data in model.files().items()},
    )
    return registry.register(customer, trained, status=ModelVersion.Status.CANDIDATE, reason="fitted for a test")


def a_champion(customer: Customer, as_of: dt.date = AS_OF, **how: object) -> ModelVersion:
    """One that serves its segment from that day on."""
    version = a_candidate(customer, as_of, **how)
    return promotion.promote(version, by=None, reason="it is better", as_of=as_of)


def a_challenger(customer: Customer, as_of: dt.date = AS_OF, **how: object) -> ModelVersion:
    """One that waits for its time in shadow."""
    return promotion.hold(a_candidate(customer, as_of, **how), by=None, reason="not enough better", as_of=as_of)


def rows_of(**which: object) -> list[tuple]:
    """Forecasts by what they say, in order; keys and the moment they were written left out."""
    found = Forecast.objects.filter(**which).exclude(run__status="writing")
    return list(found.order_by("date", "store__code", "product__code", "lead", "run").values_list(*ROW))
