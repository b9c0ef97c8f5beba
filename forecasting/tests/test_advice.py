"""The advisor: its signals by hand, its judgement, how long a shadow would have to last, its command and its page."""

import datetime as dt
import json
from io import StringIO
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from django.core.management import call_command
from django.urls import reverse

from forecasting import advice
from forecasting.advice import advise, demand, error_signal, weekly_strength
from forecasting.panel import from_transactions
from forecasting.tests.nights import load
from forecasting.tests.synthetic import LAST, shop
from mlops.models import BacktestResult, ModelPolicy, ModelVersion, ShadowPrediction
from mlops.tests.ledger import a_version

PAGE = "/segments/advice"
DAYS = 20
ONE_DAY = dt.timedelta(days=1)


@pytest.fixture
def champion(acme, tmp_path):
    """Of two loaded departments it forecasts Electronics badly, on twenty days."""
    ModelPolicy.objects.create(customer=acme, segment_min_rows=300)
    acme.clock = LAST + ONE_DAY
    acme.save()
    load(acme, tmp_path, shop(stores=2, products=4))
    version = a_version(acme, "champion")
    version.importances = [
        {"feature": "lag7", "share": 0.6}, {"feature": "category", "share": 0.3}, {"feature": "promo", "share": 0.1},
    ]  # fmt: skip
    version.save()
    for back in range(DAYS):
        judged(version, back, "", mae=2.0, naive=4.0)
        judged(version, back, "Electronics", mae=3.0, naive=4.0 + back % 2)
        judged(version, back, "Grocery", mae=1.0, naive=4.0)
    return version


def judged(version, back, department, **maes):
    """One day one day ahead, of the version and of seasonal naive."""
    day = LAST - back * ONE_DAY
    scope = {"scope_type": "department" if department else "all", "scope_value": department}
    days = {"origin": day - ONE_DAY, "first_day": day, "day": day}
    for baseline, mae in {"": maes["mae"], "seasonal_naive": maes["naive"]}.items():
        BacktestResult.objects.create(
            customer=version.customer, version=version, baseline=baseline, kind="daily", lead_band="1", n=10,
            units=60, mae=mae, **days, **scope,
        )  # fmt: skip


def in_shadow(champion, department, differences):
    """Past shadow days on which a challenger's MAE was lower by these."""
    challenger = a_version(champion.customer, "archived")
    ShadowPrediction.objects.bulk_create(
        ShadowPrediction(
            customer=champion.customer, version=challenger, champion=champion, store_id="S0", product_id="P1",
            forecast_date=LAST - back * ONE_DAY, champion_prediction=10 + less, challenger_prediction=10,
            actual_demand=10, department=department,
        )
        for back, less in enumerate(differences)
    )  # fmt: skip


def of(report, name):
    return next(one for one in report["departments"] if one["department"] == name)


# --- The signals, by hand


def test_the_error_is_held_against_seasonal_naives_share_of_the_whole():
    own, whole = {"against_naive": 0.75}, {"against_naive": 0.5}
    signal = error_signal(own, whole, 5)
    assert signal["gain_pct"] == pytest.approx(100 / 3)  # 1 - 0.5 / 0.75
    assert signal["speaks_for"] is True
    assert error_signal(whole, own, 5)["speaks_for"] is False
    assert error_signal({"against_naive": 0.52}, whole, 5)["speaks_for"] is False  # 3.8 % is less than the target


@pytest.mark.parametrize(("own", "whole"), [(None, {"against_naive": 0.5}), ({"against_naive": None}, None)])
def test_an_unknown_error_speaks_neither_way(own, whole):
    signal = error_signal(own, whole, 5)
    assert (signal["speaks_for"], signal["gain_pct"]) == (None, None)


def test_weekly_strength_is_the_share_of_variance_that_the_weekday_explains():
    weekday = np.tile(np.arange(7), 2)
    assert weekly_strength(np.tile([1.0, 1, 1, 1, 1, 5, 5], 2), weekday) == pytest.approx(1)
    # one weekday swings between 0 and 2 around a mean of 1, as do all: nothing is explained
    assert weekly_strength(np.repeat([0.0, 2.0], 7), weekday) == pytest.approx(0)
    assert weekly_strength(np.ones(14), weekday) is None
    assert weekly_strength(np.arange(7.0), np.arange(7)) is None


def test_demand_counts_what_was_sold_and_promoted():
    rows = shop(stores=1, products=2, last=dt.date(2026, 2, 1))
    found = demand(from_transactions(rows))
    own = rows[rows["department"] == "Electronics"]
    facts = found["Electronics"]
    assert facts["promo_share"] == pytest.approx(own["promo"].mean(), abs=0.05)
    assert (facts["series"], facts["rows"]) == (1, facts["history_days"])
    assert found[""]["rows"] == sum(found[name]["rows"] for name in ("Electronics", "Grocery"))
    assert facts["volatility"] > 0


# --- The judgement


@pytest.mark.django_db
def test_a_badly_forecast_department_with_enough_data_is_worth_a_trial(champion):
    report = advise(champion.customer)
    assert [one["department"] for one in report["departments"]] == ["Electronics", "Grocery"]
    electronics = of(report, "Electronics")
    error = electronics["signals"]["error"]
    assert electronics["judgement"] == "worth_a_trial"
    assert (error["mae"], error["wape"], error["days"]) == (3.0, 0.5, DAYS)
    assert error["against_naive"] == pytest.approx(3 / 4.5)
    assert error["gain_pct"] == pytest.approx(25)  # 1 - (2 / 4) / (3 / 4.5)
    assert "its MAE would be 25.0 % lower" in electronics["reason"]
    assert of(report, "Grocery")["judgement"] == "no_case"


@pytest.mark.django_db
def test_department_or_category_above_an_even_share_is_among_the_top(champion):
    signal = of(advise(champion.customer), "Electronics")["signals"]["importance"]
    assert signal["features"] == [{"feature": "category", "rank": 2, "of": 3, "share": 0.3}]
    assert signal["speaks_for"] is False  # an even share is a third
    ModelVersion.objects.update(
        importances=[{"feature": "department", "share": 0.9}, {"feature": "lag7", "share": 0.1}]
    )
    assert of(advise(champion.customer), "Electronics")["signals"]["importance"]["speaks_for"] is True


@pytest.mark.django_db
def test_too_few_rows_come_before_everything_else(champion):
    ModelPolicy.objects.update_or_create(customer=champion.customer, defaults={"segment_min_rows": 30_000})
    one = of(advise(champion.customer), "Electronics")
    assert one["judgement"] == "too_little_data"
    assert "30,000 rows and 120 days are needed" in one["reason"]


@pytest.mark.django_db
def test_a_department_that_has_its_own_model_needs_no_trial(champion):
    a_version(champion.customer, "champion", segment="department:Electronics")
    assert of(advise(champion.customer), "Electronics")["judgement"] == "has_its_own"


@pytest.mark.django_db
def test_nothing_known_is_said_and_null(acme, tmp_path):
    report = advise(acme)
    assert (report["departments"], report["champion"]) == ([], None)
    ModelPolicy.objects.update(segment_min_rows=300)
    assert "Load some" in report["note"]
    acme.clock = LAST + ONE_DAY
    acme.save()
    load(acme, tmp_path, shop(stores=2, products=4))
    report = advise(acme)
    one = of(report, "Grocery")
    assert (one["judgement"], one["signals"]["error"]["mae"], one["shadow_days"]["needed"]) == ("unknown", None, None)
    assert "There is no champion yet" in report["note"]


# --- How many shadow days


@pytest.mark.django_db
def test_shadow_days_from_past_shadow_tests(champion):
    # deviation of (1, 3) x 5 is sqrt(10 / 9), by the champion's mean error of 2: (2.4865 x 0.5270 / 0.05)^2 = 686.9
    in_shadow(champion, "Electronics", [1.0, 3.0] * 5)
    days = of(advise(champion.customer), "Electronics")["shadow_days"]
    assert (days["by_power"], days["needed"], days["pairs"], days["basis"]) == (687, 687, 10, "past shadow tests")


@pytest.mark.django_db
def test_shadow_days_from_seasonal_naive_where_nothing_was_in_shadow(champion):
    in_shadow(champion, "Electronics", [1.0, 3.0])  # fewer than the policy's 7
    days = of(advise(champion.customer), "Electronics")["shadow_days"]
    # deviation of ten 1 and ten 2 is sqrt(5 / 19) = 0.513: (2.4865 x 0.513 / 0.15)^2 = 72.3
    assert (days["by_power"], days["pairs"], days["basis"]) == (73, 20, "the champion against seasonal naive")


@pytest.mark.django_db
def test_never_fewer_than_the_policys_days(champion):
    days = of(advise(champion.customer), "Grocery")["shadow_days"]  # its differences never vary
    assert (days["by_power"], days["needed"]) == (1, 14)


# --- The command and the page


@pytest.mark.django_db
def test_the_command_prints_one_object_or_lines(champion):
    out = StringIO()
    call_command("advise_segments", "--customer", "acme", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert of(report, "Electronics")["judgement"] == "worth_a_trial"
    out = StringIO()
    call_command("advise_segments", stdout=out)
    assert (
        "Electronics: Worth a trial: its error is 66.7 % of seasonal naive’s, that of all products 50.0 %"
        in out.getvalue()
    )
    assert "shadow days for 5 %: 73" in out.getvalue()


@pytest.mark.django_db
def test_the_page_tells_the_signals_and_drafts_the_proposal(champion, alice, client_of):
    page = client_of(alice).get(PAGE).content.decode()
    for text in [
        "Worth a trial</span>",
        "No case now</span>",
        "Category is number 2 of 3 (30.0 %)",
        "+25.0 %",
        "66.7 %",
    ]:
        assert text in page
    assert "None" not in page
    link = page.split('class="button primary" href="')[1].split('"')[0].replace("&amp;", "&")
    told = parse_qs(urlparse(link).query)
    assert told["segments"] == ["department:Electronics"]
    assert "takes 73 shadow days to show" in told["hypothesis"][0]
    form = client_of(alice).get(link).content.decode()
    assert 'value="A model of its own for Electronics"' in form
    assert form.count(" checked") == 2


@pytest.mark.django_db
def test_who_may_not_propose_reads_it_without_the_button(champion, charlie, mallory, client_of):
    page = client_of(charlie).get(PAGE).content.decode()
    assert "Worth a trial" in page
    assert "Draft the proposal" not in page
    assert client_of(mallory).get(f"{PAGE}?customer=acme").status_code == 404
    assert client_of(charlie).post(PAGE).status_code == 405


@pytest.mark.django_db
def test_the_page_of_a_customer_without_sales_says_what_to_do(acme, alice, client_of):
    page = client_of(alice).get(PAGE).content.decode()
    assert "Load some: manage.py load_sales FILE." in page
    assert "<table" not in page
    assert "None" not in page


@pytest.mark.django_db
def test_the_list_of_experiments_leads_there(alice, client_of):
    page = client_of(alice).get(reverse("admin:mlops_modelexperiment_changelist")).content.decode()
    link = reverse("admin:mlops_modelexperiment_advice")
    assert link in page
    assert client_of(alice).get(link)["Location"] == PAGE


def test_every_judgement_has_its_words():
    assert set(advice.LABELS) == {"worth_a_trial", "no_case", "too_little_data", "has_its_own", "unknown"}
