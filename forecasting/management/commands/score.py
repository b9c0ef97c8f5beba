"""Scores the days that are in, now, in this process, and prints what was found."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from forecasting.scoring import score_here
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer

SHOWN_DAYS = 14


class Command(Base):
    help = "Score what is in: actuals, errors by day, shadow tests that have their days, degradation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--as-of", type=iso_date, metavar="DATE", help="default: the customer's today")

    def run(self, customer: Customer, **options: Any) -> Report:
        return score_here(customer, options["as_of"]).result

    def show(self, report: Report) -> None:
        self.stdout.write(f"As of {report['as_of']}; the sales are in up to {report['last_complete_day']}.")
        for line in lines(report):
            self.stdout.write(line)


def lines(report: Report) -> Iterator[str]:
    """What was scored and found, as people read it."""
    days = report["days"]
    if not days:
        yield "No day to score: each with forecasts has been scored, and no sales of it have changed."
    yield from map(_line, days[-SHOWN_DAYS:])
    if len(days) > SHOWN_DAYS:
        yield f"{len(days) - SHOWN_DAYS} earlier days were scored too; --json names them."
    for name, title in (("shadow_tests_completed", "Shadow test completed"), ("alerts", "Alert")):
        yield from (f"{title}: {text}" for text in report[name])
    if report["degraded"]:
        yield f"Worse than in the hold-out: {', '.join(report['degraded'])}"


def _line(day: Report) -> str:
    """Such as: 2026-03-02: 120 forecasts, MAE 1.20 (seasonal naive 1.50), WAPE 30.0 % (37.5 %)."""
    excluded = "".join(f"; left out {count}: {why}" for why, count in day["excluded"].items())
    if not day["rows"]:
        return f"{day['day']}: nothing could be scored{excluded}"
    return (
        f"{day['day']}: {day['rows']} forecasts, "
        f"MAE {_figure(day['mae'])} (seasonal naive {_figure(day['seasonal_naive_mae'])}), "
        f"WAPE {_percent(day['wape'])} ({_percent(day['seasonal_naive_wape'])}){excluded}"
    )


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}".replace("%", " %")
