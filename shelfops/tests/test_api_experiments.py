"""Experiments over the API, really trained, from the proposal to a rollback: the specification's two examples."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from alerts.models import MLAlert
from forecasting.day import run_day
from forecasting.models import Product, Store
from forecasting.nightly import forecast
from forecasting.orders import Order, Trigger
from forecasting.retrain import retrain
from forecasting.retraining_job import retrain_forecast_model
from forecasting.serving import predict_demand
from forecasting.tests.nights import load
from forecasting.tests.synthetic import LAST, shop
from forecasting.tiers import TIERS, cold_start
from mlops import promotion, shadow
from mlops.models import (
    ModelExperiment,
    ModelPolicy,
    ModelRetrainingLog,
    ModelVersion,
    RoutingRule,
    ShadowPrediction,
)
from mlops.tests.ledger import a_version
from shelfops import jobs
from shelfops.clock import set_clock
from shelfops.models import Membership, Role, User

pytestmark = pytest.mark.django_db
V1 = "/api/v1/experiments"
SMALL = {"num_boost_round": 8, "max_leaves": 7, "learning_rate": 0.3}
DAY = dt.timedelta(days=1)
BEGUN = LAST - 13 * DAY
NOW = BEGUN + 14 * DAY
DEPARTMENTS = ["Electronics", "Grocery", "Apparel"]
PROPOSAL = {
    "experiment_name": "Department-Tiered Forecasting — Electronics Focus",
    "hypothesis": "Electronics demand patterns differ from Grocery/Apparel. Dedicated model will reduce Electronics "
    "MAE from 18.2 to 15.5 (15% improvement).",
    "experiment_type": "segmentation",
    "model_name": "demand_forecast",
    "proposed_by": "data_scientist@shelfops.com",
}
APPROVAL = {
    "approved_by": "ml_manager@shelfops.com",
    "rationale": "Electronics has high variability (promotions + tech cycles). Tier justification approved.",
}
COMPLETION = {
    "decision": "partial_adopt",
    "decision_rationale": "Electronics model shows strong improvement (22%). Grocery marginal (5%). Apparel no "
    "benefit. Adopt Electronics tier, keep global for others.",
    "results": {
        "baseline_mae": 12.8,
        "electronics_mae": 14.2,
        "grocery_mae": 12.1,
        "apparel_mae": 13.5,
        "improvement_electronics_pct": 22.0,
    },
}
# MAE of the champion and of the segment's own model. By hand: 1 - 14.2 / 18.2 is 22.0 %, 1 - 12.1 / 12.7 is 4.7 %.
SHOWN = {"Electronics": (18.2, 14.2), "Grocery": (12.7, 12.1), "Apparel": (13.5, 13.5)}


@pytest.fixture
def sold(acme, tmp_path):
    """Three departments, of which Electronics sells by quite another rhythm; v12 serves everything."""
    rows = shop(stores=2, products=6)
    number = rows["product_id"].str[1:].astype(int)
    rows["department"] = np.array(DEPARTMENTS)[number % 3]
    surge = (rows["department"] == "Electronics") & (rows["date"].dt.day % 9 < 3)
    rows.loc[surge, "quantity"] = rows.loc[surge, "quantity"] * 4 + 3
    load(acme, tmp_path, rows)
    ModelPolicy.objects.update_or_create(customer=acme, defaults={"segment_min_rows": 200})
    set_clock(acme, BEGUN)
    [champion] = retrain(acme, Order(Trigger.MANUAL, BEGUN, "first", params=SMALL)).versions.all()
    if champion.status != "champion":
        promotion.promote(champion, by=None, reason="something has to serve", as_of=BEGUN)
    ModelVersion.objects.filter(pk=champion.pk).update(number=12, version="v12")
    return acme


@pytest.fixture
def people(acme):
    """The specification's two, by the beginning of their addresses."""
    roles = {"data_scientist": Role.DATA_SCIENTIST, "ml_manager": Role.ML_MANAGER}
    made = {name: User.objects.create_user(f"{name}@shelfops.com", None) for name in roles}
    for name, user in made.items():
        Membership.objects.create(user=user, customer=acme, role=roles[name])
    return made


@pytest.fixture
def call(people, client_of):
    """What somebody is answered: (status, data)."""
    clients = {name: client_of(user) for name, user in people.items()}

    def send(who, method, path="", body=None):
        body = {} if method == "get" else {"data": body or {}, "content_type": "application/json"}
        answer = getattr(clients[who], method)(V1 + path, **body)
        return answer.status_code, answer.json()

    return send


def proposed(call, **changes):
    code, answer = call("data_scientist", "post", "", PROPOSAL | changes)
    assert (code, answer["status"]) == (201, "proposed")
    return f"/{answer['experiment_id']}"


def approved(call, path, **changes):
    code, answer = call("ml_manager", "patch", f"{path}/approve", APPROVAL | changes)
    assert (code, answer["status"]) == (200, "approved")
    return path


def train(customer, path, *, by, **metadata):
    """As a program asks for it, and as a worker does it."""
    metadata = {"experiment_id": path[1:], **metadata}
    run = retrain_forecast_model(customer.pk, trigger="experiment", trigger_metadata=metadata, by=by)
    assert ModelExperiment.objects.get().status == "in_progress"
    return jobs.perform(run.pk)


def shown(customer, errors):
    """Fourteen scored nights of each version in shadow: two rows a day, one too high and one too low."""
    champion = ModelVersion.objects.champion_for(customer)
    for test in shadow.start(customer, BEGUN):
        before, after = errors[test.version.segment.partition(":")[2]]
        ShadowPrediction.objects.bulk_create(
            ShadowPrediction(
                customer=customer, version=test.version, champion=champion, store_id="S0", product_id=f"P{sign}",
                forecast_date=BEGUN + night * DAY, actual_demand=100, champion_prediction=100 + sign * before,
                challenger_prediction=100 + sign * after, champion_lower=60, champion_upper=140, challenger_lower=60,
                challenger_upper=140, seasonal_naive=50, department=test.version.segment[11:], band="fast",
            )
            for night in range(14)
            for sign in (-1, 1)
        )  # fmt: skip
    set_clock(customer, NOW)
    shadow.evaluate_due(customer, NOW)


@pytest.fixture
def in_shadow(sold, call, people):
    """The specification's experiment after its fourteen days."""
    path = approved(call, proposed(call))
    assert train(sold, path, by=people["data_scientist"], tier="department_tiered").status == "completed"
    shown(sold, SHOWN)
    return path


# --- Section 3: Electronics


def test_three_models_are_produced_by_one_run(sold, call, people):
    path = approved(call, proposed(call))
    train(sold, path, by=people["data_scientist"], tier="department_tiered")

    log = ModelRetrainingLog.objects.get(trigger_type="experiment")
    assert log.trigger_metadata == {"experiment_id": path[1:], "tier": "department_tiered"}
    assert (log.status, log.version_produced) == ("completed", "v13_apparel, v13_electronics, v13_grocery")
    code, answer = call("data_scientist", "get", path)
    assert (code, answer["status"], answer["baseline_version"]) == (200, "shadow_testing", "v12")
    assert {(one["version"], one["status"], one["metrics"]["segment"]) for one in answer["versions"]} == {
        ("v13_electronics", "experimental", "Electronics"),
        ("v13_grocery", "experimental", "Grocery"),
        ("v13_apparel", "experimental", "Apparel"),
    }
    assert [(event["to_status"], event["by"]) for event in answer["events"]] == [
        ("proposed", "data_scientist@shelfops.com"), ("approved", "ml_manager@shelfops.com"),
        ("in_progress", "data_scientist@shelfops.com"), ("shadow_testing", None),
    ]  # fmt: skip


def test_results_stand_by_segment(in_shadow, call):
    code, answer = call("ml_manager", "get", f"{in_shadow}/results")

    assert (code, answer["shadow_test_duration_days"], answer["samples"]) == (200, 14, 3 * 28)
    found = {one["segment"]: one for one in answer["segments"]}
    electronics = found["department:Electronics"]
    assert (electronics["baseline_mae"], electronics["experimental_mae"]) == pytest.approx((18.2, 14.2))
    assert {name[11:]: round(one["improvement_pct"], 1) for name, one in found.items()} == {
        "Electronics": 22.0, "Grocery": 4.7, "Apparel": 0.0,
    }  # fmt: skip
    # By hand, over as many rows of each: (18.2 + 12.7 + 13.5) / 3 and (14.2 + 12.1 + 13.5) / 3.
    assert (answer["baseline_mae"], answer["experimental_mae"]) == pytest.approx((14.8, 13.2667), abs=1e-4)
    assert answer["improvement_pct"] == pytest.approx(10.36, abs=0.01)
    assert answer["recommendation"] == (
        "PARTIAL — Only some segments reach the target of 5%: department Electronics by 22.0%"
    )


def test_electronics_alone_is_adopted_and_the_rest_stays_with_the_global_champion(sold, in_shadow, call):
    code, answer = call("data_scientist", "post", f"{in_shadow}/complete", COMPLETION)

    assert (code, answer["status"], bool(answer["completed_at"])) == (200, "completed", True)
    assert answer["reported_results"]["electronics_mae"] == 14.2
    assert {one["version"]: one["status"] for one in answer["versions"]} == {
        "v13_electronics": "champion", "v13_grocery": "archived", "v13_apparel": "archived",
    }  # fmt: skip
    electronics = ModelVersion.objects.get(version="v13_electronics")
    assert (electronics.metrics["tier"], electronics.metrics["segment"]) == ("department_tiered", "Electronics")
    rules = RoutingRule.objects.of(sold).open().order_by("pk").values_list("segment", "version__version")
    assert list(rules) == [("global", "v12"), ("department:Electronics", "v13_electronics")]
    served = {code: predict_demand("S0", code, NOW + DAY, customer=sold).version for code in ("P0", "P1", "P2")}
    assert served == {"P0": "v13_electronics", "P1": "v12", "P2": "v12"}
    alert = MLAlert.objects.get(alert_type="experiment_complete")
    assert (alert.severity, alert.status, alert.requires_action) == ("info", "unread", False)
    assert alert.title == "Experiment complete: Department-Tiered Forecasting — Electronics Focus"
    assert alert.action_url == f"/experiments{in_shadow}/results"
    assert alert.metadata["improvement_pct"] == pytest.approx(21.98, abs=0.01)
    assert call("data_scientist", "post", f"{in_shadow}/complete", COMPLETION) == (code, answer)


def test_the_next_sunday_retrains_both_each_by_its_own_recipe(sold, in_shadow, call):
    call("data_scientist", "post", f"{in_shadow}/complete", COMPLETION)
    ModelVersion.objects.filter(version="v13_electronics").update(
        recipe={"tier": "cold_start", "params": SMALL, "window_days": 60, "segment": "department:Electronics"}
    )

    report = run_day(sold, NOW, retrain_due=True)

    [whole, part] = report["retrain"]["versions"]
    assert (whole["version"], part["version"]) == ("v14", "v14_electronics")
    made = {one.segment: one for one in ModelVersion.objects.filter(number=14)}
    assert made["global"].parent.version == "v12"
    own = made["department:Electronics"]
    assert (own.parent.version, own.tier, own.recipe["window_days"]) == ("v13_electronics", "cold_start", 60)
    assert own.decision["champion"] == "v13_electronics"


def test_a_rollback_gives_electronics_back_to_the_global_model(sold, in_shadow, call):
    call("data_scientist", "post", f"{in_shadow}/complete", COMPLETION)
    code, refused = call("data_scientist", "post", f"{in_shadow}/rollback", {"rationale": "worse in the shops"})
    assert (code, "ML manager" in refused["detail"]) == (403, True)

    code, answer = call("ml_manager", "post", f"{in_shadow}/rollback", {"rationale": "worse in the shops"})

    assert (code, answer["status"], answer["events"][-1]["reason"]) == (200, "rolled_back", "worse in the shops")
    assert predict_demand("S0", "P0", NOW + DAY, customer=sold).version == "v12"
    assert call("ml_manager", "post", f"{in_shadow}/rollback", {"rationale": "again"})[0] == 409


def test_a_day_of_adoption_and_rollback_forecasts_anew_after_each(
    sold, in_shadow, call, django_capture_on_commit_callbacks
):
    forecast(sold, NOW)
    for who, step, body in (
        ("data_scientist", "complete", COMPLETION),
        ("ml_manager", "rollback", {"rationale": "worse in the shops"}),
    ):
        with django_capture_on_commit_callbacks(execute=True):
            assert call(who, "post", f"{in_shadow}/{step}", body)[0] == 200
        for run in jobs.JobRun.objects.filter(job="forecast", status="queued"):
            jobs.perform(run.pk)
        expected = "v13_electronics" if step == "complete" else "v12"
        assert predict_demand("S0", "P0", NOW + 2 * DAY, customer=sold).version == expected


def test_a_challenger_that_was_promoted_in_the_middle_stops_the_adoption(sold, in_shadow, call):
    a_version(sold, "champion", as_of=NOW)

    code, answer = call("data_scientist", "post", f"{in_shadow}/complete", COMPLETION)
    assert (code, answer["allowed"]) == (409, [])
    assert "was compared with v12, but v14 is champion" in answer["detail"]
    assert ModelExperiment.objects.get().status == "shadow_testing"
    again = COMPLETION | {"expected_champion": "v14"}
    assert call("data_scientist", "post", f"{in_shadow}/complete", again)[0] == 200


# --- Section 6: a feature tier of its own


TRENDS = {
    "experiment_name": "Google Trends Feature Integration",
    "hypothesis": "Search volume for product names correlates with demand. Adding Google Trends 7-day search volume "
    "will improve MAE by 8-10%.",
    "experiment_type": "feature_engineering",
    "target_improvement_pct": 8,
}
ADOPTION = {
    "decision": "adopt",
    "decision_rationale": "Exceeded target (10.2% improvement). Latency impact minimal (avg +12ms per prediction). "
    "Recommend full rollout.",
    "results": {
        "baseline_mae": 12.8,
        "experimental_mae": 11.5,
        "improvement_pct": 10.2,
        "latency_impact_ms": 12,
        "api_cost_monthly": 0,
    },
}


@pytest.fixture
def trends_tier(monkeypatch):
    """`cold_start` with a column of its own."""

    def columns(panel, series, days, known):
        volume = (days % 11).astype(np.float32)
        return cold_start.columns(panel, series, days, known) | {"search_volume_7d": volume}

    names = (*cold_start.TIER.column_names, "search_volume_7d")
    tier = replace(cold_start.TIER, name="production_with_trends", columns=columns, column_names=names)
    tier = replace(tier, params=cold_start.PARAMS | SMALL)
    monkeypatch.setitem(TIERS, tier.name, tier)
    return tier


def test_a_feature_tier_of_its_own_is_adopted(sold, call, people, trends_tier):
    path = approved(call, proposed(call, **TRENDS))
    metadata = {"feature_added": "search_volume_7d", "tier": "production_with_trends"}
    assert train(sold, path, by=people["data_scientist"], **metadata).status == "completed"
    shown(sold, {"": (12.8, 11.5)})

    code, results = call("data_scientist", "get", f"{path}/results")
    assert {name: results[name] for name in ("experiment_id", "status", "shadow_test_duration_days", "samples")} == {
        "experiment_id": path[1:], "status": "shadow_testing", "shadow_test_duration_days": 14, "samples": 28,
    }  # fmt: skip
    assert (results["baseline_mae"], results["experimental_mae"]) == pytest.approx((12.8, 11.5))
    assert round(results["improvement_pct"], 1) == 10.2  # by hand: 1 - 11.5 / 12.8
    assert results["recommendation"] == "PROMOTE — Exceeded hypothesis target (10.2% > 8% threshold)"

    code, answer = call("data_scientist", "post", f"{path}/complete", ADOPTION)
    assert (code, answer["status"]) == (200, "completed")
    champion = ModelVersion.objects.champion_for(sold)
    assert (champion.version, champion.tier) == ("v13", "production_with_trends")
    assert "search_volume_7d" in {one["feature"] for one in champion.importances}
    assert ModelVersion.objects.get(version="v12").status == "archived"
    assert MLAlert.objects.filter(alert_type="experiment_complete").count() == 1
    again = retrain(sold, Order(Trigger.SCHEDULED, NOW)).versions.get()
    assert again.tier == "production_with_trends"


def test_the_limit_of_an_approval_binds_the_run_and_the_results_say_so(sold, call, people):
    conditions = {"top_products": 2, "watch": "the latency"}
    path = approved(call, proposed(call, plan={"tier": "cold_start", "top_products": 4}), conditions=conditions)
    code, answer = call("data_scientist", "post", f"{path}/start")
    assert (code, answer["status"]) == (202, "in_progress")
    assert jobs.perform(answer["retrain_id"]).status == "completed"
    version = ModelVersion.objects.get(version="v13")
    assert (version.products, version.series) == (["P5", "P3"], 4)

    assert run_day(sold, BEGUN, retrain_due=False)["forecast"]["shadow_rows"] == {"v13": 4}
    assert set(ShadowPrediction.objects.values_list("product_id", flat=True)) == {"P3", "P5"}
    _, results = call("data_scientist", "get", f"{path}/results")
    assert (results["products"], results["conditions"]) == ({"v13": 2}, conditions)
    assert results["recommendation"].endswith("Measured on the 2 best-selling products only")
    assert results["latency_ms_per_1000"]["v13"]["challenger"] > 0


@pytest.mark.parametrize("limit", ["many", 0, True, None])
def test_a_limit_that_is_no_number_of_products_is_refused_at_the_approval(limit, sold, call):
    code, answer = call(
        "ml_manager", "patch", f"{proposed(call)}/approve", APPROVAL | {"conditions": {"top_products": limit}}
    )
    assert (code, ModelExperiment.objects.get().status) == ((200, "approved") if limit is None else (400, "proposed"))
    assert limit is None or "is a whole number of products" in answer["detail"]


# --- Starting


def test_a_training_that_failed_can_be_started_again(sold, call, people):
    ModelPolicy.objects.update(segment_min_rows=30_000)
    path = approved(call, proposed(call, plan={"segmentation": "department"}))
    _, answer = call("data_scientist", "post", f"{path}/start")
    assert jobs.perform(answer["retrain_id"]).status == "failed"

    _, answer = call("data_scientist", "get", path)
    assert answer["status"] == "in_progress"
    assert "department Apparel has" in answer["error"]
    ModelPolicy.objects.update(segment_min_rows=200)
    code, answer = call("data_scientist", "post", f"{path}/start")
    assert (code, answer["error"]) == (202, "")
    assert jobs.perform(answer["retrain_id"]).status == "completed"
    assert ModelExperiment.objects.get().status == "shadow_testing"


def test_of_a_training_that_was_cancelled_meanwhile_nothing_comes(sold, call, people):
    path = approved(call, proposed(call, plan={"tier": "cold_start", "params": SMALL}))
    _, answer = call("data_scientist", "post", f"{path}/start")
    assert call("data_scientist", "post", f"{path}/cancel", {"rationale": "not now"})[0] == 200

    assert jobs.perform(answer["retrain_id"]).status == "failed"
    assert not ModelVersion.objects.filter(version="v13").exists()
    assert ModelExperiment.objects.get().status == "cancelled"


@pytest.mark.parametrize("step", ["approve", "reject", "start", "complete", "cancel", "rollback"])
def test_a_step_out_of_turn_is_told_what_is_allowed(step, sold, call):
    path = proposed(call, plan={"tier": "cold_start"})
    call("ml_manager", "patch", f"{path}/reject", {"rationale": "too dear"})
    method = "patch" if step in ("approve", "reject") else "post"
    told = {"complete": {"decision": "reject", "decision_rationale": "why"}, "start": {}}
    who = "data_scientist" if step in told else "ml_manager"
    code, answer = call(who, method, f"{path}/{step}", told.get(step, {"rationale": "why"}))
    assert (code, answer["allowed"]) == (409, [])
    assert "it is rejected since" in answer["detail"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"tier": "magic"}, "There is no tier “magic”"),
        ({"segmentation": "department", "segments": ["Toys"]}, "There is no department Toys"),
        ({"segmentation": "store_cluster"}, "has no store cluster yet"),
        ({"segments": ["Grocery"]}, "Say by what the segments are made"),
        ({"tier": "department_tiered", "segmentation": "lifecycle"}, "contradict each other"),
        ({"params": {"max_leaves": 7, "grow_policy": "sideways"}}, "no such field"),
        ({"window_days": 7}, "28"),
    ],
)
def test_a_plan_that_could_not_be_trained_is_refused_at_once(plan, said, sold, call):
    code, answer = call("data_scientist", "post", "", PROPOSAL | {"plan": plan})
    assert code == 400
    assert said in str(answer)


def test_people_act_in_their_own_name_and_on_no_other_customers_experiment(sold, call, mallory, client_of):
    code, answer = call("ml_manager", "post", "", PROPOSAL)
    assert (code, answer) == (
        400, {"proposed_by": ["You are ml_manager@shelfops.com. Leave it out, or name yourself."]},
    )  # fmt: skip
    path = proposed(call)
    assert client_of(mallory).get(V1 + path).status_code == 404
    answer = client_of(mallory).post(f"{V1}{path}/cancel", {"rationale": "mine"}, content_type="application/json")
    assert answer.status_code == 404


def test_an_empty_plan_without_a_tier_says_what_is_missing(sold, call):
    path = approved(call, proposed(call))
    code, answer = call("data_scientist", "post", f"{path}/start")
    assert (code, "says nothing to train. Name a tier" in answer["detail"]) == (400, True)
    assert ModelExperiment.objects.get().status == "approved"


@pytest.mark.parametrize("segmentation", ["store_cluster", "lifecycle"])
def test_clusters_and_lifecycles_are_trained_alike(segmentation, sold, call):
    Store.objects.filter(code="S0").update(cluster="Urban")
    Product.objects.update(category="")
    ModelPolicy.objects.update(segment_min_rows=50)
    path = approved(call, proposed(call, plan={"segmentation": segmentation}))
    _, answer = call("data_scientist", "post", f"{path}/start")
    assert jobs.perform(answer["retrain_id"]).status == "completed"
    _, answer = call("data_scientist", "get", path)
    made = {"store_cluster": {"v13_urban"}, "lifecycle": {"v13_mature"}}[segmentation]
    assert {one["version"] for one in answer["versions"]} == made
