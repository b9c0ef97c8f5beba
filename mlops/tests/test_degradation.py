"""When a champion counts as worse than it was in its hold-out, and how often that is told."""

import datetime as dt

import numpy as np
import pytest

from alerts.acting import act
from alerts.models import MLAlert
from mlops import degradation
from mlops.metrics import measure
from mlops.models import BacktestResult, DegradationCheck, ModelPolicy, ModelVersion
from mlops.tests.ledger import DAY, a_version, rows
from shelfops.models import User

POLICY = ModelPolicy()
NIGHTS = [DAY + dt.timedelta(days=20 + number) for number in range(10)]


def a_window(wape: float | None = 0.2, *, days: int = 7, scored: int = 700, units: float = 1000) -> degradation.Window:
    return degradation.Window(
        first_day=DAY, last_day=DAY + dt.timedelta(days=6), days=days, rows=scored,
        error=(wape or 0) * units, units=units if wape is not None else 0,
    )  # fmt: skip


# --- Measuring


@pytest.mark.parametrize(
    ("recent", "degraded"), [(0.1, False), (0.2, False), (0.22, False), (0.2201, True), (0.4, True)]
)
def test_strictly_more_than_the_threshold_is_degraded(recent, degraded):
    found = degradation.measure(a_window(recent), 0.2, POLICY)

    assert found.degraded is degraded
    assert found.increase_pct == pytest.approx((recent - 0.2) / 0.2 * 100)


@pytest.mark.parametrize(
    ("window", "holdout", "words"),
    [
        (a_window(days=5), 0.2, "5 days were scored in the last 7 days"),
        (a_window(scored=199), 0.2, "199 forecasts"),
        (a_window(None), 0.2, "nothing was sold"),
        (a_window(), None, "no hold-out one day ahead"),
        (a_window(), 0.0, "no hold-out one day ahead"),
    ],
)
def test_with_too_little_to_go_by_nothing_is_said(window, holdout, words):
    found = degradation.measure(window, holdout, POLICY)

    assert (found.degraded, found.increase_pct) == (None, None)
    assert words in found.reason


def test_six_of_seven_days_are_enough():
    assert degradation.measure(a_window(0.4, days=6), 0.2, POLICY).degraded


def test_halved_demand_is_caught_though_the_mae_falls():
    usual = rows(actual=10.0, off=2.0)
    fewer = usual.assign(y=usual["y"] / 2, prediction=usual["y"] / 2 + 0.8 * (usual["prediction"] - usual["y"]))
    before, after = measure(usual).iloc[0], measure(fewer).iloc[0]

    assert after["mae"] < before["mae"]
    assert degradation.measure(a_window(after["wape"]), before["wape"], POLICY).degraded


# --- Nights


@pytest.fixture
def champion(acme):
    """Its hold-out's WAPE one day ahead was 20 %."""
    version = a_version(acme, "champion")
    _result(version, "holdout", 0.2, first_day=DAY - dt.timedelta(days=30), day=DAY)
    return version


def _result(version: ModelVersion, kind: str, wape: float, *, day: dt.date, **changes: object) -> BacktestResult:
    values = {"origin": day, "first_day": day, "lead_band": "1", "n": 100, "units": 1000.0, **changes}
    return BacktestResult.objects.create(
        customer=version.customer, version=version, kind=kind, day=day, wape=wape, mae=wape * 10, **values
    )


def served(version: ModelVersion, wape: float, last_day: dt.date, days: int = 7) -> None:
    BacktestResult.objects.filter(version=version, kind="daily").delete()
    for number in range(days):
        _result(version, "daily", wape, day=last_day - dt.timedelta(days=number))


def night(version: ModelVersion, wape: float | None, as_of: dt.date) -> DegradationCheck:
    """One night on which the last seven days had this WAPE; None: too few of them are in."""
    last_day = as_of - dt.timedelta(days=1)
    served(version, wape or 0.2, last_day, days=7 if wape else 2)
    return degradation.check(version.customer, as_of=as_of, last_day=last_day)[0]


def alerts() -> int:
    return MLAlert.objects.filter(alert_type="backtest_degradation").count()


def dismiss_all(by: User) -> None:
    for alert in MLAlert.objects.open():
        act(alert, "dismiss", by=by, notes="seen")


def test_the_wape_is_of_all_units_of_the_days_that_it_served(champion):
    last_day = champion.champion_since + dt.timedelta(days=6)
    for ago in range(7):
        many = {"n": 300, "units": 9000.0} if ago == 0 else {}
        _result(champion, "daily", 0.1 * (ago + 1), day=last_day - dt.timedelta(days=ago), **many)
    _result(champion, "daily", 9.0, day=last_day - dt.timedelta(days=7), units=5000.0)
    _result(champion, "daily", 9.0, day=last_day, baseline="seasonal_naive")
    _result(champion, "daily", 9.0, day=last_day, scope_type="store", scope_value="s1")

    window = degradation.window(champion, last_day, POLICY)

    error = 0.1 * 10 * 300 + sum(0.1 * (ago + 1) * 10 * 100 for ago in range(1, 7))
    assert (window.days, window.rows, window.units) == (7, 900, 15000.0)
    assert window.wape == pytest.approx(error / 15000)


def test_a_department_that_has_its_own_champion_is_on_neither_side(acme):
    """Electronics was easy at 10 %, Grocery is as hard as it was at 50 %: together they made 30 %."""
    champion = a_version(acme, "champion")
    last_day = champion.champion_since + dt.timedelta(days=6)
    holdout = {"first_day": DAY - dt.timedelta(days=30), "day": DAY}
    _result(champion, "holdout", 0.3, **holdout)
    for name, wape in (("Electronics", 0.1), ("Grocery", 0.5)):
        _result(champion, "holdout", wape, scope_type="department", scope_value=name, **holdout)
    for ago in range(7):
        day = last_day - dt.timedelta(days=ago)
        _result(champion, "daily", 0.5, day=day)
        _result(champion, "daily", 0.5, day=day, scope_type="department", scope_value="Grocery")
    assert degradation.holdout_wape(champion) == pytest.approx(0.3)

    a_version(acme, "champion", segment="department:Electronics")

    assert degradation.holdout_wape(champion) == pytest.approx(0.5)
    found = degradation.check(acme, as_of=last_day + dt.timedelta(days=1), last_day=last_day)
    assert next((one.version_id, one.degraded) for one in found) == (champion.pk, False)
    assert not alerts()


def test_a_part_that_no_backtest_tells_apart_leaves_it_unknown(champion):
    a_version(champion.customer, "champion", segment="lifecycle:new")
    assert degradation.holdout_wape(champion) is None


def test_what_it_said_before_it_served_does_not_count(champion):
    last_day = champion.champion_since + dt.timedelta(days=3)
    served(champion, 0.9, last_day)

    assert degradation.window(champion, last_day, POLICY).days == 4
    assert degradation.check(champion.customer, as_of=last_day, last_day=last_day)[0].degraded is None


def test_a_night_before_it_became_champion_is_no_night_of_its(champion):
    before = champion.champion_since - dt.timedelta(days=1)
    assert degradation.check(champion.customer, as_of=before, last_day=before) == []
    assert len(degradation.check(champion.customer, as_of=champion.champion_since, last_day=before)) == 1
    assert DegradationCheck.objects.get().as_of == champion.champion_since


def test_an_episode_is_told_once_and_the_next_one_again(champion, alice):
    told = []
    for as_of, wape in zip(NIGHTS, [0.2, 0.3, 0.3, None, 0.4, 0.2, None, 0.3, 0.3], strict=False):
        night(champion, wape, as_of)
        told.append(alerts())
        dismiss_all(alice)

    assert told == [0, 1, 1, 1, 1, 1, 1, 2, 2]
    kept = DegradationCheck.objects.order_by("as_of").values_list("degraded", flat=True)
    assert list(kept) == [False, True, True, None, True, False, None, True, True]


def test_the_alert_says_by_how_much_and_what_to_do(champion):
    night(champion, 0.3, NIGHTS[0])

    alert = MLAlert.objects.get()
    assert (alert.version, alert.segment, alert.severity) == ("v1", "global", "warning")
    assert "WAPE 30.0% against 20.0% in its hold-out: 50.0 % worse" in alert.message
    assert alert.metadata["increase_pct"] == pytest.approx(50)
    assert alert.metadata["threshold_pct"] == 10
    assert not np.isnan(alert.metadata["recent_wape"])


def test_the_same_night_twice_changes_nothing(champion, alice):
    first = night(champion, 0.3, NIGHTS[0])
    dismiss_all(alice)
    again = degradation.check(champion.customer, as_of=NIGHTS[0], last_day=NIGHTS[0] - dt.timedelta(days=1))

    assert (again[0].pk, again[0].created_at) == (first.pk, first.created_at)
    assert alerts() == 1


def test_a_night_is_looked_at_again_when_its_sales_were_corrected(champion):
    night(champion, 0.2, NIGHTS[0])

    assert night(champion, 0.3, NIGHTS[0]).degraded
    assert (DegradationCheck.objects.count(), alerts()) == (1, 1)


def test_a_new_champion_begins_a_new_episode(champion):
    night(champion, 0.3, NIGHTS[0])
    successor = a_version(champion.customer, "champion", as_of=DAY + dt.timedelta(days=1))
    _result(successor, "holdout", 0.2, first_day=DAY - dt.timedelta(days=30), day=DAY)

    night(successor, 0.3, NIGHTS[1])

    assert [alert.version for alert in MLAlert.objects.order_by("pk")] == ["v1", "v2"]


def test_a_version_that_came_back_begins_a_new_episode(champion):
    night(champion, 0.3, NIGHTS[0])
    ModelVersion.objects.filter(pk=champion.pk).update(champion_since=NIGHTS[1])
    champion.refresh_from_db()

    night(champion, 0.3, NIGHTS[8])

    assert alerts() == 2


def test_what_drift_asked_for_has_no_hold_out_one_day_ahead_and_no_verdict(acme):
    version = a_version(acme, "champion")

    check = night(version, 0.9, NIGHTS[0])

    assert (check.degraded, check.holdout_wape, check.recent_wape) == (None, None, pytest.approx(0.9))


def test_each_segments_champion_is_looked_at_by_itself(champion, globex):
    electronics = a_version(champion.customer, "champion", segment="department:Electronics")
    a_version(globex, "champion")

    found = degradation.check(champion.customer, as_of=NIGHTS[0], last_day=NIGHTS[0])

    assert [check.version for check in found] == [champion, electronics]
