"""Fixes a customer's today, or frees it."""

from argparse import ArgumentParser
from typing import Any

from shelfops import clock
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer


class Command(Base):
    help = "Fix the customer's today to a date in the past, as demos and replays do. Without a date: free it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("date", nargs="?", type=iso_date, metavar="DATE")

    def run(self, customer: Customer, **options: Any) -> Report:
        before = customer.today()
        clock.set_clock(customer, options["date"])
        if customer.today() < before:
            self.note(f"The clock went back from {before}. What was recorded for later days stays recorded.")
        return {"customer": customer.slug, "clock": customer.clock, "today": customer.today()}

    def show(self, report: Report) -> None:
        fixed = "fixed there until it is set again" if report["clock"] else "following the real date"
        self.stdout.write(f"Today is {report['today']} at {report['customer']}, {fixed}.")
