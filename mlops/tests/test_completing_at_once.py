"""Two people complete one experiment at once, or a version is promoted meanwhile: one wins, the other is told."""

from functools import partial

import pytest

from mlops import experiments, promotion
from mlops.models import ModelVersion, RoutingRule
from mlops.tests.ledger import DAY, a_version
from mlops.tests.races import at_once
from mlops.tests.trials import ELECTRONICS, in_shadow
from shelfops.refusals import Refusal

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def trial(acme, alice, bob):
    a_version(acme, "champion")
    return in_shadow(acme, alice, bob)


def test_of_two_who_decide_otherwise_one_is_told_who_was_first(trial, alice, root):
    adopt = partial(experiments.complete, trial, by=alice, decision="adopt", rationale="better")
    reject = partial(experiments.complete, trial, by=root, decision="reject", rationale="worse")

    told = at_once(lambda work: work(), [adopt, reject])

    [refused] = [one for one in told if isinstance(one, Refusal)]
    trial.refresh_from_db()
    assert str(trial.completed_by) in str(refused)
    assert trial.events.filter(to_status="completed").count() == 1
    champions = ModelVersion.objects.champions().exclude(segment="global").count()
    assert champions == (2 if trial.decision == "adopt" else 0)


def test_a_promotion_in_the_middle_leaves_one_champion(acme, trial, alice, bob):
    rival = a_version(acme, "challenger", segment=ELECTRONICS)
    adopt = partial(experiments.complete, trial, by=alice, decision="adopt", rationale="better")
    promote = partial(promotion.promote, rival, by=bob, reason="reviewed", as_of=DAY)

    at_once(lambda work: work(), [adopt, promote])

    assert ModelVersion.objects.champion_for(acme, ELECTRONICS) is not None
    assert RoutingRule.objects.open().filter(segment=ELECTRONICS).count() == 1
