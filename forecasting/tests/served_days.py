"""Days of forecasts that served, with their actuals, made without any model."""

import datetime as dt
from collections.abc import Callable, Sequence

from forecasting.models import FeedDay, Forecast, ForecastRun, Product, Sale, Series, Store
from mlops.models import ModelVersion, RoutingRule
from mlops.tests.ledger import a_version
from shelfops.models import Customer

AS_OF = dt.date(2026, 6, 15)
LAST = AS_OF - dt.timedelta(days=1)
RECENT_DAYS, BASELINE_DAYS = 7, 30
BEGUN = dt.date(2026, 1, 1)
LEVEL = 40.0
BASELINE_MAE, RECENT_MAE = 12.8, 18.5  # the specification's

OfDay = Callable[[dt.date], float]


def day(back: int) -> dt.date:
    """So many days before the last one that is in."""
    return LAST - dt.timedelta(days=back)


def windows(recent: float, baseline: float) -> OfDay:
    """A value for the recent days, another for all days before."""
    return lambda date: recent if date > day(RECENT_DAYS) else baseline


def a_champion(customer: Customer, segment: str = "global") -> ModelVersion:
    """Has served since long before the windows."""
    return a_version(customer, "champion", segment=segment, as_of=BEGUN)


def stock(customer: Customer, *, stores: int = 2, products: int = 40) -> list[tuple[Store, Product]]:
    """Every product in every store; the first half are groceries, the rest electronics. Found again if they exist."""
    shops = [Store.objects.get_or_create(customer=customer, code=f"S{n}")[0] for n in range(stores)]
    goods = [
        Product.objects.get_or_create(
            customer=customer,
            code=f"P{n}",
            defaults={"department": "Grocery" if n < products // 2 else "Electronics", "category": f"C{n}"},
        )[0]
        for n in range(products)
    ]
    keys = [(shop, product) for shop in shops for product in goods]
    Series.objects.bulk_create(
        [Series(store=shop, product=product, first_sold=BEGUN) for shop, product in keys], ignore_conflicts=True
    )
    return keys


def serve(
    version: ModelVersion,
    *,
    off: OfDay | float = BASELINE_MAE,
    naive_off: OfDay | float = 15.0,
    level: OfDay | float = LEVEL,
    days: Sequence[dt.date] = tuple(day(back) for back in range(RECENT_DAYS + BASELINE_DAYS)),
    keys: Sequence[tuple[Store, Product]] | None = None,
    feed: dict[dt.date, str] | None = None,
    **row: object,
) -> None:
    """Forecasts one day ahead of each series and day, off by so many units, above and below in turn, and their sales.

    `feed` says which days are missing or closed: their rows have no actual. `row` changes fields of the forecasts.
    """
    customer, states = version.customer, feed or {}
    run = ForecastRun.objects.create(customer=customer, as_of=days[0], origin=days[-1], cause="t", status="superseded")
    rule = RoutingRule.objects.filter(version=version).latest("pk")
    forecasts, sold = [], []
    for number, (store, product) in enumerate(stock(customer) if keys is None else keys):
        key, side = {"store": store, "product": product}, 1 if number % 2 else -1
        for date in days:
            units = None if date in states else _units(_value(level, date), number, date)
            made = {"run": run, "rule": rule, "version": version, "lead": 1, "department": product.department, **row}
            forecasts.append(
                Forecast(
                    **key,
                    **made,
                    date=date,
                    origin=date - dt.timedelta(days=1),
                    actual=units,
                    prediction=(units or 0) + side * _value(off, date),
                    seasonal_naive=(units or 0) - side * _value(naive_off, date),
                )
            )
            if units:
                sold.append(Sale(**key, date=date, quantity=units, unit_price=2.0))
    Forecast.objects.bulk_create(forecasts, batch_size=5000)
    Sale.objects.bulk_create(sold, batch_size=5000, ignore_conflicts=True)
    cover(customer, days, states)


def cover(customer: Customer, days: Sequence[dt.date], states: dict[dt.date, str] | None = None) -> None:
    """Marks the days of all stores as complete, but for those whose state is given; what is known already stays."""
    FeedDay.objects.bulk_create(
        [
            FeedDay(store=store, date=date, status=(states or {}).get(date, "complete"))
            for store in Store.objects.filter(customer=customer)
            for date in days
        ],
        ignore_conflicts=True,
    )


def _units(level: float, number: int, date: dt.date) -> float:
    """About the level, another number for each series and day; 0 stays 0."""
    return level + (number + 1) * date.toordinal() * 31 % 97 % 9 - 4 if level else 0.0


def _value(of_day: OfDay | float, date: dt.date) -> float:
    return of_day(date) if callable(of_day) else of_day
