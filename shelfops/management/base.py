"""What all commands share: the customer, one JSON object or text on stdout, one clear line when refused."""

import datetime as dt
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError, ProgrammingError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from shelfops.models import Customer
from shelfops.refusals import Refusal

Report = dict[str, Any]
Advance = Callable[[int, int], None]


def iso_date(text: str) -> dt.date:
    """The type of all arguments that are days."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"“{text}” is not a day. Write it as 2026-03-01.") from None


class Refused(CommandError):
    """Ends a command with one line on stderr: exit code 1, or 2 for wrong usage."""


class Command(BaseCommand):
    """Subclasses write `run`, which returns the report, and `show`, which prints it for people."""

    needs_customer = True
    refusals: tuple[type[Exception], ...] = (Refusal, PermissionDenied, ValidationError)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        parser: Any = super().create_parser(prog_name, subcommand, **kwargs)
        if self.needs_customer:
            parser.add_argument("--customer", metavar="SLUG", help="may be left out where there is only one")
        parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's own arguments."""

    def run(self, customer: Customer, **options: Any) -> Report:
        """Does it and returns what is to be reported; a command without a customer gets None."""
        raise NotImplementedError

    def show(self, report: Report) -> None:
        """Prints the report for people."""
        for name, value in report.items():
            self.stdout.write(f"{name.replace('_', ' ')}: {value}")

    def note(self, text: str) -> None:
        """Tells the person something that is not part of the report."""
        self.stderr.write(text, self.style.NOTICE)

    @contextmanager
    def progress(self, label: str, *, takes_minutes: bool = False) -> Iterator[Advance]:
        """A bar on a terminal, elsewhere a line where it takes minutes; call what it yields with (done, total)."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = self.verbosity > 0 and sys.stderr.isatty()
        if takes_minutes and self.verbosity > 0 and not shown:
            self.note(f"{label} takes some minutes.")
        with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)

    def handle(self, *_args: Any, **options: Any) -> None:
        self.verbosity: int = options["verbosity"]
        as_json = options.pop("json")
        try:
            report = self.run(**self._with_customer(options))
        except self.refusals as error:
            raise Refused(_in_words(error)) from error
        except (OperationalError, ProgrammingError) as error:
            raise Refused(_database_advice(error)) from error
        if as_json:
            self.stdout.write(json.dumps(report, cls=DjangoJSONEncoder, allow_nan=False))
        else:
            self.show(report)

    def _with_customer(self, options: Report) -> Report:
        if not self.needs_customer:
            return {"customer": None, **options}
        return {**options, "customer": find_customer(options["customer"])}


def find_customer(slug: str | None) -> Customer:
    """The customer of that slug; without a slug the only one that exists."""
    known = {customer.slug: customer for customer in Customer.objects.order_by("slug")}
    if not known:
        raise Refusal(
            "There is no customer yet. Create one: python manage.py create_customer SLUG --name NAME --timezone ZONE"
        )
    if slug is None and len(known) > 1:
        raise Refused(f"Name the customer with --customer SLUG, one of: {', '.join(known)}.", returncode=2)
    if slug is not None and slug not in known:
        raise Refusal(f"There is no customer “{slug}”. Known: {', '.join(known)}.")
    return known[slug] if slug is not None else next(iter(known.values()))


def _in_words(error: Exception) -> str:
    messages = error.messages if isinstance(error, ValidationError) else [str(error)]
    return " ".join(" ".join(messages).split())


def _database_advice(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    first_line = text.splitlines()[0]
    if any(sign in first_line for sign in ("no such table", "no such column", "does not exist")):
        return f"The database lacks a table or column ({first_line}). Run: python manage.py migrate"
    if "locked" in first_line:
        return "The database is busy with another writer. Run the same command again."
    return f"The database refused: {first_line}"
