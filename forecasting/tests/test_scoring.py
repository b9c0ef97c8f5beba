"""What a night's scoring leaves in the ledger, against the sales as they were brought."""

import datetime as dt
import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from django.core.management import CommandError, call_command
from django.db import models

from alerts.models import MLAlert
from forecasting import actuals, scoring
from forecasting.feed import mark_day
from forecasting.loading import load_sales
from forecasting.models import FeedDay, Forecast, ForecastRun, Store
from forecasting.tests.served import serve, shadow
from forecasting.tests.synthetic import shop
from mlops import metrics
from mlops.models import BacktestResult, DegradationCheck, ModelVersion, ShadowPrediction, ShadowTest
from mlops.tests.ledger import a_version

pytestmark = pytest.mark.django_db

FIRST, LAST = dt.date(2026, 3, 2), dt.date(2026, 3, 12)
NIGHT = dt.date(2026, 3, 11)  # sales of the 10th are the last that it may know
DAYS = [dt.date(2026, 3, day) for day in range(8, 11)]
TABLES = [Forecast, ShadowPrediction, BacktestResult, FeedDay, ShadowTest, DegradationCheck, MLAlert]


@pytest.fixture
def raw():
    """Sales with returns, and without a row where nothing was sold."""
    rows = shop(stores=2, products=6, first=FIRST, last=LAST)
    rows.loc[rows.index % 17 == 3, "quantity"] = -2
    return rows[rows["quantity"] != 0]


@pytest.fixture
def load(acme, tmp_path):
    def load(rows):
        rows.to_parquet(tmp_path / "sales.parquet", index=False)
        return load_sales(acme, tmp_path / "sales.parquet")

    return load


@pytest.fixture
def champion(acme, raw, load):
    """Served on three days, in a shop whose sales are all in."""
    load(raw)
    version = a_version(acme, "champion", as_of=dt.date(2026, 3, 7))
    serve(version, *DAYS)
    return version


@pytest.fixture
def challenger(acme, champion):
    version = a_version(acme, "challenger", as_of=dt.date(2026, 3, 7))
    ShadowTest.objects.create(customer=acme, version=version, started_on=DAYS[0], target_days=14)
    shadow(version, champion, *DAYS)
    return version


def everything() -> dict[str, list]:
    """The tables that scoring writes, whole."""
    return {table.__name__: list(table.objects.order_by("pk").values_list()) for table in TABLES}


def daily(version: ModelVersion, day: dt.date, baseline: str = "") -> dict[tuple[str, str], BacktestResult]:
    found = BacktestResult.objects.filter(version=version, kind="daily", day=day, baseline=baseline)
    return {(one.scope_type, one.scope_value): one for one in found}


def by_hand(raw: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """The day's forecasts beside what the raw sales say of it."""
    table = pd.DataFrame(
        Forecast.objects.filter(date=day).values(
            "store__code", "product__code", "department", "band", "prediction", "lower", "upper", "seasonal_naive",
            "actual",
        )
    )  # fmt: skip
    of_day = raw[raw["date"].dt.date == day].groupby(["store_id", "product_id"])["quantity"].sum()
    keys = pd.MultiIndex.from_frame(table[["store__code", "product__code"]])
    return table.assign(y=of_day.reindex(keys).fillna(0).clip(lower=0).to_numpy(float))


def test_actuals_are_what_was_sold_never_negative_and_0_without_a_row(acme, champion, raw):
    report = scoring.score(acme, NIGHT)

    assert [one.day for one in report.days] == DAYS
    for day in DAYS:
        table = by_hand(raw, day)
        assert table["actual"].tolist() == table["y"].tolist()
        assert (table["y"] == 0).any()


@pytest.mark.parametrize("column", ["department", "store__code", "band"])
def test_errors_by_scope_are_those_of_the_raw_sales(acme, champion, raw, column):
    scoring.score(acme, NIGHT)

    scope = {"department": "department", "store__code": "store", "band": "velocity"}[column]
    for value, rows in by_hand(raw, DAYS[1]).groupby(column):
        own, naive = (daily(champion, DAYS[1], baseline)[scope, value] for baseline in ("", "seasonal_naive"))
        error = rows["prediction"] - rows["y"]
        assert own.mae == pytest.approx(error.abs().mean())
        assert own.wape == pytest.approx(error.abs().sum() / rows["y"].sum())
        assert own.bias == pytest.approx(error.sum() / rows["y"].sum())
        assert own.coverage == pytest.approx(((rows["y"] >= rows["lower"]) & (rows["y"] <= rows["upper"])).mean())
        assert naive.mae == pytest.approx((rows["seasonal_naive"] - rows["y"]).abs().mean())
        assert (own.n, naive.n, own.origin, own.first_day) == (len(rows), len(rows), DAYS[0], DAYS[1])


def test_all_measures_are_those_of_the_metrics(acme, champion, raw):
    scoring.score(acme, NIGHT)

    expected = metrics.measure(by_hand(raw, DAYS[0])).iloc[0].replace({np.nan: None}).to_dict()
    found = daily(champion, DAYS[0])["all", ""]
    assert {name: getattr(found, name) for name in metrics.METRICS} == pytest.approx(expected)
    assert found.mase is None
    assert found.created_at


def test_the_report_says_how_far_off_the_forecasts_were(acme, champion, raw):
    report = scoring.score(acme, NIGHT)

    table = by_hand(raw, DAYS[2])
    assert report.days[2].mae == pytest.approx((table["prediction"] - table["y"]).abs().mean())
    assert report.days[2].seasonal_naive_mae == pytest.approx((table["seasonal_naive"] - table["y"]).abs().mean())
    assert (report.days[2].rows, report.days[2].excluded) == (12, {})


def test_the_same_night_twice_changes_nothing(acme, champion, challenger):
    scoring.score(acme, NIGHT)
    before = everything()

    assert scoring.score(acme, NIGHT).days == []
    assert everything() == before


# --- Days and stores that are not in


def test_a_store_that_is_missing_is_left_out_and_counted(acme, raw, load):
    load(raw[~((raw["store_id"] == "S1") & (raw["date"].dt.date == DAYS[0]))])
    FeedDay.objects.filter(store__code="S1", date=DAYS[0]).delete()
    version = a_version(acme, "champion", as_of=dt.date(2026, 3, 7))
    serve(version, *DAYS)

    first = scoring.score(acme, NIGHT).days[0]

    assert (first.rows, first.excluded) == (6, {"the store's sales are missing": 6})
    assert set(Forecast.objects.filter(date=DAYS[0], store__code="S1").values_list("actual", flat=True)) == {None}
    assert ("store", "S1") not in daily(version, DAYS[0])
    load(raw)
    assert [one.day for one in scoring.score(acme, NIGHT).days] == [DAYS[0]]
    assert daily(version, DAYS[0])["store", "S1"].n == 6


def test_a_store_marked_closed_later_is_scored_no_more(acme, champion, challenger, alice):
    scoring.score(acme, NIGHT)
    mark_day(Store.objects.get(code="S0"), DAYS[1], FeedDay.Status.CLOSED, by=alice, note="stocktaking")

    (again,) = scoring.score(acme, NIGHT).days

    assert (again.day, again.rows, again.excluded) == (DAYS[1], 6, {"the store was closed": 6})
    for version in (champion, challenger):
        assert ("store", "S0") not in daily(version, DAYS[1])
        assert daily(version, DAYS[1])["all", ""].n == 6
    assert not ShadowPrediction.objects.filter(store_id="S0", forecast_date=DAYS[1], actual_demand__gte=0).exists()


def test_a_day_that_nobody_can_score_any_more_has_no_result(acme, champion, alice):
    scoring.score(acme, NIGHT)
    for store in Store.objects.all():
        mark_day(store, DAYS[2], FeedDay.Status.MISSING, by=alice, note="the till was broken")

    (again,) = scoring.score(acme, NIGHT).days

    assert (again.day, again.rows, again.mae, again.wape) == (DAYS[2], 0, None, None)
    assert daily(champion, DAYS[2]) == daily(champion, DAYS[2], "seasonal_naive") == {}


def test_a_day_that_is_not_over_is_not_scored(acme, champion):
    serve(champion, NIGHT)

    assert [one.day for one in scoring.score(acme, NIGHT).days] == DAYS
    assert set(Forecast.objects.filter(date=NIGHT).values_list("actual", flat=True)) == {None}
    assert [one.day for one in scoring.score(acme, LAST).days] == [NIGHT]


def test_days_that_were_made_up_for_are_scored_like_others(acme, raw, load):
    load(raw)
    version = a_version(acme, "champion", as_of=dt.date(2026, 3, 7))
    serve(version, *DAYS, as_of=NIGHT)

    assert [one.rows for one in scoring.score(acme, NIGHT).days] == [12, 12, 12]


def test_a_customer_whom_nobody_has_served_has_nothing_to_score(acme, raw, load):
    load(raw)

    assert scoring.score(acme, NIGHT).days == []


# --- Corrections


def test_corrected_sales_score_their_day_again_and_no_other(acme, champion, raw, load):
    scoring.score(acme, NIGHT)
    before = daily(champion, DAYS[0])["all", ""]
    raw.loc[(raw["date"].dt.date == DAYS[0]) & (raw["product_id"] == "P5"), "quantity"] = 90
    load(raw[raw["date"].dt.date == DAYS[0]])

    assert [(one.day, one.changed) for one in scoring.score(acme, NIGHT).days] == [(DAYS[0], 2)]
    after = daily(champion, DAYS[0])["all", ""]
    assert (after.pk, after.created_at) == (before.pk, before.created_at)
    table = by_hand(raw, DAYS[0])
    assert after.mae == pytest.approx((table["prediction"] - table["y"]).abs().mean())


def test_only_the_store_day_that_a_file_changes_is_scored_again(acme, champion, raw, load):
    scoring.score(acme, NIGHT)
    raw.loc[(raw["date"].dt.date == DAYS[1]) & (raw["store_id"] == "S1"), "quantity"] += 1
    load(raw)

    changed = FeedDay.objects.filter(scored=False, date__in=DAYS)
    assert list(changed.values_list("store__code", "date")) == [("S1", DAYS[1])]
    assert [one.day for one in scoring.score(acme, NIGHT).days] == [DAYS[1]]


def test_a_correction_counts_however_old_its_day_is(acme, champion, raw, load):
    scoring.score(acme, NIGHT)
    serve(champion, LAST)
    raw.loc[(raw["date"].dt.date == DAYS[0]) & (raw["product_id"] == "P5"), "quantity"] = 90
    later = raw.assign(date=raw["date"] + pd.Timedelta(days=300))
    load(pd.concat([raw, later[later["date"].dt.date > LAST]]))

    assert [one.day for one in scoring.score(acme, dt.date(2027, 1, 1)).days] == [DAYS[0], LAST]


def test_the_same_file_again_gives_nothing_to_score(acme, champion, raw, load):
    scoring.score(acme, NIGHT)
    load(raw)

    assert actuals.due(acme, as_of=NIGHT, until=DAYS[2]) == []


# --- Versions


def test_no_version_is_scored_on_a_day_that_it_was_trained_on(acme, champion):
    ModelVersion.objects.filter(pk=champion.pk).update(train_end=DAYS[1])

    report = scoring.score(acme, NIGHT)

    assert report.days[1].excluded == {"the version was trained on the day": 12}
    assert [bool(daily(champion, day)) for day in DAYS] == [False, False, True]


def test_versions_that_share_a_day_have_their_own_results(acme, champion):
    other = a_version(acme, "champion", segment="department:Grocery", as_of=dt.date(2026, 3, 7))
    Forecast.objects.filter(date=DAYS[0], department="Grocery").update(version=other)

    scoring.score(acme, NIGHT)

    assert [daily(version, DAYS[0])["all", ""].n for version in (champion, other)] == [6, 6]
    assert ("department", "Grocery") not in daily(champion, DAYS[0])


def test_a_version_in_shadow_is_scored_by_what_it_said(acme, champion, challenger, raw):
    scoring.score(acme, NIGHT)

    rows = pd.DataFrame(ShadowPrediction.objects.filter(forecast_date=DAYS[0], department="Grocery").values())
    sold = by_hand(raw, DAYS[0]).query("department == 'Grocery'")
    assert sorted(rows["actual_demand"]) == sorted(sold["y"])
    own = daily(challenger, DAYS[0])["department", "Grocery"]
    assert own.mae == pytest.approx((rows["challenger_prediction"] - rows["actual_demand"]).abs().mean())
    naive = daily(challenger, DAYS[0], "seasonal_naive")["department", "Grocery"]
    assert naive.mae == pytest.approx((rows["seasonal_naive"] - rows["actual_demand"]).abs().mean())


def test_shadow_rows_that_came_late_are_scored_once(acme, champion):
    scoring.score(acme, NIGHT)
    late = a_version(acme, "challenger", as_of=dt.date(2026, 3, 7))
    test = ShadowTest.objects.create(customer=acme, version=late, started_on=DAYS[1], target_days=14)
    shadow(late, champion, *DAYS[1:])

    assert [one.day for one in scoring.score(acme, NIGHT).days] == DAYS[1:]
    assert scoring.score(acme, NIGHT).days == []
    test.refresh_from_db()
    assert (test.days, test.samples) == (2, 24)


def test_results_stay_when_the_shadow_rows_are_deleted(acme, champion, challenger, raw, load):
    scoring.score(acme, NIGHT)
    ShadowPrediction.objects.all().delete()
    raw.loc[(raw["date"].dt.date == DAYS[0]) & (raw["product_id"] == "P5"), "quantity"] = 90
    load(raw)

    assert len(scoring.score(acme, NIGHT).days) == 1
    assert daily(challenger, DAYS[0])["all", ""].n == 12


# --- Whose rows


def test_rows_of_others_and_of_a_run_that_is_being_written_are_left_alone(acme, globex, champion, raw, tmp_path):
    load_sales(globex, tmp_path / "sales.parquet")
    serve(a_version(globex, "champion", as_of=dt.date(2026, 3, 7)), *DAYS)
    ForecastRun.objects.filter(customer=acme, as_of=DAYS[2]).update(status="writing")

    scoring.score(acme, NIGHT)

    untouched = Forecast.objects.filter(actual=None)
    assert {(one.run.customer, one.date) for one in untouched.select_related("run__customer")} == {
        (acme, DAYS[2]),
        *((globex, day) for day in DAYS),
    }
    assert not FeedDay.objects.filter(store__customer=globex, scored=True).exists()
    assert not BacktestResult.objects.filter(customer=globex).exists()


# --- Crashes


class Killed(BaseException):
    """Stands for a signal."""


STEPS = [
    (scoring.actuals, "fill"),
    (scoring.backtests, "replace_day"),
    (scoring.actuals, "put_scored"),
    (scoring.shadow, "evaluate_due"),
    (scoring.degradation, "check"),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("module", "name"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_night_killed_at_any_step_and_run_again_ends_the_same(acme, champion, challenger, monkeypatch, module, name):
    step, calls = getattr(module, name), []

    def killed(*arguments, **options):
        result = step(*arguments, **options)
        calls.append(1)
        if len(calls) == (2 if module in (scoring.actuals, scoring.backtests) else 1):
            raise Killed
        return result

    monkeypatch.setattr(module, name, killed)
    with pytest.raises(Killed):
        scoring.score(acme, NIGHT)
    monkeypatch.undo()
    scoring.score(acme, NIGHT)
    found = _plain()
    _unscore()
    scoring.score(acme, NIGHT)

    assert found == _plain()


def _unscore() -> None:
    """As it was before any scoring."""
    Forecast.objects.update(actual=None)
    ShadowPrediction.objects.update(actual_demand=None)
    FeedDay.objects.update(scored=False)
    ShadowTest.objects.update(days=0, samples=0)
    BacktestResult.objects.all().delete()
    DegradationCheck.objects.all().delete()


def _plain() -> dict[str, list]:
    """`everything` but keys and times, which two scorings do not share."""
    kept = {
        table: [field.attname for field in table._meta.concrete_fields if not _is_of_the_run(field)] for table in TABLES
    }
    return {table.__name__: sorted(map(repr, table.objects.values_list(*names))) for table, names in kept.items()}


def _is_of_the_run(field: models.Field) -> bool:
    return field.primary_key or isinstance(field, models.DateTimeField)


# --- The command


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("score", "--customer", "acme", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_reports_the_days_and_then_that_nothing_is_left(acme, champion):
    report = json.loads(command("--as-of", "2026-03-11", "--json"))

    assert (report["last_complete_day"], len(report["days"]), report["days"][0]["rows"]) == ("2026-03-10", 3, 12)
    assert "No day to score" in command("--as-of", "2026-03-11")


def test_the_command_prints_each_day_beside_seasonal_naive(acme, champion, alice):
    mark_day(Store.objects.get(code="S0"), DAYS[1], FeedDay.Status.CLOSED, by=alice, note="stocktaking")

    text = command("--as-of", "2026-03-11")

    assert "2026-03-08: 12 forecasts, MAE " in text
    assert "left out 6: the store was closed" in text
    assert "None" not in text


def test_a_night_that_has_not_come_is_refused(acme, champion):
    with pytest.raises(CommandError, match="has not come yet"):
        command("--as-of", "2999-01-01")
