"""Forecasts one day ahead for tests, as the nightly job leaves them, without any training."""

import datetime as dt

import numpy as np

from forecasting.models import Forecast, ForecastRun, Series
from mlops.models import ModelVersion, RoutingRule, ShadowPrediction

BANDS = np.array(["fast", "medium", "slow"])


def serve(
    version: ModelVersion, *days: dt.date, as_of: dt.date | None = None, status: str = "superseded", seed: int = 5
) -> list[Forecast]:
    """What the version said of each of these days, on the day before, of every series of its customer.

    With `as_of` it was made up for in that night's run.
    """
    rng, made = np.random.default_rng(seed), []
    rule = RoutingRule.objects.get_or_create(
        customer=version.customer,
        segment=version.segment,
        version=version,
        defaults={"valid_from": version.as_of, "valid_to": version.as_of},
    )[0]
    for day in days:
        origin = day - dt.timedelta(days=1)
        night = as_of or day
        run = ForecastRun.objects.create(
            customer=version.customer, as_of=night, origin=night - dt.timedelta(days=1), status=status
        )
        for place, series in enumerate(_series(version)):
            said = _said(rng)
            made.append(
                Forecast(
                    run=run, store=series.store, product=series.product, version=version, rule=rule, origin=origin,
                    date=day, lead=1, department=series.product.department, band=BANDS[place % 3],
                    replayed=night > day, **said,
                )
            )  # fmt: skip
    return Forecast.objects.bulk_create(made)


def shadow(version: ModelVersion, champion: ModelVersion, *days: dt.date, seed: int = 6) -> list[ShadowPrediction]:
    """What both said of each of these days, on the day before, of every series of the customer."""
    rng, made = np.random.default_rng(seed), []
    for day in days:
        for place, series in enumerate(_series(version)):
            said = _said(rng)
            made.append(
                ShadowPrediction(
                    customer=version.customer, version=version, champion=champion, store_id=series.store.code,
                    product_id=series.product.code, forecast_date=day, champion_prediction=rng.gamma(2.0, 2.0),
                    challenger_prediction=said["prediction"], challenger_lower=said["lower"],
                    challenger_upper=said["upper"], seasonal_naive=said["seasonal_naive"],
                    department=series.product.department, band=BANDS[place % 3],
                )
            )  # fmt: skip
    return ShadowPrediction.objects.bulk_create(made)


def _series(version: ModelVersion) -> list[Series]:
    found = Series.objects.filter(store__customer=version.customer).select_related("store", "product")
    return list(found.order_by("store_id", "product_id"))


def _said(rng: np.random.Generator) -> dict[str, float]:
    prediction = rng.gamma(2.0, 2.0)
    return {
        "prediction": prediction,
        "lower": prediction / 2,
        "upper": prediction * 1.5,
        "seasonal_naive": float(rng.poisson(4)),
    }
