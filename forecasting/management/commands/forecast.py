"""Forecasts now, in this process, by the versions that serve, and writes what runs beside them in shadow."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from forecasting.nightly import forecast_here
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer


class Command(Base):
    help = "Forecast: the next days of every active series by the versions that serve, then the rows in shadow."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=iso_date, metavar="DATE", help="default: the customer's today")
        parser.add_argument("--days", type=int, help="days ahead; default: the policy's horizon")

    def run(self, customer: Customer, **options: Any) -> Report:
        with self.progress("Forecasting") as watch:
            run = forecast_here(customer, as_of=options["as_of"], days=options["days"], watch=watch)
        return run.result

    def show(self, report: Report) -> None:
        for line in lines(report):
            self.stdout.write(line)


def lines(report: Report) -> Iterator[str]:
    """What was forecast and by whose side, as people read it."""
    yield f"{report['rows']} forecasts after {report['origin']}, as of {report['as_of']}."
    yield f"Cause: {report['cause']}"
    for version, rows in report["shadow_rows"].items():
        yield f"In shadow: {version}, {rows} rows"
    yield from filter(None, (report["notes"], *report["shadow_notes"]))
