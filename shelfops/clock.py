"""The rule for a customer's clock: a fixed today lies in the past."""

import datetime as dt

from shelfops.models import Customer
from shelfops.refusals import Refusal


def check_clock(customer: Customer, date: dt.date | None) -> None:
    """Refuses a today that has not come yet: no sale of it can be known."""
    if date is not None and date > (today := customer.real_today()):
        raise Refusal(f"The clock cannot stand at {date}: it is {today} in {customer.timezone}. Name a day up to then.")


def set_clock(customer: Customer, date: dt.date | None) -> None:
    """Fixes the customer's today, or frees it."""
    check_clock(customer, date)
    customer.clock = date
    customer.save(update_fields=["clock"])
