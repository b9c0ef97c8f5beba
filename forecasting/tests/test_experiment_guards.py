"""What the page and the API say of segments that are better while guards of their shadow test fail."""

import datetime as dt
import re

import pytest
from django.urls import reverse

from mlops import experiments
from mlops.models import ShadowTest
from mlops.tests.ledger import DAY, a_version
from mlops.tests.trials import ELECTRONICS, GROCERY, in_shadow, shown

pytestmark = pytest.mark.django_db
BIASED = {
    "name": "Bias",
    "passed": False,
    "value": 75.8,
    "limit": 15,
    "sentence": "the bias is 75.8 points (at most 15)",
}
STEADY = {"name": "RMSE", "passed": True, "value": 1.1, "limit": 2, "sentence": "RMSE is 1.1 % worse (at most 2)"}


@pytest.fixture
def trial(acme, alice, bob):
    """Of Electronics and Grocery, in shadow for as many days as it takes."""
    acme.clock = DAY + dt.timedelta(days=14)
    acme.save()
    a_version(acme, "champion")
    return in_shadow(acme, alice, bob)


def read(client_of, person, experiment):
    page = " ".join(client_of(person).get(reverse("experiment", args=[experiment.pk])).content.decode().split())
    return page[page.index("<main") :]


def judged(segment, *guards):
    ShadowTest.objects.filter(version__segment=segment).update(result={"guards": list(guards)})


def test_a_better_segment_whose_guards_fail_is_left_to_a_person(trial, alice, client_of):
    shown(trial, 22, 2)
    judged(ELECTRONICS, STEADY, BIASED)
    judged(GROCERY, STEADY)
    page = read(client_of, alice, trial).replace("\xa0", " ")
    for text in [
        "A person weighs it: Only some segments reach the target of 5 %: department Electronics by 22.0 %.",
        "Department Electronics: better by 22.0 %, but the bias is 75.8 points (at most 15): a person weighs that.",
        "<strong>Department Electronics</strong> (v2_electronics): 1 of 2 guards failed: Bias.",
        "<strong>Department Grocery</strong> (v3_grocery): All 1 guards passed.",
        "<strong>RMSE:</strong> RMSE is 1.1 % worse (at most 2)",
    ]:
        assert text in page
    assert "Adopt it in some segments" not in page
    assert "Department Grocery: better" not in page
    assert "checked" not in page  # nothing is ticked for the person


def test_of_several_better_segments_only_the_sound_ones_are_advised_and_ticked(trial, alice, client_of):
    shown(trial, 22, 12)
    judged(ELECTRONICS, STEADY, BIASED)
    judged(GROCERY, STEADY)
    page = read(client_of, alice, trial)
    assert "Adopt it in department Grocery, and weigh the rest: Exceeded hypothesis target" in page
    assert re.findall(r'value="([^"]+)"[^>]* checked', page) == [GROCERY]


def test_the_api_tells_the_guards_of_each_segment_also_once_it_is_decided(trial, alice, client_of):
    shown(trial, 22, 2)
    judged(ELECTRONICS, STEADY, BIASED)

    def guards():
        answer = client_of(alice).get(f"/api/v1/experiments/{trial.pk}/results").json()
        return {one["segment"]: one["guards"] for one in answer["segments"]}

    told = {ELECTRONICS: [STEADY, BIASED], GROCERY: []}
    assert guards() == told
    experiments.complete(trial, by=alice, decision="reject", rationale="biased")
    assert guards() == told


def test_a_test_that_is_not_judged_yet_has_no_guards_to_show(trial, alice, client_of):
    shown(trial, 22, 2)
    page = read(client_of, alice, trial)
    assert "Adopt it in some segments" in page
    assert "Guards of the shadow tests" not in page
