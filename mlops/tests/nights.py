"""Nights in shadow for tests: rows as the nightly job and the scoring leave them, without either."""

import datetime as dt

from mlops import shadow
from mlops.models import ModelVersion, ShadowPrediction, ShadowTest
from mlops.tests import ledger

COLUMNS = {
    "actual_demand": "y",
    "champion_prediction": "champion",
    "challenger_prediction": "prediction",
    "champion_lower": "champion_lower",
    "champion_upper": "champion_upper",
    "challenger_lower": "lower",
    "challenger_upper": "upper",
    "seasonal_naive": "naive",
    "department": "department",
    "band": "band",
}


def shadow_nights(
    test: ShadowTest,
    days: int,
    *,
    first: dt.date | None = None,
    champion: ModelVersion | None = None,
    known: bool = True,
    **options: object,
) -> list[ShadowPrediction]:
    """Rows of so many nights from `first`, or from the test's start; scored where `known`. Options as `ledger.rows`."""
    first = first or test.started_on
    if champion is None:
        champions = ModelVersion.objects.of(test.customer, test.version.model_name).champions()
        champion = champions.filter(segment__in=[test.version.segment, "global"]).first()
    table = ledger.rows(days=days, **options)
    made = []
    for number, row in enumerate(table.itertuples()):
        values = {name: getattr(row, column) for name, column in COLUMNS.items()}
        values["actual_demand"] = values["actual_demand"] if known else None
        day = first + (row.ds.date() - ledger.DAY)
        key = {"store_id": "s1", "product_id": f"p{number}", "forecast_date": day}
        made.append(ShadowPrediction(customer=test.customer, version=test.version, champion=champion, **key, **values))
    return ShadowPrediction.objects.bulk_create(made, batch_size=500)


def day(number: int) -> dt.date:
    """So many days after the ledger's first."""
    return ledger.DAY + dt.timedelta(days=number)


def judged(test: ShadowTest, days: int = 14, **options: object) -> ShadowTest:
    """The test after so many nights, which were scored on the morning after the last."""
    shadow_nights(test, days, **{"per_day": 6, **options})  # type: ignore[arg-type]  # options of any kind
    [done] = shadow.evaluate_due(test.customer, test.started_on + dt.timedelta(days=days))
    return done
