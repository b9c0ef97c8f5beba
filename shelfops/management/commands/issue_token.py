"""Gives a person a token for the API."""

from argparse import ArgumentParser
from typing import Any

from shelfops import tenancy, tokens
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, find_customer
from shelfops.models import User
from shelfops.refusals import Refusal


class Command(Base):
    help = "Issue an API token to a person. It is shown once, stored as a hash only, and opens what its person may do."
    needs_customer = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--name", default="command line", help="what it is for; shown in the list of tokens")
        parser.add_argument("--customer", dest="at", metavar="SLUG", help="refuse a person who has no role there")
        parser.add_argument("--days", type=int, default=90, help="until it expires (90; at most 366)")

    def run(self, customer: None, **options: Any) -> Report:  # type: ignore[override]  # no customer of its own
        user = User.objects.filter(email__iexact=options["email"].strip()).first()
        if user is None:
            raise Refusal(f"There is no person “{options['email']}”. Run create_member first.")
        if options["at"] and find_customer(options["at"]) not in tenancy.customers_of(user):
            raise Refusal(f"{user} has no role at {options['at']}. Run create_member first.")
        token, text = tokens.issue(user, name=options["name"], days=options["days"])
        return {"email": user.email, "name": token.name, "token": text, "expires_at": token.expires_at}

    def show(self, report: Report) -> None:
        self.stdout.write(f"Token of {report['email']} until {report['expires_at']:%Y-%m-%d} (not shown again):")
        self.stdout.write(report["token"])
