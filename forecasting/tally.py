"""The errors of one day added up in the database: what `mlops.metrics.sums` makes of a frame, for many rows at once."""

import datetime as dt
from typing import Any

import pandas as pd
from django.db import connection
from django.db.models import QuerySet

from forecasting.models import Forecast
from mlops.models import ShadowPrediction
from shelfops.models import Customer

KEYS = ["version", "store_id", "department", "band"]
FORECASTS = [
    "version_id", "store__code", "department", "band", "actual", "prediction", "lower", "upper", "seasonal_naive",
]  # fmt: skip
SHADOW = [
    "version_id", "store_id", "department", "band", "actual_demand", "challenger_prediction", "challenger_lower",
    "challenger_upper", "seasonal_naive",
]  # fmt: skip

# The names are those of `mlops.metrics.sums`; {said} is the forecast.
ERRORS = {
    "n": "count({said})",
    "y": "sum(y)",
    "absolute": "sum(abs({said} - y))",
    "error": "sum({said} - y)",
    "squared": "sum(({said} - y) * ({said} - y))",
    "relative": "sum(CASE WHEN y > 0 THEN abs({said} - y) / y ELSE 0 END)",
    "positive": "sum(CASE WHEN y > 0 THEN 1 ELSE 0 END)",
}
INTERVALS = {
    "known": "count(upper - lower)",
    "above": "sum(CASE WHEN y > upper AND lower IS NOT NULL THEN 1 ELSE 0 END)",
    "below": "sum(CASE WHEN y < lower AND upper IS NOT NULL THEN 1 ELSE 0 END)",
    "breadth": "sum(upper - lower)",
}
NAIVE = "naive_"


def served(customer: Customer, day: dt.date) -> pd.DataFrame:
    """Of what served on the day, by version, store, department and band: sums of errors, and NAIVE + the same of
    seasonal naive where there is one."""
    rows = Forecast.objects.served(customer, [day]).filter(actual__isnull=False)
    return _added_up(rows.order_by("store_id", "product_id").values_list(*FORECASTS))


def shadowed(customer: Customer, day: dt.date) -> pd.DataFrame:
    """The same of what the versions in shadow said of the day."""
    rows = ShadowPrediction.objects.filter(customer=customer, forecast_date=day, actual_demand__isnull=False)
    return _added_up(rows.order_by("version_id", "store_id", "product_id").values_list(*SHADOW))


def of_naive(sums: pd.DataFrame) -> pd.DataFrame:
    """Seasonal naive's sums in place of the version's own, where there are any."""
    known = sums[sums[f"{NAIVE}n"] > 0].drop(columns=[*ERRORS, *INTERVALS])
    return known.rename(columns={NAIVE + name: name for name in ERRORS})


def of_version(sums: pd.DataFrame) -> pd.DataFrame:
    """The version's own sums alone."""
    return sums.drop(columns=[NAIVE + name for name in ERRORS])


def _added_up(rows: "QuerySet[Any, Any]") -> pd.DataFrame:
    """In the order of the keys, so that the last digit does not depend on where the database keeps the rows."""
    own = {name: term.format(said="prediction") for name, term in ERRORS.items()} | INTERVALS
    naive = {
        NAIVE + name: f"{term.format(said='naive')} FILTER (WHERE naive IS NOT NULL)" for name, term in ERRORS.items()
    }
    terms, keys = own | naive, ", ".join(KEYS)
    sql, params = rows.query.sql_with_params()
    statement = f"""
        WITH said ({keys}, y, prediction, lower, upper, naive) AS ({sql})
        SELECT {keys}, {", ".join(terms.values())} FROM said GROUP BY {keys} ORDER BY {keys}
    """  # noqa: S608  # no value from outside
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        table = pd.DataFrame.from_records(cursor.fetchall(), columns=[*KEYS, *terms])
    return table.astype(dict.fromkeys(terms, "float64")).fillna(dict.fromkeys(terms, 0.0))
