"""The page on which experiments are proposed: plain fields, errors beside them, and what happens next."""

import pytest
from django.urls import reverse

from forecasting.models import Product, Store
from mlops.models import ModelExperiment
from shelfops.models import Membership, Role

pytestmark = pytest.mark.django_db
PAGE = "/experiments/propose"
TOLD = {
    "name": "Electronics first",
    "hypothesis": "Electronics sells in cycles.",
    "experiment_type": "segmentation",
    "segmentation": "department",
    "segments": ["department:Electronics"],
}


@pytest.fixture(autouse=True)
def catalogue(acme):
    for code, department in enumerate(["Electronics", "Grocery"]):
        Product.objects.create(customer=acme, code=str(code), department=department)


def post(client_of, person, **changes):
    return client_of(person).post(PAGE, {**TOLD, **changes})


def test_plain_fields_become_a_plan(alice, client_of):
    more = {"target_improvement_pct": "12.5", "window_days": "120", "top_products": "500", "tier": "production",
            "max_leaves": "63", "learning_rate": "0.05"}  # fmt: skip
    answer = post(client_of, alice, **more)
    made = ModelExperiment.objects.get()
    assert answer["Location"] == reverse("experiment", args=[made.pk])
    assert (made.status, made.proposed_by, made.target_improvement_pct) == ("proposed", alice, 12.5)
    assert made.plan == {
        "segmentation": "department", "segments": ["department:Electronics"], "tier": "production", "window_days": 120,
        "top_products": 500, "params": {"max_leaves": 63, "learning_rate": 0.05},
    }  # fmt: skip


def test_afterwards_stands_what_happens_next(alice, client_of):
    page = client_of(alice).post(PAGE, TOLD, follow=True).content.decode()
    assert "It is proposed. Below stands what happens next." in page
    assert "It waits for a manager other than alice@acme.example to approve or reject it." in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "Give it a name"),
        ({"hypothesis": ""}, "Say what you suppose"),
        ({"target_improvement_pct": "120"}, "less than or equal to 99.9"),
        ({"window_days": "5"}, "greater than or equal to 28"),
        ({"max_leaves": "1"}, "greater than or equal to 2"),
        ({"segmentation": ""}, "Choose above by what the models are made"),
        ({"segmentation": "lifecycle"}, "Tick segments of the kind chosen above only, not department Electronics."),
        ({"segmentation": "store_cluster", "segments": []}, "There are no segments by store cluster yet"),
        ({"segments": ["department:Toys"]}, "is not one of the available choices"),
        ({"segmentation": "", "segments": []}, "Say below what is trained differently"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(alice, client_of, changes, said):
    answer = post(client_of, alice, **changes)
    page = answer.content.decode()
    assert (answer.status_code, ModelExperiment.objects.count()) == (200, 0)
    assert "<strong>It is not proposed yet.</strong>" in page
    assert said in page[page.index('class="wrong"') :]


def test_a_data_source_needs_no_plan(alice, client_of):
    post(client_of, alice, experiment_type="data_source", segmentation="", segments=[])
    assert ModelExperiment.objects.get().plan == {}


def test_a_double_click_proposes_once(alice, client_of):
    first, second = post(client_of, alice), post(client_of, alice)
    assert first["Location"] == second["Location"]
    assert ModelExperiment.objects.count() == 1


def test_a_link_fills_it_in(alice, client_of):
    page = client_of(alice).get(PAGE, {**TOLD, "target_improvement_pct": "5"}).content.decode()
    assert 'value="Electronics first"' in page
    assert page.count(" checked") == 2  # by department, and Electronics
    assert ModelExperiment.objects.count() == 0


def test_segments_are_ticked_by_name_and_kind(acme, alice, client_of):
    Store.objects.create(customer=acme, code="s1", cluster="Urban")
    page = client_of(alice).get(PAGE).content.decode()
    for text in ["department Electronics", "department Grocery", "store cluster Urban", "new products"]:
        assert f" {text}</label>" in page
    assert "<script" not in page[page.index("<main") :]


def test_who_has_no_right_reads_why(charlie, mallory, client_of):
    page = client_of(charlie).get(PAGE).content.decode()
    assert "your role may not propose, start or cancel experiments" in page
    assert "<form" not in page
    assert post(client_of, charlie).status_code == 403
    assert client_of(mallory).get(PAGE, {"customer": "acme"}).status_code == 404
    assert client_of(mallory).post(f"{PAGE}?customer=acme", TOLD).status_code == 404
    assert client_of(None).get(PAGE)["Location"].startswith("/admin/login/")
    assert not ModelExperiment.objects.exists()


def test_who_has_several_customers_names_one(acme, globex, alice, client_of):
    Membership.objects.create(user=alice, customer=globex, role=Role.DATA_SCIENTIST)
    answer = client_of(alice).get(PAGE)
    assert answer.status_code == 300
    assert 'href="?customer=acme"' in answer.content.decode()
    client_of(alice).post(f"{PAGE}?customer=acme", TOLD)
    assert ModelExperiment.objects.get().customer == acme


def test_a_post_needs_the_token(alice, client_of):
    assert client_of(alice, enforce_csrf_checks=True).post(PAGE, TOLD).status_code == 403


def test_the_list_of_experiments_has_the_button_for_those_who_may(alice, charlie, client_of):
    page = reverse("admin:mlops_modelexperiment_changelist")
    button = reverse("admin:mlops_modelexperiment_propose")
    assert button in client_of(alice).get(page).content.decode()
    assert button not in client_of(charlie).get(page).content.decode()
    assert client_of(alice).get(button)["Location"] == PAGE
