"""Managers run their customer in the admin: its settings, its members, its feed days, its files."""

import csv
import datetime as dt
import io
import json

import pytest
from django.urls import reverse
from openpyxl import load_workbook

from forecasting import feed
from forecasting.models import FeedDay, Product, Sale, Store
from mlops.models import ModelPolicy
from shelfops import exports
from shelfops.models import Customer, Membership, User
from shelfops.refusals import Refusal
from shelfops.tenancy import NotAllowed

DAY = dt.date(2026, 3, 2)
FEED = "admin:forecasting_feedday_changelist"


def _members(customer, *rows, initial=0, **fields):
    data = {"name": customer.name, "timezone": customer.timezone, "country": customer.country, **fields}
    data |= {"memberships-TOTAL_FORMS": len(rows), "memberships-INITIAL_FORMS": initial}
    for number, row in enumerate(rows):
        data |= {f"memberships-{number}-{key}": value for key, value in row.items()}
    return data


def _save(client, customer, *rows, **fields):
    return client.post(
        reverse("admin:shelfops_customer_change", args=[customer.pk]), _members(customer, *rows, **fields)
    )


def test_a_manager_adds_a_new_person_and_sees_the_password_once(bob, acme, client_of):
    client = client_of(bob)
    assert _save(client, acme, {"email": "dora@example.com", "role": "retail_ops"}).status_code == 302
    page = client.get("/").content.decode()
    password = page.split("not shown again: ")[1].split("<")[0].strip()
    dora = User.objects.get(email="dora@example.com")
    assert dora.check_password(password)
    assert dora.memberships.get().role == "retail_ops"
    assert "not shown again" not in client.get("/").content.decode()


def test_a_manager_adds_a_person_who_exists_elsewhere(bob, mallory, acme, client_of):
    _save(client_of(bob), acme, {"email": "MALLORY@globex.example", "role": "data_scientist"})
    assert Membership.objects.filter(user=mallory, customer=acme, role="data_scientist").exists()
    assert User.objects.filter(email__iexact="mallory@globex.example").count() == 1


def test_a_manager_changes_and_removes_roles(alice, bob, charlie, acme, client_of):
    rows = {row.user: row for row in Membership.objects.all()}
    changed = {"id": rows[alice].pk, "role": "ml_manager"}
    removed = {"id": rows[charlie].pk, "role": "retail_ops", "DELETE": "on"}
    assert _save(client_of(bob), acme, changed, removed, initial=2).status_code == 302
    assert set(Membership.objects.values_list("user", "role")) == {(alice.pk, "ml_manager"), (bob.pk, "ml_manager")}


def test_a_member_is_not_added_twice(alice, bob, acme, client_of):
    page = _save(client_of(bob), acme, {"email": "Alice@acme.example", "role": "ml_manager"})
    assert "is a member already" in page.content.decode()


def test_a_manager_edits_the_customer_but_not_its_slug(bob, acme, client_of):
    _save(client_of(bob), acme, name="Acme Europe", timezone="Europe/Berlin", country="DE", slug="other")
    acme.refresh_from_db()
    assert (acme.name, acme.timezone, acme.slug) == ("Acme Europe", "Europe/Berlin", "acme")


def test_everybody_sees_who_has_which_role(alice, bob, charlie, acme, client_of):
    page = client_of(charlie).get(reverse("admin:shelfops_customer_change", args=[acme.pk])).content.decode()
    assert "alice@acme.example" in page
    assert "ML manager" in page
    assert 'name="memberships-0-role"' not in page


def test_a_data_scientist_cannot_add_members(alice, acme, client_of):
    assert _save(client_of(alice), acme, {"email": "dora@example.com", "role": "ml_manager"}).status_code == 403
    assert not User.objects.filter(email="dora@example.com").exists()


def test_a_superuser_opens_a_customer_with_its_policy(root, client_of):
    data = {"name": "Initech", "slug": "initech", "timezone": "Europe/Paris", "country": "", "clock": ""}
    assert client_of(root).post(reverse("admin:shelfops_customer_add"), data).status_code == 302
    created = Customer.objects.get(slug="initech")
    assert created.country == "FR"
    assert ModelPolicy.objects.filter(customer=created).exists()


# --- Feed days


@pytest.fixture
def day(acme):
    store = Store.objects.create(customer=acme, code="s1")
    return FeedDay.objects.create(store=store, date=DAY, status="complete", rows=7)


@pytest.mark.parametrize("status", ["closed", "missing"])
def test_days_are_marked_with_a_note(status, day, alice, client_of):
    client, data = client_of(alice), {"action": f"mark_{status}", "_selected_action": day.pk}
    assert "Shown beside each of these days" in client.post(reverse(FEED), data).content.decode()
    assert client.post(reverse(FEED), {**data, "note": "stocktaking"}).status_code == 302
    day.refresh_from_db()
    assert (day.status, day.note, day.marked_by) == (status, "stocktaking", alice)


def test_a_blank_note_marks_nothing(day, alice, client_of):
    data = {"action": "mark_closed", "_selected_action": day.pk, "note": "  "}
    assert client_of(alice).post(reverse(FEED), data).status_code == 200
    day.refresh_from_db()
    assert day.status == "complete"


def test_retail_operations_cannot_mark_days(day, charlie, client_of):
    data = {"action": "mark_closed", "_selected_action": day.pk, "note": "no"}
    client_of(charlie).post(reverse(FEED), data)
    day.refresh_from_db()
    assert day.status == "complete"


def test_a_day_nothing_is_known_of_is_marked(day, alice, client_of):
    data = {"store": day.store.pk, "date": "2026-03-03", "status": "closed", "note": "holiday"}
    assert client_of(alice).post(reverse("admin:forecasting_feedday_add"), data).status_code == 302
    assert FeedDay.objects.get(date=dt.date(2026, 3, 3)).marked_by == alice


def test_a_person_cannot_make_a_day_complete(day, alice):
    with pytest.raises(Refusal, match="Only a load makes a day complete"):
        feed.mark_day(day.store, DAY, FeedDay.Status.COMPLETE, by=alice, note="sure")


def test_a_stranger_marks_nothing(day, mallory):
    assert feed.mark(FeedDay.objects.all(), FeedDay.Status.CLOSED, by=mallory, note="x") == 0
    with pytest.raises(NotAllowed):
        feed.mark_day(day.store, DAY, FeedDay.Status.CLOSED, by=mallory, note="x")


# --- Files


@pytest.fixture
def sales(day, acme):
    products = [Product.objects.create(customer=acme, code=code) for code in ("=1+1", "p2")]
    for number, product in enumerate(products, start=1):
        Sale.objects.create(store=day.store, product=product, date=DAY, quantity=-number, promo=number > 1)
    return products


def _export(client, file_format, **filters):
    url = reverse("admin:forecasting_sale_export", query=filters)
    return client.post(url, {"format": file_format, "resource": "0"})


def test_an_export_has_the_columns_that_a_load_wants(sales, alice, client_of):
    rows = list(csv.DictReader(io.StringIO(_export(client_of(alice), 0).content.decode())))
    expected = {"date": "2026-03-02", "store_id": "s1", "product_id": "p2", "quantity": "-2.0", "unit_price": ""}
    assert expected | {"promo": "True"} in rows


def test_a_spreadsheet_runs_no_formula_of_ours(sales, alice, client_of):
    sheet = load_workbook(io.BytesIO(_export(client_of(alice), 1).content)).active
    cells = {cell.value for row in sheet.iter_rows() for cell in row}
    assert "'=1+1" in cells
    assert -1 in cells


def test_json_keeps_values_as_they_are(sales, alice, client_of):
    rows = json.loads(_export(client_of(alice), 2).content)
    assert {row["product_id"] for row in rows} == {"=1+1", "p2"}


def test_an_export_holds_what_is_filtered_and_searched(sales, alice, client_of):
    client = client_of(alice)
    assert len(json.loads(_export(client, 2, q="p2").content)) == 1
    assert len(json.loads(_export(client, 2, q="s1 p2").content)) == 1
    assert json.loads(_export(client, 2, q="s9").content) == []
    assert len(json.loads(_export(client, 2, promo__exact="0").content)) == 1


def test_too_long_an_export_is_refused_with_advice(sales, alice, client_of, monkeypatch):
    monkeypatch.setattr(exports, "MOST_ROWS", 1)
    page = _export(client_of(alice), 0)
    assert "Content-Disposition" not in page
    assert "Narrow the list with its filters" in page.content.decode()
