"""Does the whole of one day, in order."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.utils.timesince import timesince

from forecasting.day import run_day
from forecasting.management.commands import detect_drift, forecast, score
from forecasting.prepared import prepare
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
        report = run_day(customer, as_of, retrain_due=schedules.falls_on(customer, "retrain", as_of))
        prepare(customer)
        return report

    def show(self, report: Report) -> None:
        if done := report["done_before"]:
            ago = timesince(done, depth=1)
            self.stdout.write(f"{report['as_of']} was done already, {ago} ago, and is not done again. Its results:")
        for title, lines in _parts(report).items():
            self.stdout.write(f"{title}:")
            for line in lines:
                self.stdout.write(f"  {line}")
        self.stdout.write(f"{report['as_of']}: {report['status']}. {report['reason']}".rstrip())


def _parts(report: Report) -> dict[str, Iterator[str]]:
    """What was done, in its order; a day that was skipped has neither forecasts nor what follows."""
    parts = {"Retrain": _retrained(report["retrain"])} if report["retrain"] else {}
    if "forecast" in report:
        parts["Forecast"] = forecast.lines(report["forecast"])
        parts["Score"] = score.lines(report["score"])
        parts["Drift"] = detect_drift.lines(report["drift"])
    return parts


def _retrained(report: Report) -> Iterator[str]:
    if "refused" in report:
        yield f"not done: {report['refused']}"
    for one in report.get("versions", []):
        yield f"{one['version']} ({one['status']})"
    if report.get("decision"):
        yield report["decision"]
