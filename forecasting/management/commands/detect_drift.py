"""Looks for drift now, in this process, answers it, and prints the verdicts."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from forecasting.drift import detect_here
from mlops.models import DriftCheck
from mlops.routing import in_words
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer


class Command(Base):
    help = "Compare recent errors with those of the month before; drift trains a challenger and raises an alert."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=iso_date, metavar="DATE", help="default: the customer's today")

    def run(self, customer: Customer, **options: Any) -> Report:
        return detect_here(customer, options["as_of"]).result

    def show(self, report: Report) -> None:
        for line in lines(report):
            self.stdout.write(line)


def lines(report: Report) -> Iterator[str]:
    """The verdict on each segment and what came of it, as people read it."""
    if not report["segments"]:
        yield "There is no champion yet, so there is nothing to check. Retrain first."
    for one in report["segments"]:
        verdict = DriftCheck.Verdict(one["verdict"]).label
        yield f"{in_words(one['segment'])} ({one['champion']}): {verdict}. {one['reason']}"
        if one["incident"]:
            yield f"  {_answer(one)}"


def _answer(one: Report) -> str:
    """What came of the drift so far."""
    found = f"Incident {one['incident']} is {one['incident_status']}"
    if one["new_version"]:
        return f"{found}; the emergency retrain produced {one['new_version']}, which awaits or had its review."
    return f"{found}; there is no new version, and the alert says why."
