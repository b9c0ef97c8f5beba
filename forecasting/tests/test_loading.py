"""What a load leaves in the database, and what it reports."""

import datetime as dt
import io
import json

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from forecasting import catalogue
from forecasting.feed import mark_day
from forecasting.models import CategoryDepartment, FeedDay, PlannedPrice, Product, Sale, Series, Store
from shelfops import bulk
from shelfops.clock import set_clock
from shelfops.management.base import Refused
from shelfops.models import Customer

HEADER = "date,store_id,product_id,quantity"
D = [dt.date(2026, 1, day) for day in range(1, 32)]


@pytest.fixture
def load(acme, tmp_path):
    """Loads these lines, `day store product quantity …`, and answers the report."""

    def load(*lines, head=HEADER, command="load_sales", **options):
        path = tmp_path / "sales.csv"
        path.write_text("\n".join([head, *(f"2026-01-{line.replace(' ', ',')}" for line in lines)]))
        out, err = io.StringIO(), io.StringIO()
        call_command(command, path, json=True, stdout=out, stderr=err, **options)
        return json.loads(out.getvalue()) | {"stderr": err.getvalue()}

    return load


def sales():
    found = Sale.objects.order_by("date", "store__code", "product__code")
    return [(s.date.day, s.store.code, s.product.code, s.quantity) for s in found.select_related("store", "product")]


def days(store="s"):
    found = FeedDay.objects.filter(store__code=store).order_by("date")
    return [(day.date.day, day.status, day.rows) for day in found]


def first_sold():
    return {(s.store.code, s.product.code): s.first_sold.day for s in Series.objects.select_related("store", "product")}


def everything():
    return sales(), days("s"), days("t"), first_sold()


def test_it_reports_what_it_did(load):
    report = load("05 s p 1", "05 s p 2", "07 s q 3", "07 t p x")
    assert (report["read"], report["accepted"], report["rejected"], report["keys"]) == (4, 3, 1, 2)
    assert (report["new_stores"], report["new_products"], report["days"], report["missing_days"]) == (1, 2, 2, 1)
    assert (report["first_date"], report["last_date"]) == ("2026-01-05", "2026-01-07")
    assert report["first_missing_days"] == ["2026-01-06"]
    assert report["rejected_by_reason"] == {"quantity is not a number": 1}
    assert "REJECTED ROWS: 1" in report["stderr"]
    assert "line 5: quantity is not a number" in report["stderr"]


def test_rejected_rows_are_kept_for_the_owner_alone(load, acme):
    path = settings.REJECTS_DIR / "acme" / "sales.csv.rejects.csv"
    assert load("05 s p 1", "05 s p x")["rejects_file"] == str(path)
    assert path.parent.stat().st_mode & 0o077 == path.stat().st_mode & 0o077 == 0
    load("05 s p 1")
    assert not path.exists()


def test_the_rejects_file_can_be_named(load, tmp_path):
    load("05 s p 1", "05 s p x", rejects=tmp_path / "bad.csv")
    assert (tmp_path / "bad.csv").read_text().endswith("2026-01-05,s,p,x\n")


def test_loading_a_file_again_changes_nothing(load):
    lines = "05 s p 1", "05 t p -2", "06 s q 3", "08 s p 0"
    load(*lines)
    before = everything()
    report = load(*lines)
    assert everything() == before
    assert (report["new_stores"], report["new_products"]) == (0, 0)


def test_a_later_file_replaces_the_keys_it_holds(load):
    load("05 s p 1", "05 s q 2", "06 s p 3")
    load("05 s p 7", "05 s r 1")
    assert sales() == [(5, "s", "p", 7), (5, "s", "q", 2), (5, "s", "r", 1), (6, "s", "p", 3)]
    assert days() == [(5, "complete", 3), (6, "complete", 1)]


def test_a_net_negative_day_is_stored_as_it_is(load):
    load("05 s p -3")
    assert sales() == [(5, "s", "p", -3)]
    assert first_sold() == {}


def test_a_price_is_kept_and_an_unknown_one_is_null(load):
    load("05 s p 1 2.5 yes", "05 s q 0 0 ", head=HEADER + ",unit_price,promo")
    assert list(Sale.objects.order_by("product__code").values_list("unit_price", "promo")) == [
        (2.5, True),
        (None, None),
    ]


def test_customers_do_not_share_stores(load, acme):
    Customer.objects.create(slug="other", name="Other")
    load("05 s p 1", customer="acme")
    load("05 s p 2", customer="other")
    assert Store.objects.filter(code="s").count() == 2
    assert Sale.objects.count() == 2


@pytest.mark.parametrize("lines", [["05 s p x"], ["05 s p 1", "05 s p x"]])
def test_strict_changes_nothing_unless_every_row_is_good(load, lines):
    with pytest.raises(Refused, match=r"Nothing was loaded.*line [23]: quantity is not a number"):
        load(*lines, strict=True)
    assert not Store.objects.exists()
    assert not FeedDay.objects.exists()


def test_a_file_without_a_good_row_changes_nothing(load):
    with pytest.raises(Refused, match="none of the 2 rows is good"):
        load("05 s p x", "06 s p 1 2")
    assert not Store.objects.exists()
    assert not Product.objects.exists()


def test_a_date_after_the_real_today_is_rejected_whatever_the_clock_says(load, acme, time_machine):
    time_machine.move_to("2026-01-10T12:00Z")
    Customer.objects.update(clock=D[2])
    assert load("10 s p 1", "11 s p 1")["rejected_by_reason"] == {"date is after today, 2026-01-10": 1}


# --- Which days are covered ---------------------------------------------------------------------------------------


def test_a_store_is_covered_from_its_first_row_on_each_date_of_the_file(load):
    report = load("05 s p 1", "06 s p 1", "06 t p 1", "08 s p 1", "09 t p 0")
    assert days("s") == [(5, "complete", 1), (6, "complete", 1), (8, "complete", 1), (9, "complete", 0)]
    assert days("t") == [(6, "complete", 1), (8, "complete", 0), (9, "complete", 1)]
    assert [warning for warning in report["warnings"] if "no row" in warning] == [
        f"store {store} has no row on 1 of the file's dates; they count as days without a sale; "
        "mark them closed if it was shut"
        for store in "st"
    ]


def test_a_store_known_from_before_is_covered_from_the_file_s_first_date(load):
    load("01 t p 1")
    load("05 s p 1", "06 t p 1")
    assert days("t") == [(1, "complete", 1), (5, "complete", 0), (6, "complete", 1)]


def test_a_day_without_rows_keeps_the_rows_of_an_earlier_load(load):
    load("05 s p 1", "05 t p 1", "06 s p 1", "06 t p 1")
    assert load("05 t p 2", "06 s p 2", "05 s q 1")["warnings"] == []
    assert days("t") == [(5, "complete", 1), (6, "complete", 1)]


def test_rejected_rows_cover_no_day(load):
    load("05 s p 1", "06 s p x", "07 s p 1")
    assert [day for day, *_ in days()] == [5, 7]


def test_a_store_day_of_which_all_rows_were_rejected_is_not_a_day_without_sales(load):
    report = load("05 s p 1", "06 s p x", "06 t p 1", "07 s p 1", "07 s q x", "08 u p x", "08 t p 1")
    assert "all rows of s on 2026-01-06 were rejected" in " ".join(report["warnings"])
    assert days("s") == [(5, "complete", 1), (7, "complete", 1), (8, "complete", 0)]
    assert days("t") == [(6, "complete", 1), (7, "complete", 0), (8, "complete", 1)]


def test_a_date_that_another_load_covered_is_not_missing(load):
    load("06 s p 1")
    assert load("05 s p 1", "07 s p 1")["missing_days"] == 0


def test_a_closed_day_stays_closed_without_a_sale(load, bob):
    load("05 s p 1")
    mark_day(Store.objects.get(), D[5], FeedDay.Status.CLOSED, by=bob, note="stocktaking")
    report = load("05 s p 1", "06 s p 0", "07 s p 1")
    assert days()[1] == (6, "closed", 0)
    assert report["warnings"] == []


def test_a_sale_reopens_a_closed_day_and_the_report_says_so(load, bob):
    load("05 s p 1")
    mark_day(Store.objects.get(), D[5], FeedDay.Status.CLOSED, by=bob, note="stocktaking")
    assert load("06 s p 2")["warnings"] == [
        "s on 2026-01-06 had been marked closed; the file has sales, so they are complete now"
    ]
    day = FeedDay.objects.get(date=D[5])
    assert (day.status, day.rows, day.note, day.marked_by) == ("complete", 1, "", None)


# --- First sales --------------------------------------------------------------------------------------------------


def test_the_first_sale_is_the_first_day_with_a_positive_quantity(load):
    load("05 s p 0", "06 s p -1", "07 s p 2", "08 s p 1", "08 t p 1")
    assert first_sold() == {("s", "p"): 7, ("t", "p"): 8}


def test_an_older_file_moves_the_first_sale_back(load):
    load("07 s p 2")
    load("03 s p 1", "04 s p 1")
    assert first_sold() == {("s", "p"): 3}


def test_a_correction_that_zeroes_the_first_sale_moves_it_on(load):
    load("05 s p 1", "07 s p 2", "05 s q 1")
    load("05 s p 0", "05 s q 0", "06 s p 0")
    assert first_sold() == {("s", "p"): 7}


def test_a_file_that_zeroes_one_first_sale_and_brings_another(load):
    load("05 s p 1")
    load("05 s p 0", "06 s p 1")
    assert first_sold() == {("s", "p"): 6}


def test_batches_make_no_difference(load, monkeypatch):
    lines = [f"{day:02} {store} {product} {day % 3}" for day in range(1, 20) for store in "st" for product in "pqr"]
    load(*lines)
    before = everything()
    for table in (Sale, Series, FeedDay):
        table.objects.all().delete()
    monkeypatch.setattr(bulk, "BATCH_ROWS", dict.fromkeys(bulk.BATCH_ROWS, 2))
    load(*reversed(lines))
    assert everything() == before


# --- Departments --------------------------------------------------------------------------------------------------

LABELLED = HEADER + ",department,category"


def test_attributes_in_the_file_update_the_products(load):
    load("05 s p 1 Food Milk", "05 s q 1 Food Bread", head=LABELLED)
    load("06 s p 1 Fresh ", "06 s q 1  ", head=LABELLED)
    assert list(Product.objects.order_by("code").values_list("department", "category")) == [
        ("Fresh", "Milk"),
        ("Food", "Bread"),
    ]
    assert Product.objects.get(code="p").history.first().history_change_reason == "loaded with sales.csv"


def test_a_product_in_two_departments_is_reported(load):
    report = load("05 s p 1 Food ", "06 s p 1 Toys ", head=LABELLED)
    assert report["warnings"] == ["several departments for product p; the last one in the file holds"]


def test_a_category_finds_its_department_in_the_customer_s_table(load, acme, django_assert_num_queries):
    CategoryDepartment.objects.create(customer=acme, category="Milk", department="Fresh")
    report = load("05 s p 1 Milk", "05 s q 1 Tools", "05 s r 1 ", head=HEADER + ",category")
    with django_assert_num_queries(1):
        found = catalogue.departments(acme)
    assert {Product.objects.get(pk=key).code: name for key, name in found.items()} == {"p": "Fresh", "q": "", "r": ""}
    assert report["warnings"] == ["no department for category Tools; name it in the table of categories to departments"]


# --- Plans --------------------------------------------------------------------------------------------------------


@pytest.fixture
def plan(load, acme):
    load("05 s p 1")
    Customer.objects.update(clock=D[5])

    def plan(*lines, head="date,store_id,product_id,unit_price,promo,known_at", **options):
        return load(*lines, head=head, command="load_plan", **options)

    return plan


def plans():
    return list(
        PlannedPrice.objects.order_by("date", "known_at").values_list("date", "known_at", "unit_price", "promo")
    )


def test_a_plan_is_known_since_the_customer_s_today_unless_it_says_when(plan):
    plan("20 s p 1.5 yes ", "21 s p  no 2026-01-02")
    assert plans() == [(D[19], D[5], 1.5, True), (D[20], D[1], None, False)]


def test_a_replan_of_the_same_day_replaces_and_of_another_adds(plan):
    plan("20 s p 1.5 yes 2026-01-02")
    plan("20 s p 1.4  2026-01-02")
    plan("20 s p 1.3  2026-01-03", "20 s p 1.2  2026-01-03")
    assert plans() == [(D[19], D[1], 1.4, None), (D[19], D[2], 1.2, None)]


def test_unusable_plans_are_rejected_with_their_reason(plan):
    report = plan("20 x p 1  ", "20 s x 1  ", "20 s p   ", "20 s p 0  ", "20 s p 1  2999-01-01", "20 s p 1  ")
    assert [reject["reason"].split(",")[0] for reject in report["first_rejects"]] == [
        "store_id is not known; load its sales first",
        "product_id is not known; load its sales first",
        "neither unit_price nor promo is given",
        "unit_price is not above 0",
        "known_at is after today",
    ]
    assert (report["keys"], len(plans())) == (1, 1)


def test_a_plan_of_nothing_is_refused(plan):
    with pytest.raises(Refused, match="needs a column unit_price or promo"):
        plan("20 s p", head="date,store_id,product_id")


def test_sales_beyond_a_clock_that_is_fixed_are_told_of(load, acme):
    set_clock(acme, D[5])
    assert load("05 s p 2")["warnings"] == []
    assert load("06 s p 2", "08 s p 2")["warnings"][-1:] == [
        f"{acme}'s clock is fixed at 2026-01-06: the days from then to 2026-01-08 count when it gets there"
    ]


def test_a_plan_before_any_sales_is_refused(load):
    with pytest.raises(Refused, match="Load sales first"):
        load("20 s p 1", head="date,store_id,product_id,unit_price", command="load_plan")


def test_the_text_report_counts_rows_keys_and_days(acme, tmp_path, capsys):
    (tmp_path / "sales.csv").write_text(f"{HEADER}\n2026-01-05,s,p,1\n")
    call_command("load_sales", tmp_path / "sales.csv")
    out, err = capsys.readouterr()
    assert "rows: 1 of 1 loaded, 1 product-store-days" in out
    assert "days: 1, from 2026-01-05 to 2026-01-05; new stores: 1; new products: 1" in out
    assert err == ""


def test_after_a_load_sqlite_knows_how_many_rows_its_tables_hold(load):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL keeps its statistics by itself")

    load("01 S1 P1 3", "02 S1 P1 4")

    with connection.cursor() as cursor:
        cursor.execute("SELECT stat FROM sqlite_stat1 WHERE tbl = 'sales'")
        assert cursor.fetchone()[0].split()[0] == "2"
