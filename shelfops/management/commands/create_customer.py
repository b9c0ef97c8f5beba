"""Creates a customer with its policy."""

from argparse import ArgumentParser
from typing import Any

from shelfops import customers
from shelfops.clock import check_clock
from shelfops.management.base import Command as Base
from shelfops.management.base import Report, iso_date
from shelfops.models import Customer


class Command(Base):
    help = "Create a customer: a retailer with its own stores, products, sales, models and people."
    needs_customer = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="short name for commands and addresses, such as acme")
        parser.add_argument("--name", required=True, help="name for people, such as “Acme Stores”")
        parser.add_argument("--timezone", required=True, metavar="ZONE", help="such as Europe/Berlin")
        parser.add_argument("--country", default="", help="ISO code for public holidays; follows from the time zone")
        parser.add_argument("--clock", type=iso_date, metavar="DATE", help="fix the customer's today")

    def run(self, customer: None, **options: Any) -> Report:  # type: ignore[override]  # no customer of its own
        fields = {name: options[name] for name in ("slug", "name", "timezone", "clock")}
        created = Customer(**fields, country=options["country"].upper())
        created.clean_fields()
        check_clock(created, created.clock)
        customers.create(created)
        return {
            "slug": created.slug,
            "name": created.name,
            "timezone": created.timezone,
            "country": created.country,
            "today": created.today(),
        }

    def show(self, report: Report) -> None:
        holidays = f"holidays of {report['country']}" if report["country"] else "no public holidays"
        self.stdout.write(f"Created {report['name']} ({report['slug']}): {report['timezone']}, {holidays}.")
        self.stdout.write(
            "Next, give a person a role: "
            f"python manage.py create_member EMAIL --customer {report['slug']} --role ml_manager"
        )
