"""Gives a person a role at a customer."""

from argparse import ArgumentParser
from typing import Any

from shelfops import people
from shelfops.management.base import Command as Base
from shelfops.management.base import Report
from shelfops.models import Customer, Role


class Command(Base):
    help = "Give a person a role at the customer. A new person gets the password, or one is made up and shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--password", help="at least 10 characters; a person who exists gets it as the new one")

    def run(self, customer: Customer, **options: Any) -> Report:
        joined = people.add_member(options["email"], customer, Role(options["role"]), password=options["password"])
        return {
            "email": joined.membership.user.email,
            "customer": customer.slug,
            "role": joined.membership.role,
            "new_person": joined.is_new_person,
            "password": joined.password,
        }

    def show(self, report: Report) -> None:
        self.stdout.write(f"{report['email']} is {Role(report['role']).label} at {report['customer']}.")
        if report["password"]:
            self.stdout.write(f"Password (not shown again): {report['password']}")
