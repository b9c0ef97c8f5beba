"""The ground's commands, and that every command of the project has a test."""

import datetime as dt
import json
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands

from mlops.models import ModelPolicy
from shelfops.customers import country_of
from shelfops.models import Customer, Membership, User

APPS = ["shelfops", "alerts", "mlops", "forecasting"]
pytestmark = pytest.mark.django_db


def run(*args: object) -> dict:
    out = StringIO()
    call_command(*map(str, args), "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def refusal(*args: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        call_command(*map(str, args), stdout=StringIO(), stderr=StringIO())
    return caught.value.returncode, str(caught.value)


def test_every_command_of_the_project_has_a_test():
    ours = [name for name, app in get_commands().items() if app in APPS]
    tests = "".join(path.read_text() for app in APPS for path in Path(settings.BASE_DIR, app, "tests").glob("*.py"))
    assert ours
    assert [name for name in ours if f'"{name}"' not in tests] == []


def test_every_command_says_what_it_does():
    for name, app in get_commands().items():
        if app in APPS:
            assert import_module(f"{app}.management.commands.{name}").Command.help


# --- create_customer


def test_a_customer_is_created_with_its_policy():
    report = run("create_customer", "acme", "--name", "Acme", "--timezone", "Europe/Berlin", "--clock", "2026-01-31")
    customer = Customer.objects.get(slug="acme")
    assert report == {
        "slug": "acme",
        "name": "Acme",
        "timezone": "Europe/Berlin",
        "country": "DE",
        "today": "2026-01-31",
    }
    assert customer.today() == dt.date(2026, 1, 31)
    assert ModelPolicy.objects.get(customer=customer).min_improvement_pct == 5


@pytest.mark.parametrize(
    ("zone", "country"),
    [("America/New_York", "US"), ("Europe/Zurich", "CH"), ("US/Pacific", "US"), ("UTC", ""), ("Etc/UTC", "")],
)
def test_the_country_follows_from_the_time_zone(zone, country):
    assert country_of(zone) == country


def test_a_given_country_is_kept():
    assert (
        run("create_customer", "a", "--name", "A", "--timezone", "Europe/Berlin", "--country", "at")["country"] == "AT"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["acme", "--name", "A", "--timezone", "UTC"], "Slug already exists"),
        (["b", "--name", "B", "--timezone", "Berlin"], "“Berlin” is not a time zone"),
        (["B C", "--name", "B", "--timezone", "UTC"], "lower-case letters"),
        (["b", "--name", "B", "--timezone", "UTC", "--clock", "2999-01-01"], "cannot stand at 2999-01-01"),
    ],
)
def test_a_customer_is_refused_in_one_line(arguments, words, acme):
    code, line = refusal("create_customer", *arguments)
    assert code == 1
    assert words in line
    assert "\n" not in line
    assert Customer.objects.count() == 1


def test_a_day_that_is_none_is_wrong_usage():
    _code, line = refusal("create_customer", "b", "--name", "B", "--timezone", "UTC", "--clock", "1.2.2026")
    assert "Write it as 2026-03-01" in line


# --- create_member


def test_a_new_person_gets_a_password_once(acme):
    report = run("create_member", "Dora@Example.com", "--role", "data_scientist")
    assert report["new_person"]
    assert User.objects.get_by_natural_key("dora@example.com").check_password(report["password"])
    again = run("create_member", "dora@example.com", "--role", "ml_manager")
    assert (again["new_person"], again["password"], again["role"]) == (False, None, "ml_manager")
    assert Membership.objects.get().role == "ml_manager"


def test_a_given_password_counts(acme):
    run("create_member", "dora@example.com", "--role", "retail_ops", "--password", "correct horse battery")
    assert User.objects.get().check_password("correct horse battery")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dora", "--role", "retail_ops"], "valid email"),
        (["dora@example.com", "--role", "retail_ops", "--password", "short"], "too short"),
        (["dora@example.com", "--role", "retail_ops", "--customer", "nowhere"], "There is no customer “nowhere”"),
    ],
)
def test_a_member_is_refused_in_one_line(arguments, words, acme):
    code, line = refusal("create_member", *arguments)
    assert code == 1
    assert words in line
    assert not User.objects.exists()


def test_a_superuser_is_made_by_e_mail():
    call_command("createsuperuser", "--noinput", "--email", "root@example.com", stdout=StringIO())
    assert User.objects.get().is_superuser


# --- set_clock


def test_the_clock_is_set_and_freed(acme):
    assert run("set_clock", "2026-01-05") == {"customer": "acme", "clock": "2026-01-05", "today": "2026-01-05"}
    with time_machine.travel("2026-11-23T12:00Z"):
        assert run("set_clock") == {"customer": "acme", "clock": None, "today": "2026-11-23"}


def test_going_back_is_noted(acme):
    errors = StringIO()
    call_command("set_clock", "2020-01-05", stdout=StringIO(), stderr=errors)
    assert "The clock went back" in errors.getvalue()


@time_machine.travel("2026-11-23T23:30Z")
def test_a_clock_in_the_future_of_the_customer_is_refused(acme):
    assert refusal("set_clock", "2026-11-24")[0] == 1
    Customer.objects.update(timezone="Asia/Tokyo")
    assert run("set_clock", "2026-11-24")["today"] == "2026-11-24"
