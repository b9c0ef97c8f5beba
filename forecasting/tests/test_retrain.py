import datetime as dt
from pathlib import Path

import pytest

from alerts.models import MLAlert
from forecasting import sales, stored
from forecasting.loading import load_sales
from forecasting.orders import BadOrder, Order, Trigger
from forecasting.predict import predict
from forecasting.retrain import retrain
from forecasting.tests.synthetic import LAST, shop
from mlops import promotion, registry
from mlops.artefacts import BrokenArtefact
from mlops.backtests import TooShort
from mlops.models import BacktestResult, ModelPolicy, ModelRetrainingLog, ModelVersion
from shelfops.models import Customer

pytestmark = pytest.mark.django_db
SMALL = {"num_boost_round": 20, "max_leaves": 15, "learning_rate": 0.2}
AS_OF = LAST - dt.timedelta(days=13)


def trained(customer: Customer, *, as_of: dt.date = AS_OF, trigger: Trigger = Trigger.MANUAL, **wanted) -> ModelVersion:
    order = Order(trigger, as_of, wanted.pop("reason", "first"), params=SMALL, **wanted)
    return retrain(customer, order).versions.get()


@pytest.fixture
def sold(acme, tmp_path: Path):
    shop().to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    return acme


@pytest.fixture
def version(sold):
    return trained(sold)


def test_a_version_knows_what_it_was_made_of(version):
    assert version.version == "v1"
    assert version.train_end == AS_OF - dt.timedelta(days=1)
    assert (version.train_end - version.evaluation_end).days == 30
    assert (version.train_end - version.train_start).days == 89
    assert version.recipe["params"] == SMALL
    assert version.tier == "production"
    assert version.code_version == registry.code_version() != ""
    assert sum(one["share"] for one in version.importances) == pytest.approx(1)
    assert version.events.first().reason == "Manual retrain: first"


def test_it_beats_seasonal_naive_on_the_shop(version):
    assert version.mae < version.baseline_mae
    assert version.metrics["n"] > 0
    assert 0.8 < version.coverage <= 1


def test_a_stored_version_forecasts_like_the_one_that_was_trained(version, sold):
    panel = sales.panel(sold, last_day=version.train_end)
    model = stored.load_model(version)

    again = trained(sold, reason="again")

    assert again.version == "v2"
    assert again.data_hash == version.data_hash
    assert predict(stored.load_model(again), panel, 14).equals(predict(model, panel, 14))
    assert model.widths == stored.load_model(again).widths


def test_a_version_whose_file_was_changed_is_not_loaded(version, settings):
    file = Path(settings.ARTEFACT_DIR) / version.artefact / "serving-booster.ubj"
    file.write_bytes(file.read_bytes()[:-1] + b"?")

    with pytest.raises(BrokenArtefact, match=r"serving-booster\.ubj .* was changed after it was stored"):
        stored.load_model(version)
    assert registry.library_versions()["python"]


def test_a_champion_whose_files_are_broken_leaves_the_decision_to_a_person(version, sold, settings):
    (Path(settings.ARTEFACT_DIR) / version.artefact / "evaluation-booster.ubj").write_bytes(b"?")

    later = trained(sold, as_of=AS_OF + dt.timedelta(days=7))

    assert later.status == "challenger"
    assert later.decision["outcome"] == "pending"
    assert later.decision["reason"].startswith("v1 could not be scored on the same rows")


def test_no_scored_day_is_among_the_targets(version):
    holdout = BacktestResult.objects.filter(version=version, kind="holdout")

    assert min(holdout.values_list("first_day", flat=True)) > version.evaluation_end
    assert max(holdout.values_list("day", flat=True)) == version.train_end


def test_model_and_seasonal_naive_are_scored_on_the_same_rows(version):
    by_day = BacktestResult.objects.filter(version=version, lead_band="1-7", scope_type="all").order_by(
        "first_day", "day"
    )

    own = list(by_day.filter(baseline="").values_list("first_day", "day", "n", "units"))
    naive = list(by_day.filter(baseline="seasonal_naive").values_list("first_day", "day", "n", "units"))
    assert own == naive
    assert len(own) == 31  # thirty days, and all of them together


def test_a_changed_unit_changes_the_hash_of_the_data(version, sold):
    panel = sales.panel(sold, last_day=version.train_end)
    before = stored.data_hash(panel)
    panel.y[5] += 1

    assert stored.data_hash(panel) != before


def test_too_short_a_history_is_refused_with_the_day_it_becomes_possible(acme, tmp_path):
    first = LAST - dt.timedelta(days=19)
    shop(first=first).to_parquet(tmp_path / "short.parquet", index=False)
    load_sales(acme, tmp_path / "short.parquet")

    with pytest.raises(TooShort, match=f"possible from {first + dt.timedelta(days=37)}"):
        trained(acme, as_of=LAST + dt.timedelta(days=1))


def test_the_policy_decides_the_window(sold):
    ModelPolicy.objects.update_or_create(customer=sold, defaults={"train_days": 60, "holdout_days": 14})

    version = trained(sold, tier="cold_start")

    assert (version.train_end - version.train_start).days == 59
    assert (version.train_end - version.evaluation_end).days == 14


# --- The decision, and the log


def test_the_first_candidate_that_beats_seasonal_naive_becomes_champion_by_rule(version):
    assert version.status == "champion"
    assert version.champion_since == AS_OF
    assert version.decision["outcome"] == "promote"
    assert [event.to_status for event in version.events.all()] == ["candidate", "champion"]
    assert version.events.last().by is None


def test_the_same_recipe_a_week_later_is_kept_beside_the_champion(version, sold):
    # A margin that the noise of twelve series cannot reach.
    ModelPolicy.objects.update_or_create(customer=sold, defaults={"min_improvement_pct": 50})

    later = trained(sold, as_of=AS_OF + dt.timedelta(days=7), trigger=Trigger.SCHEDULED)

    assert (later.version, later.status, later.parent) == ("v2", "challenger", version)
    assert later.decision["champion"] == "v1"
    assert "needs 50 %" in later.decision["reason"]
    assert later.recipe == version.recipe
    scored = BacktestResult.objects.filter(version=later, kind="holdout", scope_type="all", lead_band="1-7")
    champions, own = scored.filter(baseline="v1"), scored.filter(baseline="")
    assert list(champions.values_list("day", "n", "units")) == list(own.values_list("day", "n", "units"))


def test_a_recipe_that_really_is_better_promotes_itself(sold):
    blunt = {"num_boost_round": 3, "max_leaves": 3, "learning_rate": 0.3}
    order = Order(Trigger.MANUAL, AS_OF, "a blunt model", params=blunt)
    # Twelve series are too few for a coverage to within two points.
    ModelPolicy.objects.update_or_create(customer=sold, defaults={"guard_coverage_points": 10})
    former = retrain(sold, order).versions.get()
    if former.status != "champion":  # it does not beat seasonal naive: a person lets it serve
        promotion.promote(former, by=None, reason="something has to serve", as_of=AS_OF)

    better = trained(sold, as_of=AS_OF + dt.timedelta(days=7))

    assert better.status == "champion", better.decision["reason"]
    assert better.decision["comparison"]["improvement_pct"] >= 5
    assert all(guard["passed"] for guard in better.decision["guards"])
    former.refresh_from_db()
    assert former.status == "archived"


@pytest.mark.parametrize("trigger", [Trigger.DRIFT, Trigger.EXPERIMENT, Trigger.NEW_DATA])
def test_what_may_not_promote_itself_waits(version, sold, trigger):
    other = trained(sold, as_of=AS_OF + dt.timedelta(days=1), trigger=trigger)

    assert other.status == ("experimental" if trigger == Trigger.EXPERIMENT else "challenger")
    version.refresh_from_db()
    assert version.status == "champion"
    assert MLAlert.objects.filter(alert_type="promotion_pending").count() == (trigger == Trigger.NEW_DATA)


def test_drift_trains_the_last_thirty_days(version, sold):
    other = trained(sold, as_of=AS_OF + dt.timedelta(days=1), trigger=Trigger.DRIFT)

    assert (other.train_end - other.train_start).days == 29
    assert (other.train_end - other.evaluation_end).days == 7
    assert other.decision["comparison"]["days"] == 7


@pytest.mark.parametrize(("days_later", "part"), [(7, "serving-"), (3, "evaluation-")])
def test_drift_judges_the_fit_that_served_unless_it_saw_the_week(version, sold, monkeypatch, days_later, part):
    asked = []
    load = stored.load_model
    monkeypatch.setattr(stored, "load_model", lambda one, which: asked.append(which) or load(one, which))

    trained(sold, as_of=AS_OF + dt.timedelta(days=days_later), trigger=Trigger.DRIFT)

    assert asked == [part]


def test_a_month_after_an_emergency_promotion_the_comparison_is_still_honest(version, sold):
    urgent = trained(sold, as_of=AS_OF + dt.timedelta(days=1), trigger=Trigger.DRIFT)
    promotion.promote(urgent, by=None, reason="drift was real", as_of=AS_OF + dt.timedelta(days=1))

    later = trained(sold, as_of=AS_OF + dt.timedelta(days=7), trigger=Trigger.SCHEDULED)

    assert later.decision["champion"] == urgent.version
    assert later.recipe["window_days"] == 90  # the emergency's window is not passed on
    assert (later.train_end - later.train_start).days == 89


def test_no_promote_keeps_even_the_first_one_waiting(sold):
    assert trained(sold, promote=False).status == "challenger"


def test_the_log_tells_the_retrain_from_beginning_to_end(version):
    log = version.run

    assert (log.status, log.trigger_type, log.version_produced) == ("completed", "manual", "v1")
    assert log.completed_at > log.started_at
    assert log.decision == version.decision["reason"]
    assert [stage["stage"] for stage in log.stages][:2] == ["reading sales", "fitting the days before the hold-out"]


def test_a_failed_retrain_is_logged_with_its_reason(acme):
    with pytest.raises(sales.NoSales):
        retrain(acme, Order(Trigger.SCHEDULED, AS_OF))

    log = ModelRetrainingLog.objects.get()
    assert log.status == "failed"
    assert "has no sales" in log.error


@pytest.mark.parametrize("days", [7, 27, 731])
def test_a_window_has_its_limits(days):
    with pytest.raises(BadOrder, match="must be 28 to 730 days long"):
        Order(Trigger.MANUAL, AS_OF, reason="try", window_days=days)


def test_a_window_for_an_emergency_is_refused():
    with pytest.raises(BadOrder, match="leave --window out"):
        Order(Trigger.DRIFT, AS_OF, window_days=60)


def test_a_manual_retrain_without_a_reason_is_refused():
    with pytest.raises(BadOrder, match="needs a reason"):
        Order(Trigger.MANUAL, AS_OF, "  ")
