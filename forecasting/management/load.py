"""What `load_sales` and `load_plan` share: the file, how strict to be, and the report."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Protocol

from forecasting.loading import Advance, Report
from shelfops.management import base
from shelfops.models import Customer


class Load(Protocol):
    def __call__(
        self, customer: Customer, path: Path, *, strict: bool, rejects_path: Path | None, advance: Advance
    ) -> Report: ...


class LoadCommand(base.Command):
    """Subclasses name the function that loads."""

    load: Load
    adds_up = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="CSV or Parquet")
        parser.add_argument("--strict", action="store_true", help="load nothing unless every row is good")
        parser.add_argument("--rejects", type=Path, metavar="PATH", help="where to write the rows that are not good")

    def run(self, customer: Customer, **options: Any) -> Report:
        with self.progress("Loading") as advance:
            report = type(self).load(
                customer,
                Path(options["file"]),
                strict=options["strict"],
                rejects_path=options["rejects"],
                advance=advance,
            )
        self._tell(report)
        return report

    def show(self, report: Report) -> None:
        added = " (rows of the same one are added up)" if self.adds_up and report["accepted"] > report["keys"] else ""
        self.stdout.write(
            f"rows: {report['accepted']:,} of {report['read']:,} loaded, {report['keys']:,} product-store-days{added}, "
            f"in {report['seconds']} s ({report['rows_per_second']:,} rows/s)"
        )
        if "days" in report:
            self.stdout.write(
                f"days: {report['days']:,}, from {report['first_date']} to {report['last_date']}; "
                f"new stores: {report['new_stores']:,}; new products: {report['new_products']:,}"
            )

    def _tell(self, report: Report) -> None:
        """The things that somebody should look at."""
        if report["rejected"]:
            self.note(f"REJECTED ROWS: {report['rejected']:,}")
            for reason, count in report["rejected_by_reason"].items():
                self.note(f"  {count:,}: {reason}")
            for reject in report["first_rejects"]:
                self.note(f"  line {reject['line']}: {reject['reason']}")
            self.note(f"All of them: {report['rejects_file']}. Correct them in the file and load it again.")
        if report.get("missing_days"):
            some = ", ".join(str(day) for day in report["first_missing_days"])
            more = ", …" if report["missing_days"] > len(report["first_missing_days"]) else ""
            self.note(f"Missing days: {report['missing_days']:,} ({some}{more})")
        if report["ignored_columns"]:
            self.note(f"Ignored columns: {', '.join(report['ignored_columns'])}")
        for warning in report["warnings"]:
            self.note(f"Note: {warning}.")
