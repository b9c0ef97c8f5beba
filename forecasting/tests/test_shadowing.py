from pathlib import Path

import pytest

from forecasting import night
from forecasting.models import Forecast
from forecasting.night import Night
from forecasting.nightly import forecast, forecast_here
from forecasting.shadowing import LATENCY, Shadowed, shadow
from forecasting.tests.nights import AS_OF, DAY, a_challenger, a_champion, load
from mlops import promotion
from mlops import shadow as tests
from mlops.models import ShadowPrediction, ShadowTest
from shelfops import bulk

pytestmark = pytest.mark.django_db
SAID = [
    "version__version", "champion__version", "store_id", "product_id", "forecast_date", "champion_prediction",
    "challenger_prediction", "challenger_lower", "challenger_upper", "seasonal_naive", "department", "band",
]  # fmt: skip


@pytest.fixture
def served(acme, tmp_path):
    load(acme, tmp_path)
    a_champion(acme)
    return acme


def night_of(customer, as_of=AS_OF) -> Shadowed:
    """The forecasts, then what runs beside them."""
    known = Night.of(customer, as_of)
    forecast(customer, as_of, night=known)
    tests.start(customer, as_of)
    return shadow(known)


def said() -> list[tuple]:
    rows = ShadowPrediction.objects.order_by("version", "forecast_date", "store_id", "product_id")
    return list(rows.values_list(*SAID))


def days_of(version) -> list:
    rows = ShadowPrediction.objects.filter(version=version).order_by("forecast_date")
    return list(rows.values_list("forecast_date", flat=True).distinct())


def test_each_series_has_what_the_challenger_says_beside_what_served(served):
    challenger = a_challenger(served, rounds=9)

    done = night_of(served)

    assert done.rows == {"v2": 8}
    row = ShadowPrediction.objects.get(store_id="S0", product_id="P3")
    beside = Forecast.objects.get(lead=1, store__code="S0", product__code="P3")
    assert (row.version, row.champion, row.forecast_date) == (challenger, beside.version, beside.date)
    assert (row.champion_prediction, row.champion_lower, row.champion_upper) == (
        beside.prediction, beside.lower, beside.upper
    )  # fmt: skip
    same = ("seasonal_naive", "department", "band")
    assert [getattr(row, name) for name in same] == [getattr(beside, name) for name in same]
    assert row.actual_demand is None
    assert not row.replayed


def test_what_it_says_is_what_it_would_forecast(served):
    challenger = a_challenger(served, rounds=9)
    night_of(served)
    ahead = Forecast.objects.filter(lead=1).order_by("store__code", "product__code")
    in_shadow = ShadowPrediction.objects.order_by("store_id", "product_id")
    shadowed = list(in_shadow.values_list("challenger_prediction", "challenger_lower", "challenger_upper"))

    Forecast.objects.all().delete()
    promotion.promote(challenger, by=None, reason="to see", as_of=AS_OF)
    forecast(served, AS_OF)

    for mine, theirs in zip(shadowed, ahead.values_list("prediction", "lower", "upper"), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-6)


def test_the_same_night_twice_writes_nothing_new(served):
    a_challenger(served)
    night_of(served)
    before = list(ShadowPrediction.objects.values_list("pk", flat=True))

    again = night_of(served)

    assert again.rows == {}
    assert list(ShadowPrediction.objects.values_list("pk", flat=True)) == before


def test_missed_days_are_replayed_as_they_would_have_been(served):
    challenger = a_challenger(served)
    for number in range(4):
        night_of(served, AS_OF + number * DAY)
    undisturbed = said()
    ShadowPrediction.objects.filter(forecast_date__gt=AS_OF).delete()

    done = shadow(Night.of(served, AS_OF + 3 * DAY))

    assert said() == undisturbed
    assert done.replayed == {AS_OF + DAY, AS_OF + 2 * DAY}
    replayed = ShadowPrediction.objects.filter(version=challenger, replayed=True)
    assert set(replayed.values_list("forecast_date", flat=True)) == done.replayed


def test_a_crash_between_two_versions_is_taken_up_where_it_stopped(served, monkeypatch):
    a_challenger(served)
    a_challenger(served, rounds=9)
    forecast(served, AS_OF)
    tests.start(served, AS_OF)
    insert = bulk.insert
    with monkeypatch.context() as patched:
        patched.setattr(bulk, "insert", lambda target, rows: _once(insert, target, rows))
        with pytest.raises(KeyboardInterrupt):
            shadow(Night.of(served, AS_OF))
    assert set(ShadowPrediction.objects.values_list("version__version", flat=True)) == {"v2"}

    assert shadow(Night.of(served, AS_OF)).rows == {"v3": 8}


def _once(insert, target, rows):
    if ShadowPrediction.objects.exists():
        raise KeyboardInterrupt
    insert(target, rows)


def test_a_shadow_begins_with_its_test(served):
    night_of(served)
    night_of(served, AS_OF + DAY)
    challenger = a_challenger(served)

    night_of(served, AS_OF + 2 * DAY)

    assert days_of(challenger) == [AS_OF + 2 * DAY]


def test_no_day_that_a_version_was_trained_on_is_shadowed(served):
    challenger = a_challenger(served, AS_OF + 2 * DAY)
    for number in range(4):
        night_of(served, AS_OF + number * DAY)

    assert challenger.train_end == AS_OF + DAY
    assert days_of(challenger) == [AS_OF + 2 * DAY, AS_OF + 3 * DAY]


def test_a_version_of_a_segment_runs_on_the_series_of_that_segment(served):
    a_challenger(served, segment="department:Electronics")

    assert night_of(served).rows == {"v2_electronics": 4}
    assert set(ShadowPrediction.objects.values_list("product_id", flat=True)) == {"P1", "P3"}


def test_a_global_challenger_runs_where_a_global_champion_serves(served):
    a_champion(served, segment="department:Electronics")
    a_challenger(served)

    assert night_of(served).rows == {"v3": 4}
    assert set(ShadowPrediction.objects.values_list("product_id", "champion__version")) == {("P0", "v1"), ("P2", "v1")}


def test_a_version_without_its_files_leaves_the_others_running(served, settings):
    broken, sound = a_challenger(served, rounds=7), a_challenger(served, rounds=9)
    night._loaded.cache_clear()
    (Path(settings.ARTEFACT_DIR) / broken.artefact / "serving-booster.ubj").unlink()

    done = night_of(served)

    assert done.rows == {sound.version: 8}
    assert done.notes[0].startswith("v2 is left out: ")


def test_an_archived_version_leaves_the_shadow_and_a_judged_one_stays_a_while(served):
    gone, judged = a_challenger(served), a_challenger(served, rounds=9)
    night_of(served)
    promotion.archive(gone, by=None, reason="no case", as_of=AS_OF)
    ShadowTest.objects.filter(version=judged).update(status="completed", completed_on=AS_OF, verdict="keep")

    assert night_of(served, AS_OF + DAY).rows == {"v3": 8}

    ShadowTest.objects.filter(version=judged).update(completed_on=AS_OF - 200 * DAY)
    assert night_of(served, AS_OF + 2 * DAY).rows == {}


def test_how_long_both_take_is_measured_once(served):
    challenger = a_challenger(served)
    night_of(served)

    measured = ShadowTest.objects.get(version=challenger).result[LATENCY]

    assert set(measured) == {"champion", "challenger"}
    assert min(measured.values()) > 0
    night_of(served, AS_OF + DAY)
    assert ShadowTest.objects.get(version=challenger).result[LATENCY] == measured


def test_nothing_served_is_nothing_to_shadow(served):
    a_challenger(served)
    tests.start(served, AS_OF)

    assert shadow(Night.of(served, AS_OF)).rows == {}


def test_the_job_writes_both(served):
    a_challenger(served)
    served.clock = AS_OF
    served.save()

    run = forecast_here(served)

    assert (run.result["rows"], run.result["shadow_rows"]) == (8 * 14, {"v2": 8})
