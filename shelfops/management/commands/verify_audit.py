"""Checks a customer's ledger against its files and itself."""

from dataclasses import asdict
from typing import Any

from forecasting import forecast_audit
from mlops.audit import audit
from shelfops.management.base import Command as Base
from shelfops.management.base import Refused, Report
from shelfops.models import Customer


class Command(Base):
    help = "Check the ledger against files and itself. Exit code 1 and each fault by name where something is wrong."

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if self.faults:
            raise Refused(f"The audit found {self.faults} fault{'s' if self.faults > 1 else ''}.")

    def run(self, customer: Customer, **_options: Any) -> Report:
        found = audit(customer) + forecast_audit.audit(customer)
        self.faults = len(found.faults)
        return {"customer": customer.slug, **found.checked, "faults": [asdict(fault) for fault in found.faults]}

    def show(self, report: Report) -> None:
        for fault in report["faults"]:
            self.stdout.write(f"{fault['name']}: {fault['subject']}. {fault['message']} {fault['advice']}")
        counts = [f"{count} {name}" for name, count in report.items() if name not in ("customer", "faults")]
        self.stdout.write(f"Checked at {report['customer']}: {', '.join(counts)}. Faults: {len(report['faults'])}.")
