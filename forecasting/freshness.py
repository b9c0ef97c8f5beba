"""How old a customer's sales and forecasts are, and whether that is late."""

import datetime as dt
from dataclasses import dataclass

from forecasting import sales
from forecasting.models import ForecastRun
from mlops.models import ModelPolicy
from shelfops.models import Customer


@dataclass(frozen=True)
class Freshness:
    """The last complete sales day and the forecasts that are valid now; None where there is none yet."""

    today: dt.date
    last_sales_day: dt.date | None
    forecasts: ForecastRun | None

    @property
    def sales_are_late(self) -> bool:
        """Yesterday's are not in."""
        return self.last_sales_day is None or self.days_without_sales > 0

    @property
    def days_without_sales(self) -> int:
        """Days up to yesterday after the last complete one."""
        return 0 if self.last_sales_day is None else (self.today - self.last_sales_day).days - 1

    @property
    def forecasts_are_late(self) -> bool:
        """No forecasts were made today."""
        return self.forecasts is None or self.forecasts.as_of < self.today

    @property
    def last_day_forecast(self) -> dt.date | None:
        run = self.forecasts
        return run.origin + dt.timedelta(days=run.days) if run else None


def freshness(customer: Customer, policy: ModelPolicy) -> Freshness:
    today = customer.today()
    try:
        last_day = sales.last_complete_day(customer, today, policy)
    except sales.NoSales:
        last_day = None
    return Freshness(today, last_day, ForecastRun.objects.current(customer))
