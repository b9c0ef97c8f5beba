"""The one door through which a customer comes into being, with all that each customer has."""

from importlib.resources import files

from django.db import transaction

from mlops.models import ModelPolicy
from shelfops import schedules
from shelfops.models import Customer


@transaction.atomic
def create(customer: Customer) -> Customer:
    """Saves a new customer, policy and timetable; the country follows from the time zone where none is given."""
    customer.country = customer.country or country_of(customer.timezone)
    customer.full_clean()
    customer.save(force_insert=True)
    ModelPolicy.objects.create(customer=customer)
    schedules.create(customer)
    return customer


@transaction.atomic
def change(customer: Customer) -> None:
    """Saves a customer that was edited; its timetable follows it into another time zone."""
    customer.save()
    schedules.follow_zone(customer)


def country_of(timezone: str) -> str:
    """The ISO code of the country that the zone lies in, empty for zones of no country such as UTC."""
    countries = _countries()
    return countries.get(timezone) or countries.get(_links().get(timezone, ""), "")


def _countries() -> dict[str, str]:
    lines = (files("tzdata") / "zoneinfo" / "zone.tab").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {row[2]: row[0] for row in rows}


def _links() -> dict[str, str]:
    """Other names of zones, such as US/Eastern for America/New_York."""
    lines = (files("tzdata") / "zoneinfo" / "tzdata.zi").read_text().splitlines()
    rows = [line.split() for line in lines if line.startswith("L ")]
    return {row[2]: row[1] for row in rows}
