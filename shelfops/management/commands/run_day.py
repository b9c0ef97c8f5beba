"""Does the whole of one day, in order."""

from argparse import ArgumentParser
from typing import Any

from forecasting.day import run_day
from shelfops import schedules
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer
from shelfops.refusals import Refusal


class Command(Base):
    help = "Run one day: retrain where due, forecast, shadow, score, look for drift. Twice is once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=iso_date, metavar="DATE", help="default: the customer's today")

    def run(self, customer: Customer, **options: Any) -> Report:
        today = customer.today()
        as_of = options["as_of"] or today
        if as_of > today:
            raise Refusal(f"{as_of} has not come yet: today is {today} at {customer}. Name a day up to then.")
        return run_day(customer, as_of, retrain_due=schedules.falls_on(customer, "retrain", as_of))
