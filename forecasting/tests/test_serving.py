import json
from io import StringIO

import pandas as pd
import pytest
from django.core.management import CommandError, call_command

from forecasting.models import Forecast, Product
from forecasting.night import Night
from forecasting.nightly import forecast
from forecasting.publishing import begin
from forecasting.serving import OutOfReach, UnknownItem, forecasts_of, predict_demand, who_serves
from forecasting.tests.nights import AS_OF, DAY, a_candidate, a_champion, load
from forecasting.tests.synthetic import shop
from mlops import promotion
from mlops.routing import NobodyServes

pytestmark = pytest.mark.django_db
ITEM = ("S1", "P2")


@pytest.fixture
def sold(acme, tmp_path):
    rows = shop(stores=2, products=4)
    late = (rows["store_id"] == "S0") & (rows["product_id"] == "P1") & (rows["date"] < pd.Timestamp(AS_OF - 10 * DAY))
    load(acme, tmp_path, rows[~late & (rows["date"] < pd.Timestamp(AS_OF))])
    acme.clock = AS_OF
    acme.save()
    return acme


@pytest.fixture
def served(sold):
    a_champion(sold)
    return sold


@pytest.fixture
def published(served):
    forecast(served, AS_OF)
    return served


# --- What is expected


def test_what_is_published_is_read(published):
    answer = predict_demand(*ITEM, AS_OF + 3 * DAY, customer=published)

    row = Forecast.objects.get(store__code="S1", product__code="P2", lead=4)
    assert (answer.prediction, answer.lower, answer.upper) == (row.prediction, row.lower, row.upper)
    assert (answer.version, answer.segment, answer.origin, answer.computed) == ("v1", "global", AS_OF - DAY, False)
    assert answer.why == f"v1 serves all products since {AS_OF}, decided by the system, by rule: it is better"


def test_what_is_not_published_is_computed_and_is_the_same(published):
    read = [predict_demand(*ITEM, AS_OF + ahead * DAY, customer=published) for ahead in (0, 13)]
    Forecast.objects.all().delete()

    for answer in read:
        computed = predict_demand(*ITEM, answer.date, customer=published)
        assert computed.computed
        assert computed.prediction == pytest.approx(answer.prediction, rel=1e-6)
        assert computed.upper == pytest.approx(answer.upper, rel=1e-6)


def test_a_day_beyond_the_horizon_is_computed(published):
    assert predict_demand(*ITEM, AS_OF + 20 * DAY, customer=published).computed


def test_a_past_day_is_computed_as_of_the_day_before(served):
    forecast(served, AS_OF)
    night = predict_demand(*ITEM, AS_OF, customer=served)
    Forecast.objects.all().delete()
    served.clock = AS_OF + 5 * DAY
    served.save()

    assert predict_demand(*ITEM, AS_OF, customer=served).prediction == pytest.approx(night.prediction, rel=1e-6)


def test_today_is_what_served_and_later_days_are_the_newest(published):
    before = predict_demand(*ITEM, AS_OF, customer=published)
    a_champion(published, rounds=9)
    forecast(published, AS_OF)

    answers = forecasts_of(published, *ITEM, AS_OF - 5 * DAY, AS_OF + 2 * DAY)

    assert [(one.date, one.version) for one in answers] == [(AS_OF, "v1"), (AS_OF + DAY, "v2"), (AS_OF + 2 * DAY, "v2")]
    assert answers[0] == before


def test_half_a_night_is_not_read(published):
    whole = forecasts_of(published, *ITEM, AS_OF, AS_OF + 30 * DAY)
    Forecast.objects.filter(lead=1).delete()
    half = begin(Night.of(published, AS_OF), [], 14, "cut short")
    Forecast.objects.filter(lead=5).update(run=half)
    row = Forecast.objects.filter(store__code="S1", product__code="P2", lead=2).get()
    row.pk, row.run, row.lead, row.date = None, half, 1, AS_OF
    row.save()

    left = forecasts_of(published, *ITEM, AS_OF, AS_OF + 30 * DAY)

    assert left == [one for one in whole if one.date not in (AS_OF, AS_OF + 4 * DAY)]


def test_a_range_takes_the_same_queries_however_long(published, django_assert_num_queries):
    for days in (0, 13):
        with django_assert_num_queries(1):
            forecasts_of(published, *ITEM, AS_OF, AS_OF + days * DAY)


def test_what_was_never_sold_here_is_expected_to_sell_like_other_new_products(published):
    Product.objects.create(customer=published, code="N", department="Electronics")

    answer = predict_demand("S1", "N", AS_OF + DAY, customer=published)

    assert answer.prediction > 0
    assert (answer.version, answer.lower, answer.computed) == ("", None, True)
    assert "the mean of other Electronics products when they were new" in answer.why


@pytest.mark.parametrize(
    ("item", "ahead", "says"),
    [
        (ITEM, 28, "too far ahead: sales are in up to .* Ask for an earlier day, or load newer sales"),
        (("S0", "P1"), -20, "was first sold on .* Ask for that day or a later one"),
        (("S1", "N"), -1, "had not been sold by .* Ask for a day after"),
        (ITEM, -1, f"No version served .*: the first one serves since {AS_OF}. Ask for that day or later"),
    ],
)
def test_a_day_that_cannot_be_forecast_is_refused_with_advice(published, item, ahead, says):
    Product.objects.create(customer=published, code="N", department="Electronics")

    with pytest.raises((OutOfReach, NobodyServes), match=says):
        predict_demand(*item, AS_OF + ahead * DAY, customer=published)


def test_a_day_that_the_version_was_trained_on_is_no_forecast(sold):
    promotion.promote(a_candidate(sold), by=None, reason="by hand", as_of=AS_OF - 5 * DAY)

    with pytest.raises(OutOfReach, match="is no forecast"):
        predict_demand(*ITEM, AS_OF - 2 * DAY, customer=sold)


@pytest.mark.parametrize(("item", "says"), [(("S9", "P2"), "no store “S9”"), (("S1", "P9"), "no product “P9”")])
def test_unknown_codes_are_named(published, item, says):
    with pytest.raises(UnknownItem, match=says):
        predict_demand(*item, AS_OF, customer=published)


def test_another_customers_codes_are_unknown(published, globex):
    with pytest.raises(UnknownItem, match="Globex Markets has no store"):
        forecasts_of(globex, *ITEM, AS_OF, AS_OF)


def test_without_a_champion_nothing_is_expected(sold):
    with pytest.raises(NobodyServes, match="Retrain first"):
        predict_demand(*ITEM, AS_OF, customer=sold)


# --- Who served, why, and who approved it


def test_who_served_is_one_query(published, django_assert_num_queries):
    with django_assert_num_queries(1):
        answer = who_serves(published, *ITEM, AS_OF)

    assert (answer.version, answer.segment, answer.served) == ("v1", "global", True)
    assert (answer.why, answer.approved_by) == ("it is better", "the system, by rule")


def test_what_served_in_the_morning_is_told_after_a_promotion_too(published, bob):
    promotion.promote(a_candidate(published, rounds=9), by=bob, reason="reviewed", as_of=AS_OF)
    forecast(published, AS_OF)

    assert who_serves(published, *ITEM, AS_OF).version == "v1"
    to_come = who_serves(published, *ITEM, AS_OF + DAY)
    assert (to_come.version, to_come.served, to_come.approved_by) == ("v2", False, bob.email)


def test_who_would_serve_follows_the_segments(served):
    served.stores.filter(code="S1").update(cluster="Urban")
    for segment in ("store_cluster:Urban", "department:Electronics", "lifecycle:new"):
        a_champion(served, segment=segment)

    found = {
        item: who_serves(served, *item, AS_OF).segment for item in [ITEM, ("S1", "P3"), ("S0", "P1"), ("S0", "P0")]
    }

    assert list(found.values()) == ["store_cluster:Urban", "department:Electronics", "lifecycle:new", "global"]


def command(*arguments: str) -> dict:
    out = StringIO()
    call_command("routing", "--customer", "acme", "--json", *arguments, stdout=out)
    return json.loads(out.getvalue())


def test_the_command_names_the_rules_of_a_day(served):
    a_champion(served, AS_OF, segment="department:Electronics")

    rules = command("--at", AS_OF.isoformat())["rules"]

    assert {(rule["segment"], rule["version"]) for rule in rules} == {
        ("global", "v1"),
        ("department:Electronics", "v2_electronics"),
    }


def test_the_command_tells_who_served_one_product(published):
    report = command("--store", "S1", "--product", "P2")

    assert (report["version"], report["served"], report["at"]) == ("v1", True, AS_OF.isoformat())


def test_the_command_does_not_say_that_a_former_version_still_serves(published, capsys):
    a_champion(published, AS_OF + DAY)
    call_command("routing", "--customer", "acme", "--store", "S1", "--product", "P2", "--at", AS_OF.isoformat())
    told = capsys.readouterr().out
    assert f"v1 served P2 in S1 on {AS_OF}.\nBy the rule for all products, from {AS_OF} on.\n" in told


def test_the_command_says_from_which_day_on_somebody_served(served):
    for day in (AS_OF - DAY, AS_OF - 400 * DAY):
        with pytest.raises(CommandError, match=f"on {day}: the first one serves since {AS_OF}"):
            command("--at", day.isoformat())


def test_the_command_wants_store_and_product_together(served):
    with pytest.raises(CommandError, match="together, or neither"):
        call_command("routing", "--customer", "acme", "--store", "S1")
