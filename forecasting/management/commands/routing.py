"""Prints which versions serve on a day, and of one product in one store which did, why and who approved it."""

import dataclasses
import datetime as dt
from argparse import ArgumentParser
from typing import Any

from forecasting.night import rules_on
from forecasting.serving import approver_of, reason_of, who_serves
from mlops.models import RoutingRule
from mlops.routing import in_words
from shelfops.management.base import Command as Base
from shelfops.management.base import Refused, Report, iso_date
from shelfops.models import Customer


class Command(Base):
    help = "Routing: which version serves each segment, or one product in one store, on any day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--store", metavar="ID", help="with --product: of this store")
        parser.add_argument("--product", metavar="ID", help="with --store: of this product")
        parser.add_argument("--at", type=iso_date, metavar="DATE", help="default: the customer's today")

    def run(self, customer: Customer, **options: Any) -> Report:
        at: dt.date = options["at"] or customer.today()
        store, product = options["store"], options["product"]
        if bool(store) != bool(product):
            raise Refused("Give --store and --product together, or neither.", returncode=2)
        if store:
            return dataclasses.asdict(who_serves(customer, store, product, at))
        return {"at": at, "rules": [_rule(rule) for rule in rules_on(customer, at)]}

    def show(self, report: Report) -> None:
        if "rules" in report:
            for rule in report["rules"]:
                self.stdout.write(rule["in_words"])
            return
        verb = "served" if report["served"] else "serves, by the rules of that day,"
        self.stdout.write(
            f"{report['version']} {verb} {report['product_id']} in {report['store_id']} on {report['at']}."
        )
        self.stdout.write(f"By the rule for {in_words(report['segment'])}, from {report['since']} on.")
        self.stdout.write(f"Why: {report['why']}")
        self.stdout.write(f"Approved by {report['approved_by']}.")


def _rule(rule: RoutingRule) -> Report:
    return {
        "segment": rule.segment,
        "version": rule.version.version,
        "since": rule.valid_from,
        "until": rule.valid_to,
        "approved_by": approver_of(rule),
        "why": rule.reason,
        "in_words": reason_of(rule),
    }
