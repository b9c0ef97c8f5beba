"""The steps of an experiment over the API: who may take which when, and what is refused at once."""

import pytest

from forecasting.models import Product, Store
from mlops.models import ModelExperiment, ModelPolicy, ModelVersion
from shelfops import jobs
from shelfops.tests.proposals import APPROVAL, PROPOSAL, SMALL, V1, a_shop, approved, caller, proposed, two_people

pytestmark = pytest.mark.django_db


@pytest.fixture
def sold(acme, tmp_path):
    a_shop(acme, tmp_path)
    return acme


@pytest.fixture
def people(acme):
    return two_people(acme)


@pytest.fixture
def call(people, client_of):
    return caller({name: client_of(user) for name, user in people.items()})


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


@pytest.mark.parametrize("limit", ["many", 0, True, None])
def test_a_limit_that_is_no_number_of_products_is_refused_at_the_approval(limit, sold, call):
    code, answer = call(
        "ml_manager", "patch", f"{proposed(call)}/approve", APPROVAL | {"conditions": {"top_products": limit}}
    )
    assert (code, ModelExperiment.objects.get().status) == ((200, "approved") if limit is None else (400, "proposed"))
    assert limit is None or "is a whole number of products" in answer["detail"]
