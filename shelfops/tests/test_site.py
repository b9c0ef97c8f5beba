"""Logging in, what every answer carries, and that no page calls another host."""

import re
import subprocess
from io import StringIO

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.management import call_command
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.text import capfirst

from conftest import PASSWORD, chromium
from forecasting.models import Product, Sale, Store
from shelfops.models import Membership, User
from shelfops.navigation import TOPICS

LOGIN = "/admin/login/"
FOREIGN = re.compile(r"""(?:src|href|action|srcset)\s*=\s*["']?\s*((?:https?:)?//[^"'\s>]+)""")


def log_in(client, email, password=PASSWORD):
    return client.post(LOGIN, {"username": email, "password": password})


@pytest.mark.parametrize("email", ["alice@acme.example", "ALICE@ACME.example", "Alice@acme.Example"])
def test_people_log_in_by_e_mail_in_any_case(email, alice, client):
    assert log_in(client, email).status_code == 302
    assert client.get("/").status_code == 200


def test_login_leads_home(alice, client):
    assert log_in(client, alice.email)["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200


def test_a_passer_by_is_sent_to_the_login(client):
    assert client.get("/")["Location"] == "/admin/login/?next=/"
    assert client.get("/admin/forecasting/sale/").status_code == 302


def test_who_has_no_role_may_not_enter(client, db):
    User.objects.create_user("dora@example.com", PASSWORD)
    page = log_in(client, "dora@example.com")
    assert "You have no role at any customer" in page.content.decode()
    assert client.get("/").status_code == 302


def test_a_wrong_password_is_told_without_words_of_django(alice, client):
    page = log_in(client, alice.email, "wrong").content.decode()
    assert "This e-mail address and password do not belong together." in page
    assert "staff account" not in page


@pytest.mark.parametrize("loss", ["inactive", "no role"])
def test_who_loses_access_is_out_at_once(loss, alice, client_of):
    client = client_of(alice)
    assert client.get("/").status_code == 200
    if loss == "inactive":
        User.objects.update(is_active=False)
    else:
        Membership.objects.all().delete()
    assert client.get("/").status_code == 302


def test_a_guessed_login_is_locked_whatever_the_case_of_letters(alice, client):
    for email in ["alice@acme.example", "Alice@acme.example", "ALICE@acme.example", "aLice@acme.example"]:
        assert log_in(client, email, "wrong").status_code == 200
    locked = log_in(client, "alicE@acme.example", "wrong")
    assert locked.status_code == 429
    assert "Wait a quarter of an hour" in locked.content.decode()
    assert log_in(client, "alice@acme.example").status_code == 429
    assert client.get("/").status_code == 302


def test_everybody_changes_their_own_password(charlie, client_of, client):
    new = "another-long-password"
    data = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert client_of(charlie).post(reverse("admin:password_change"), data).status_code == 302
    assert log_in(client, charlie.email, new).status_code == 302


# --- The installation's own tables


def _installation() -> list[str]:
    return [label for label, _, _ in TOPICS["Installation"]]


@pytest.mark.parametrize("table", _installation())
@pytest.mark.parametrize("name", ["bob", "root"])
def test_only_superusers_see_the_installation(table, name, client_of, request):
    client = client_of(request.getfixturevalue(name))
    expected = 200 if name == "root" else 403
    base = f"admin:{table.replace('.', '_')}"
    assert client.get(reverse(f"{base}_changelist")).status_code == expected
    assert client.get(reverse(f"{base}_add")).status_code in {expected, 403}


def test_a_superuser_gives_a_person_a_role(root, acme, client_of):
    client = client_of(root)
    data = {"email": "dora@example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post(reverse("admin:shelfops_user_add"), data).status_code == 302
    dora = User.objects.get(email="dora@example.com")
    page = reverse("admin:shelfops_user_change", args=[dora.pk])
    data = {"email": dora.email, "is_active": "on", "memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "0"}
    data |= {"memberships-0-customer": str(acme.pk), "memberships-0-role": "retail_ops"}
    assert client.post(page, data).status_code == 302
    assert dora.memberships.get().customer == acme
    assert client.get(reverse("admin:auth_user_password_change", args=[dora.pk])).status_code == 200


def test_people_are_never_deleted(root, alice, client_of):
    assert client_of(root).get(reverse("admin:shelfops_user_delete", args=[alice.pk])).status_code == 403


# --- The side bar


def test_every_table_is_in_the_side_bar_once():
    listed = [label for rows in TOPICS.values() for label, _, _ in rows]
    assert len(listed) == len(set(listed))
    assert {model._meta.label_lower for model in admin.site._registry} <= set(listed)
    assert [label for label in listed if label.split(".")[0] not in apps.app_configs] == []


def test_a_list_is_headed_as_the_side_bar_calls_it():
    tables = {label: name for topic, rows in TOPICS.items() if topic != "Installation" for label, name, _ in rows}
    headings = {label: capfirst(apps.get_model(label)._meta.verbose_name_plural) for label in tables}
    assert headings == tables


def test_the_side_bar_shows_what_a_person_may_see(alice, client_of):
    page = client_of(alice).get("/").content.decode()
    assert "Feed days" in page
    assert "Failed logins" not in page


# --- What every answer carries


def test_answers_carry_the_safety_headers(alice, client_of):
    answer = client_of(alice).get("/")
    assert "object-src 'none'" in (policy := answer["Content-Security-Policy"])
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"


def _pages() -> list[str]:
    lists = [reverse(f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist") for m in admin.site._registry]
    return ["/", LOGIN, reverse("admin:password_change"), *lists, *(f"{page}add/" for page in lists)]


def test_no_page_calls_another_host(root, acme, client_of):
    client = client_of(root)
    for page in _pages():
        answer = client.get(page, follow=True)
        assert FOREIGN.findall(answer.content.decode()) == [], page


@pytest.mark.browser
def test_the_login_page_runs_in_a_browser_under_its_policy(live_server):
    command = [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    done = subprocess.run([*command, live_server.url + LOGIN], capture_output=True, text=True, timeout=60, check=True)
    assert 'name="username"' in done.stdout
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_no_migration_is_missing(db):
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nowhere", 404, "No page has this address."),
        ("/admin/nowhere/", 404, "No page has this address."),
        ("/admin/mlops/modelversion/99/change/", 404, "There is no such model version."),
        ("/admin/shelfops/user/", 403, "Your role does not include it."),
    ],
)
def test_a_refused_page_says_why_and_leads_back(address, status, words, alice, client_of):
    page = client_of(alice).get(address)
    assert page.status_code == status
    assert words in page.content.decode()
    assert f'href="{reverse("home")}"' in page.content.decode()


def test_lists_show_numbers_by_three_decimals(acme, alice, client_of):
    store, product = Store.objects.create(customer=acme, code="s"), Product.objects.create(customer=acme, code="p")
    Sale.objects.create(store=store, product=product, date="2026-01-05", quantity=1234, unit_price=5.243333333)
    page = client_of(alice).get("/admin/forecasting/sale/").content.decode()
    assert "1,234" in page
    assert "5.243" in page
    assert "5.2433" not in page


@pytest.mark.parametrize(
    ("name", "address", "words", "way"),
    [
        ("alice", "/admin/alerts/mlalert/", "There are no alerts yet", 'href="/"'),
        ("alice", "/admin/alerts/mlalert/?which=overdue", "Nothing fits what you asked for", 'href="?"'),
        ("alice", "/admin/alerts/mlalert/?q=v9", "or look at all alerts", 'href="?"'),
        ("bob", "/admin/alerts/notificationchannel/", "There are no alert channels yet", "Add alert channel"),
        ("charlie", "/admin/alerts/notificationchannel/", "There are no alert channels yet", "people who may add them"),
    ],
)
def test_an_empty_list_says_what_to_do(name, address, words, way, acme, client_of, request):
    page = client_of(request.getfixturevalue(name)).get(address).content.decode()
    assert words in page
    assert way in page.partition(words)[2]


def test_a_failed_page_needs_nothing_that_may_have_failed():
    assert "This page failed" in render_to_string("500.html")
