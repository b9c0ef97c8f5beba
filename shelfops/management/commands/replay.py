"""What would ShelfOps have done on my history?"""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from forecasting.replay import decisions, replay
from shelfops import sandbox, schedules
from shelfops.clock import check_clock
from shelfops.management.base import Command as Base
from shelfops.management.base import Refused, Report, iso_date
from shelfops.models import Customer


class Command(Base):
    help = "Run a range of days one after the other, moving the customer's clock along, and list what was decided."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="first", type=iso_date, metavar="DATE", required=True)
        parser.add_argument("--to", dest="last", type=iso_date, metavar="DATE", required=True)
        parser.add_argument(
            "--sandbox", action="store_true", help="work on a throw-away copy: nothing of the customer changes"
        )

    def run(self, customer: Customer, **options: Any) -> Report:
        first, last = options["first"], options["last"]
        check_clock(customer, last)
        if options["sandbox"]:
            return self._in_a_sandbox(customer, options)
        with self.progress("Replaying days") as advance:
            days = replay(
                customer, first, last, retrain_due=partial(schedules.falls_on, customer, "retrain"), advance=advance
            )
        return {
            "customer": customer.slug,
            "from": first,
            "to": last,
            "clock": customer.clock,
            "days": [{"as_of": day["as_of"], "status": day["status"], "reason": day["reason"]} for day in days],
            "decisions": [asdict(decided) for decided in decisions(customer, first, last)],
        }

    def _in_a_sandbox(self, customer: Customer, options: dict[str, Any]) -> Report:
        sandbox.remove_leftovers()
        with sandbox.sandbox(customer) as environment:
            days = ("--from", str(options["first"]), "--to", str(options["last"]))
            done = sandbox.command(environment, "replay", "--customer", customer.slug, *days, "--json")
        if done.returncode:
            raise Refused("The replay in the sandbox was refused; the reason stands above.", returncode=done.returncode)
        return json.loads(done.stdout) | {"clock": customer.clock}

    def show(self, report: Report) -> None:
        title = f"What was decided from {report['from']} to {report['to']}"
        Console(width=None if sys.stdout.isatty() else 118).print(decisions_table(report["decisions"], title))
        idle = [day for day in report["days"] if day["status"] != "completed"]
        self.stdout.write(f"{len(report['days'])} days, {len(idle)} of them without forecasts.")
        for day in idle[:3]:
            self.stdout.write(f"  {day['as_of']}: {day['reason']}")
        if report["clock"]:
            fixed = "until set_clock moves it; without a date it frees it"
            self.stdout.write(f"Today is {report['clock']} at {report['customer']} {fixed}.")


def decisions_table(rows: list[Report], title: str) -> Table:
    """Everything that was decided, as people read it."""
    table = Table(title=title)
    for name in ("Day", "What", "Version", "By", "Why"):
        table.add_column(name)
    for row in rows:
        table.add_row(str(row["day"]), row["what"], row["version"], row["by"], row["reason"])
    return table
