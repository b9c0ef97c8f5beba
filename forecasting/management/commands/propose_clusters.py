"""Proposes clusters of stores that sell alike; writes nothing."""

from argparse import ArgumentParser
from typing import Any

from forecasting.clusters import LEAST_K, MOST_K, propose
from shelfops.management.base import Command as Base
from shelfops.management.base import Report
from shelfops.models import Customer


class Command(Base):
    help = "Propose clusters of stores by how they sell. A person accepts them on the page /segments/clusters."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--k", type=int, choices=range(LEAST_K, MOST_K + 1), help="default: the best silhouette")

    def run(self, customer: Customer, **options: Any) -> Report:
        return propose(customer, k=options["k"]).as_json()

    def show(self, report: Report) -> None:
        self.stdout.write(f"{report['k']} clusters, silhouette {report['silhouette']:.2f}. Nothing was written.")
        for one in report["clusters"]:
            traits = ", ".join(trait["words"] for trait in one["traits"])
            self.stdout.write(f"{one['name']} ({len(one['stores'])}): {traits}")
            self.stdout.write(f"  {', '.join(one['stores'])}")
        if report["left_out"]:
            self.stdout.write(f"Without sales in the window: {', '.join(report['left_out'])}")
