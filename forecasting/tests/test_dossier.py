"""The dossier tells a fault in the data, the calendar or the level of sales, and a worse model apart."""

import datetime as dt

import pytest

from forecasting.dossier import compiled, judge
from forecasting.models import FeedDay, Forecast, PlannedPrice, Sale, Series, Store
from forecasting.served import Windows
from forecasting.tests.served_days import AS_OF, BASELINE_MAE, LAST, RECENT_MAE, a_champion, day, serve, stock, windows
from mlops import drift_page
from mlops.models import ModelPolicy

pytestmark = pytest.mark.django_db
DRIFTED = windows(RECENT_MAE, BASELINE_MAE)


@pytest.fixture
def champion(acme):
    return a_champion(acme)


def found(customer):
    return compiled(customer, Windows.until(LAST, ModelPolicy.of(customer)), as_of=AS_OF)


# --- The verdict


def test_a_model_that_became_worse_is_real(champion, acme):
    serve(champion, off=DRIFTED)
    dossier = found(acme)

    assert dossier.verdict == "real"
    assert dossier.why.startswith("The MAE of seasonal naive stayed as it was: the days are hardly harder")
    assert dossier.facts["mae"]["change_pct"] == pytest.approx(44.53, abs=0.01)
    assert dossier.facts["suspects"] == []


def test_doubled_sales_are_the_level_and_not_the_model(champion, acme):
    serve(champion, off=DRIFTED, naive_off=windows(38, 15), level=windows(80, 40))
    dossier = found(acme)

    assert dossier.verdict == "calendar_or_level"
    assert "The MAE of seasonal naive, which learns nothing, rose by 153 % as well" in dossier.why
    assert "Sales per product and day rose by 100 %." in dossier.why


def test_a_store_day_that_repeats_another_is_a_fault(champion, acme):
    serve(champion, off=lambda date: 120.0 if date == day(2) else BASELINE_MAE)
    for store in Store.objects.all():
        copied = dict(Sale.objects.filter(store=store, date=day(9)).values_list("product", "quantity"))
        for sale in Sale.objects.filter(store=store, date=day(2)):
            Sale.objects.filter(pk=sale.pk).update(quantity=copied[sale.product_id])
    dossier = found(acme)

    assert dossier.verdict == "data_fault"
    assert {(one["day"], one["what"]) for one in dossier.facts["suspects"]} == {
        (day(2).isoformat(), "repeats an earlier day to the unit")
    }
    assert dossier.why.startswith("Without 2 suspicious store-days and 0 stores with gaps the change of MAE would be")


def test_lines_that_came_twice_are_a_fault(champion, acme):
    serve(champion, off=lambda date: 120.0 if date == day(3) else BASELINE_MAE)
    for sale in Sale.objects.filter(date=day(3)):
        Sale.objects.filter(pk=sale.pk).update(quantity=2 * sale.quantity)
    dossier = found(acme)

    assert dossier.verdict == "data_fault"
    assert "every quantity is even" in dossier.facts["suspects"][0]["what"]


def test_a_department_that_suddenly_sold_nothing_is_a_fault(champion, acme):
    serve(champion)
    lost = Forecast.objects.filter(store__code="S0", department="Grocery", date=day(1))
    lost.update(actual=0, prediction=150)
    dossier = found(acme)

    assert dossier.verdict == "data_fault"
    [suspect] = dossier.facts["suspects"]
    assert (suspect["day"], suspect["store"], suspect["department"]) == (day(1).isoformat(), "S0", "Grocery")
    assert suspect["what"].startswith("nothing sold, usually 7")


def test_a_store_that_came_back_changes_the_mean_by_itself(champion, acme):
    keys = stock(acme)
    quiet, loud = ([key for key in keys if key[0].code == code] for code in ("S0", "S1"))
    serve(champion, off=2, keys=quiet)
    serve(champion, off=20, keys=loud)
    absent = [day(n) for n in range(7, 30)]
    FeedDay.objects.filter(store__code="S1", date__in=absent).update(status="missing")
    Forecast.objects.filter(store__code="S1", date__in=absent).update(actual=None)
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"complete_day_share": 0.4})
    dossier = found(acme)

    assert dossier.facts["mae"]["change_pct"] > 15
    assert (dossier.verdict, dossier.facts["missing"]["stores"]) == ("data_fault", ["S1"])


def test_a_fault_that_explains_too_little_is_no_excuse(champion, acme):
    serve(champion, off=DRIFTED)
    Forecast.objects.filter(store__code="S0", department="Grocery", date=day(1)).update(actual=0, prediction=19)
    dossier = found(acme)

    assert len(dossier.facts["suspects"]) == 1
    assert dossier.verdict == "real"


def test_without_seasonal_naive_nothing_else_explains_it():
    unknown = {"change_pct": None}
    errors = {"mae": {"change_pct": 40.0}, "naive_mae": unknown, "level": unknown}

    assert judge(errors, 40.0, 0, 0, ModelPolicy())[0] == "real"


@pytest.mark.parametrize(("naive_worse", "verdict"), [(19.9, "real"), (20.0, "calendar_or_level"), (-5.0, "real")])
def test_seasonal_naive_must_have_lost_half_as_much(naive_worse, verdict):
    errors = {
        name: {"change_pct": value} for name, value in (("mae", 40.0), ("naive_mae", naive_worse), ("level", 3.0))
    }

    assert judge(errors, 40.0, 0, 0, ModelPolicy())[0] == verdict


# --- The facts


def test_departments_and_stores_that_carry_it_come_first(champion, acme):
    keys = stock(acme)
    bad = [key for key in keys if key[0].code == "S1" and key[1].department == "Electronics"]
    serve(champion, keys=[key for key in keys if key not in bad])
    serve(champion, keys=bad, off=windows(60, BASELINE_MAE))
    facts = found(acme).facts

    assert (facts["departments"][0]["name"], facts["stores"][0]["name"]) == ("Electronics", "S1")
    assert facts["departments"][0]["share"] == pytest.approx(1)
    assert facts["stores"][0]["mae"]["recent"] == pytest.approx((60 + BASELINE_MAE) / 2)


def test_what_sold_daily_and_then_nothing_is_counted(champion, acme):
    keys = stock(acme)
    serve(champion, keys=keys[3:])
    serve(champion, keys=keys[:3], level=windows(0, 40))

    assert found(acme).facts["silent"] == {"series": 80, "silent": 3}


def test_new_items_and_their_share_of_the_error_are_told(champion, acme):
    keys = stock(acme)
    serve(champion, keys=keys[8:], off=10)
    serve(champion, keys=keys[:8], off=90, days=[day(n) for n in range(7)])
    newest = [product.pk for _store, product in keys[:8]]
    Series.objects.filter(product__in=newest, store=keys[0][0]).update(first_sold=day(6))
    facts = found(acme).facts["new_items"]

    assert (facts["recent"], facts["baseline"]) == (pytest.approx(0.1), 0)
    assert facts["error_share"] == pytest.approx(0.5)


def test_prices_and_promotions_that_changed_are_counted(champion, acme):
    serve(champion)
    one = Sale.objects.order_by("product").first()
    Sale.objects.filter(product=one.product, date__gt=day(7)).update(unit_price=1.0)
    Sale.objects.update(promo=False)
    Sale.objects.filter(date__gt=day(7)).update(promo=True)
    facts = found(acme).facts

    assert facts["prices"] == {"series": 80, "changed": 2}
    assert facts["promotions"] == {"recent": 1.0, "baseline": 0.0}


def test_planned_promotions_count_where_there_are_plans(champion, acme):
    serve(champion)
    store, product = stock(acme)[0]
    for back, promo in ((1, True), (2, False), (20, False)):
        PlannedPrice.objects.create(
            store=store, product=product, date=day(back), known_at=day(back) - dt.timedelta(days=3), promo=promo
        )

    assert found(acme).facts["promotions"] == {"recent": 0.5, "baseline": 0.0}


def test_holidays_in_the_windows_and_soon_after_are_named(champion, acme):
    acme.country = "US"
    acme.save()
    serve(champion)
    holidays = found(acme).facts["holidays"]

    assert [(one["day"], one["when"]) for one in holidays] == [("2026-05-25", "baseline"), ("2026-06-19", "coming")]


def test_missing_days_are_listed(champion, acme):
    serve(champion, feed={day(2): "missing", day(20): "missing"})
    missing = found(acme).facts["missing"]

    assert missing["days"] == [day(20).isoformat(), day(2).isoformat()]
    assert missing["store_day_share"] == {"recent": pytest.approx(1 / 7), "baseline": pytest.approx(1 / 30)}


def test_the_dossier_reads_as_tables_without_any_code_word(champion, acme):
    serve(champion, off=DRIFTED)
    shown = drift_page.tables(found(acme).as_json())

    titles = [table.title for table in shown]
    assert titles == ["Numbers", "Data and assortment", "Departments that carry it", "Stores that carry it"]
    cells = " ".join(str(cell) for table in shown for row in [table.headers, *table.rows] for cell in row)
    assert "+44.5 %" in cells
    assert "_" not in cells
    assert "None" not in cells
