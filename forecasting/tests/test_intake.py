"""What is made of a file before the database sees it."""

import datetime as dt
import gzip
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.intake.columns import to_date, to_day
from forecasting.intake.files import UnusableFile
from forecasting.intake.sales import read_sales

UTC = ZoneInfo("UTC")
TODAY = dt.date(2026, 3, 1)
HEADER = "date,store_id,product_id,quantity,unit_price,promo\n"


@pytest.fixture
def read(tmp_path):
    def read(content, name="sales.csv", zone=UTC):
        path = tmp_path / name
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_sales(path, zone=zone, today=TODAY)

    return read


def rejected(file):
    return file.rejects.first(100)


def day_of(file):
    return [to_date(day) for day in file.daily["date"]]


BAD_LINES = [
    (",s,p,1,2,", "date is missing"),
    ("05.01.2026,s,p,1,2,", "date is not an ISO date such as 2026-01-31"),
    ("2026-02-30,s,p,1,2,", "date is not an ISO date such as 2026-01-31"),
    ("20260105,s,p,1,2,", "date is not an ISO date such as 2026-01-31"),
    ("2026-03-02,s,p,1,2,", "date is after today, 2026-03-01"),
    ("9999-01-01,s,p,1,2,", "date is after today, 2026-03-01"),
    ("1899-12-31,s,p,1,2,", "date is before 1990"),
    ("2026-01-05, ,p,1,2,", "store_id is missing"),
    ("2026-01-05,s,,1,2,", "product_id is missing"),
    (f"2026-01-05,{'s' * 65},p,1,2,", "store_id is longer than 64 characters or holds a NUL"),
    ("2026-01-05,s,p\0,1,2,", "product_id is longer than 64 characters or holds a NUL"),
    ("2026-01-05,s,p,,2,", "quantity is missing"),
    ("2026-01-05,s,p,NaN,2,", "quantity is missing"),
    ("2026-01-05,s,p,two,2,", "quantity is not a number"),
    ('2026-01-05,s,p,"1,5",2,', "quantity is not a number"),
    ("2026-01-05,s,p,1_0,2,", "quantity is not a number"),
    ("2026-01-05,s,p,1e999,2,", "quantity is infinite"),
    ("2026-01-05,s,p,1,0,", "unit_price is not above 0 though something was sold"),
    ("2026-01-05,s,p,-1,-2,", "unit_price is not above 0 though something was sold"),
    ("2026-01-05,s,p,1,cheap,", "unit_price is not a number"),
    ("2026-01-05,s,p,1,1e999,", "unit_price is not a number"),
    ("2026-01-05,s,p,1,2,maybe", "promo is neither yes nor no"),
    ("2026-01-05,s,p,1", "the number of values is not the number of columns"),
    ("2026-01-05,s,p,1,2,1,surplus", "the number of values is not the number of columns"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_it_rejects_a_bad_row_with_its_line(read, line, reason):
    file = read(f"{HEADER}2026-01-05,s,p,1,2,\n\n{line}\n2026-01-06,s,p,1,2,\n")
    assert rejected(file) == [(4, reason)]
    assert (file.read, file.accepted) == (3, 2)


def test_every_kind_of_bad_row_keeps_its_line_in_one_file(read):
    file = read(HEADER + "2026-01-05,s,p,1,2,\n" + "".join(f"{line}\n" for line, _ in BAD_LINES))
    assert rejected(file) == [(place, reason) for place, (_, reason) in enumerate(BAD_LINES, start=3)]
    assert sum(file.rejects.by_reason().values()) == len(file.rejects) == len(BAD_LINES)


def test_lines_are_those_of_an_editor_also_after_a_note_of_two_lines(read):
    file = read('date,store_id,product_id,quantity,note\n2026-01-05,s,p,1,"two\nlines"\n2026-01-05,s,p,x,\n1\n')
    assert [line for line, _ in rejected(file)] == [4, 5]


def test_the_rejects_file_gives_the_original_values_back(read, tmp_path):
    read(HEADER + "2026-01-05,s,p,x,2,\n2026-01-05,s\n2026-01-05,s,p,1,2,\n").rejects.write(tmp_path / "rejects.csv")
    assert (tmp_path / "rejects.csv").read_text().splitlines() == [
        "line,reason,date,store_id,product_id,quantity,unit_price,promo",
        "2,quantity is not a number,2026-01-05,s,p,x,2,",
        "3,the number of values is not the number of columns,2026-01-05,s",
    ]
    assert (tmp_path / "rejects.csv").stat().st_mode & 0o777 == 0o600


def test_lines_of_one_key_are_summed(read):
    file = read(HEADER + "2026-01-05,s,p,3,2,no\n2026-01-05,s,q,1,,\n2026-01-05,s,p,1,4,yes\n2026-01-05,s,p,-1,9,\n")
    assert file.daily["quantity"].tolist() == [3, 1]
    assert file.daily["unit_price"].tolist() == pytest.approx([2.5, np.nan], nan_ok=True)
    assert file.daily["promo"].tolist() == [1, -1]


def test_the_last_price_named_holds_where_nothing_was_sold(read):
    file = read(HEADER + "2026-01-05,s,p,0,3,\n2026-01-05,s,p,-2,4,\n2026-01-05,s,p,0,,\n")
    assert file.daily[["quantity", "unit_price"]].to_numpy().tolist() == [[-2, 4]]


def test_a_price_of_nothing_without_a_sale_is_no_price(read):
    file = read(HEADER + "2026-01-05,s,p,0,0,\n")
    assert np.isnan(file.daily["unit_price"]).all()


def test_a_byte_order_mark_and_odd_names_do_not_matter(read):
    file = read(b"\xef\xbb\xbf Date ,STORE_ID,product_id,quantity,colour\r\n2026-01-05T23:30:00,s,p,1,red\r\n")
    assert day_of(file) == [dt.date(2026, 1, 5)]
    assert file.source.ignored == ["colour"]


def test_a_zipped_csv_and_one_without_a_suffix_are_read(read):
    assert read(gzip.compress((HEADER + "2026-01-05,s,p,1,2,\n").encode()), "sales.csv.gz").accepted == 1
    assert read(HEADER + "2026-01-05,s,p,1,2,", "sales").accepted == 1


@pytest.mark.parametrize(
    "moment", ["2026-01-05T23:30:00Z", "2026-01-05 18:30:00-05:00", dt.datetime(2026, 1, 5, 23, 30, tzinfo=UTC)]
)
def test_moments_become_the_date_at_the_customer(read, moment):
    table = pa.table({"date": [moment], "store_id": ["s"], "product_id": ["p"], "quantity": [1]})
    assert day_of(read(table, "sales.parquet", ZoneInfo("Asia/Kathmandu"))) == [dt.date(2026, 1, 6)]


@pytest.mark.parametrize(
    "dates",
    [
        pa.array([dt.date(2026, 1, 5)], pa.date32()),
        pa.array([dt.date(2026, 1, 5)], pa.date64()),
        pa.array(np.array(["2026-01-05T23:59"], "datetime64[ns]")),
        pa.array(np.array(["2026-01-05"], "datetime64[ms]")),
        pa.array(["2026-01-05"]).dictionary_encode(),
        pa.array(["2026-01-05"], pa.large_string()),
    ],
)
def test_dates_of_any_sensible_type_are_read(read, dates):
    table = pa.table({"date": dates, "store_id": [7], "product_id": [85123.0], "quantity": [Decimal("1.50")]})
    file = read(table, "sales.parquet")
    assert day_of(file) == [dt.date(2026, 1, 5)]
    assert (file.stores, file.products, file.daily["quantity"].tolist()) == (["7"], ["85123"], [1.5])


def test_parquet_nulls_are_missing_values(read):
    none = pa.nulls(1)
    table = pa.table({"date": [TODAY], "store_id": ["s"], "product_id": none, "quantity": [1.0]})
    assert rejected(read(table, "s.parquet")) == [(1, "product_id is missing")]


def test_a_price_stored_in_32_bits_stays_as_written(read):
    price = pa.array([2.24, None], pa.float32())
    table = pa.table({"date": [TODAY] * 2, "store_id": ["s", "t"], "product_id": ["p"] * 2, "quantity": [1, 1]})
    assert read(table.append_column("unit_price", price), "s.parquet").daily["unit_price"][0] == 2.24


def test_the_last_department_holds_and_a_conflict_is_named(read):
    head = "date,store_id,product_id,quantity,department\n"
    file = read(head + "2026-01-05,s,p,1,Food\n2026-01-05,t,p,1,Toys\n2026-01-06,s,p,1,\n2026-01-06,s,q,1,Food\n")
    assert (file.departments.values, file.departments.conflicts) == (["Toys", "Food"], ["p"])


GOOD = "date,store_id,product_id,quantity\n2026-01-05,s,p,1\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (HEADER.encode(), "has a header but no rows"),
        (HEADER.strip().encode(), "has a header but no rows"),
        (HEADER.encode() + b"\n\n", "has a header but no rows"),
        (b"date,store_id\n2026-01-05,s\n", "lacks the columns product_id, quantity. It has: date, store_id"),
        (b"date,DATE ,store_id,product_id,quantity\n", "names the column date more than once"),
        (GOOD.replace(",", ";").encode(), "by semicolons. Export it with commas"),
        (GOOD.replace(",", "\t").encode(), "by tabs"),
        (GOOD.encode("utf-16"), "Save it as “CSV UTF-8”"),
        ((GOOD + "2026-01-05,Köln,p,1\n").encode("latin-1"), "Save it as “CSV UTF-8”"),
        (gzip.compress(GOOD.encode() * 500, mtime=0)[:-30], "damaged or cut off"),
        (b"PAR1 and nothing more", "damaged or cut off"),
    ],
)
def test_it_refuses_a_file_that_cannot_be_used(read, content, message):
    with pytest.raises(UnusableFile, match=message):
        read(content)


def test_it_refuses_what_is_not_a_file(tmp_path):
    with pytest.raises(UnusableFile, match="is a folder"):
        read_sales(tmp_path, zone=UTC, today=TODAY)
    with pytest.raises(UnusableFile, match="does not exist"):
        read_sales(tmp_path / "nothing.csv", zone=UTC, today=TODAY)


def test_it_refuses_a_truncated_parquet(read, tmp_path):
    table = pa.table({"date": [TODAY] * 999, "store_id": ["s"] * 999, "product_id": ["p"] * 999, "quantity": [1] * 999})
    pq.write_table(table, tmp_path / "whole.parquet")
    with pytest.raises(UnusableFile, match="damaged or cut off"):
        read((tmp_path / "whole.parquet").read_bytes()[:-100], "cut.parquet")


def test_it_refuses_a_column_of_another_kind(read):
    table = pa.table({"date": [20260105], "store_id": ["s"], "product_id": ["p"], "quantity": [1]})
    with pytest.raises(UnusableFile, match="the column date holds int64; ISO dates"):
        read(table, "sales.parquet")


@settings(deadline=None)  # it writes files, on machines that may be busy
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("pqr"), st.integers(-5, 5)), min_size=1, max_size=30))
def test_no_unit_is_lost_or_made_up(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    rows = [f"2026-01-0{day + 1},s,{product},{quantity}" for day, product, quantity in lines]
    path.write_text("date,store_id,product_id,quantity\n" + "\n".join(rows))
    daily = read_sales(path, zone=UTC, today=TODAY).daily
    assert daily["quantity"].sum() == sum(quantity for *_, quantity in lines)
    assert len(daily) == len({(day, product) for day, product, _ in lines})
    assert daily["date"].min() >= to_day(dt.date(2026, 1, 1))
