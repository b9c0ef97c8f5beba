"""A retrain that is cut short at any step leaves nothing, and done again ends as one that was not."""

import datetime as dt
from pathlib import Path

import pytest
from django.conf import settings as project
from django.db import transaction

from forecasting import protocols, retrain, rivals, stored
from forecasting.loading import load_sales
from forecasting.orders import Order, Trigger
from forecasting.tests.contents import Contents, contents, differences
from forecasting.tests.synthetic import LAST, shop
from mlops import artefacts, backtests, comparison, promotion, registry
from mlops.models import ModelPolicy, ModelVersion
from shelfops.models import Customer

pytestmark = pytest.mark.django_db
AS_OF = LAST - dt.timedelta(days=13)
NEXT_WEEK = AS_OF + dt.timedelta(days=7)
BLUNT = {"num_boost_round": 1, "max_leaves": 3, "learning_rate": 0.1}
GOOD = {"num_boost_round": 20, "max_leaves": 15, "learning_rate": 0.2}
STEPS = [
    (protocols, "standard"),
    (stored, "trained"),
    (artefacts, "save"),
    (rivals, "beside"),
    (comparison, "compare"),
    (registry, "register"),
    (backtests, "store"),
    (promotion, "apply"),
    (retrain, "close"),
]
SEGMENTS = ("global", "department:Grocery")
LENIENT = {  # eight series are too few for the guards
    "segment_min_rows": 1,
    "guard_coverage_points": 100,
    "guard_bias_points": 100,
    "guard_bias_max_points": 100,
    "guard_mape_pct": 1000,
}
LAST_STEP = "close"


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def sold(acme, tmp_path, settings) -> Customer:
    """Acme with a blunt champion for everything and one for groceries, either of which the next one replaces."""
    settings.ARTEFACT_DIR = tmp_path / "artefacts"
    shop(products=4, first=LAST - dt.timedelta(days=110)).to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    ModelPolicy.objects.update_or_create(customer=acme, defaults=LENIENT)
    for segment in SEGMENTS:
        order = Order(
            Trigger.MANUAL, AS_OF, "something has to serve", tier="cold_start", params=BLUNT, segments=(segment,)
        )
        version = retrain.retrain(acme, order).versions.get()
        if version.status != "champion":
            promotion.promote(version, by=None, reason="something has to serve", as_of=AS_OF)
    return acme


def weekly(customer: Customer) -> None:
    retrain.retrain(customer, Order(Trigger.SCHEDULED, NEXT_WEEK, params=GOOD))


def folders() -> set[str]:
    """The folders of the artefact store, half-written ones too."""
    root = Path(project.ARTEFACT_DIR)
    return {str(folder.relative_to(root)) for folder in root.glob("*/*")}


@pytest.fixture
def undisturbed(sold) -> Contents:
    """What the tables say after a retrain that nothing disturbs; it is undone."""
    with transaction.atomic():
        weekly(sold)
        found = contents()
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize(("module", "step"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_cut_short_after_any_step_and_done_again_it_ends_the_same(sold, undisturbed, monkeypatch, module, step):
    before, work, calls = contents(), getattr(module, step), []

    def dies(*args: object, **kwargs: object) -> object:
        done = work(*args, **kwargs)
        calls.append(step)
        if step == LAST_STEP or len(calls) == len(SEGMENTS):
            raise Killed
        return done

    with monkeypatch.context() as patch:
        patch.setattr(module, step, dies)
        patch.setattr(retrain, "_in_a_line", lambda _error: retrain.DIED)  # its line in the log says so
        with pytest.raises(Killed):
            weekly(sold)
    assert differences(contents(), before) == []

    weekly(sold)
    assert differences(contents(), undisturbed) == []
    assert folders() == set(ModelVersion.objects.values_list("artefact", flat=True))
    assert ModelVersion.objects.champions().filter(as_of=NEXT_WEEK).count() == len(SEGMENTS)
