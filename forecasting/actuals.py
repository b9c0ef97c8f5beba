"""What was sold, beside what was expected: which days are due, and their actuals in forecasts and shadow rows."""

import datetime as dt
from functools import reduce
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet

from forecasting.models import FeedDay, Forecast
from mlops.models import BacktestResult, RoutingRule, ShadowPrediction, ShadowTest
from mlops.room import BESIDE_THE_CHAMPION
from shelfops.models import Customer

# A covered day without a row sold nothing, and what came back is no demand; a day that is not covered is unknown.
SOLD = "CASE WHEN day.status = 'complete' THEN CASE WHEN sold.quantity > 0 THEN sold.quantity ELSE 0 END END"
FORECASTS = f"""
UPDATE forecasts SET actual = found.actual
FROM (
    SELECT made.id, {SOLD} AS actual
    FROM forecasts made
    JOIN forecast_runs run ON run.id = made.run_id AND run.customer_id = %(customer)s AND run.status <> 'writing'
    LEFT JOIN feed_days day ON day.store_id = made.store_id AND day.date = made.date
    LEFT JOIN sales sold
        ON sold.date = made.date AND sold.store_id = made.store_id AND sold.product_id = made.product_id
    WHERE made.date = %(day)s AND made.lead = 1
) found
WHERE forecasts.id = found.id AND forecasts.date = %(day)s AND forecasts.lead = 1
    AND (forecasts.actual <> found.actual OR (forecasts.actual IS NULL) <> (found.actual IS NULL))
"""  # noqa: S608  # no value from outside
SHADOW = f"""
UPDATE shadow_predictions SET actual_demand = found.actual
FROM (
    SELECT made.id, {SOLD} AS actual
    FROM shadow_predictions made
    JOIN stores store ON store.customer_id = made.customer_id AND store.code = made.store_id
    JOIN products product ON product.customer_id = made.customer_id AND product.code = made.product_id
    LEFT JOIN feed_days day ON day.store_id = store.id AND day.date = made.forecast_date
    LEFT JOIN sales sold
        ON sold.date = made.forecast_date AND sold.store_id = store.id AND sold.product_id = product.id
    WHERE made.customer_id = %(customer)s AND made.forecast_date = %(day)s
) found
WHERE shadow_predictions.id = found.id
    AND shadow_predictions.customer_id = %(customer)s AND shadow_predictions.forecast_date = %(day)s
    AND (shadow_predictions.actual_demand <> found.actual
        OR (shadow_predictions.actual_demand IS NULL) <> (found.actual IS NULL))
"""  # noqa: S608  # no value from outside


def due(customer: Customer, *, as_of: dt.date, until: dt.date) -> list[dt.date]:
    """The days up to `until` that have forecasts and are new, or whose sales or coverage have changed since.

    The feed remembers the latter for each store-day, however long ago it was, so that no window has to be searched.
    """
    first = RoutingRule.objects.of(customer).aggregate(day=Min("valid_from"))["day"]
    if first is None:  # nobody has ever served
        return []
    # A day that was scored may be incomplete by now, because somebody has marked its stores as missing.
    scored = BacktestResult.objects.filter(customer=customer, kind=BacktestResult.Kind.DAILY, day__lt=as_of)
    last = max(until, scored.aggregate(day=Max("day"))["day"] or until)
    days = FeedDay.objects.filter(store__customer=customer, date__range=(first, last)).order_by()
    served = Forecast.objects.one_day_ahead(customer).filter(date=OuterRef("date"), store=OuterRef("store"))
    shadowed = ShadowPrediction.objects.filter(customer=customer, forecast_date=OuterRef("date"))
    changed = days.filter(Exists(served) | Exists(shadowed), scored=False)
    return sorted({*changed.values_list("date", flat=True).distinct(), *_caught_up(customer, days)})


def _caught_up(customer: Customer, days: "QuerySet[FeedDay]") -> set[dt.date]:
    """Days for which a version in shadow made its forecasts after they had been scored."""
    tests = ShadowTest.objects.filter(customer=customer, version__status__in=BESIDE_THE_CHAMPION)
    began = dict(tests.values_list("version_id", "started_on"))
    if not began:
        return set()
    covered = set(days.filter(status=FeedDay.Status.COMPLETE).values_list("date", flat=True).distinct())
    scored = BacktestResult.objects.filter(
        version__in=began, kind=BacktestResult.Kind.DAILY, baseline="", scope_type=BacktestResult.Scope.ALL
    )
    wanted = {(version, day) for version, first in began.items() for day in covered if day >= first}
    wanted -= set(scored.values_list("version_id", "day"))
    if not wanted:
        return set()
    any_of_them = reduce(or_, (Q(version=version, forecast_date=day) for version, day in sorted(wanted)))
    return set(ShadowPrediction.objects.filter(any_of_them).values_list("forecast_date", flat=True).distinct())


def fill(customer: Customer, day: dt.date) -> int:
    """Writes the day's actuals where they differ from what stands there, and says in how many rows.

    actual = max(net quantity, 0); 0 where a covered store-day has no row; NULL where it is missing or closed.
    """
    values: dict[str, Any] = {"customer": _key(customer), "day": day}
    changed = 0
    with connection.cursor() as cursor:
        for statement in (FORECASTS, SHADOW):
            cursor.execute(statement, values)
            changed += cursor.rowcount
    return changed


def put_scored(customer: Customer, day: dt.date) -> None:
    """Remembers that the day's sales are as they were compared; whoever changes them forgets it again."""
    FeedDay.objects.filter(store__customer=customer, date=day, scored=False).update(scored=True)


def _key(customer: Customer) -> object:
    """The customer's key as the database stores it: without hyphens where it knows no UUID."""
    return Customer._meta.pk.get_db_prep_value(customer.pk, connection)
