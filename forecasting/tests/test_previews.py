"""What would change if a version served, from its preview and the champion's forecasts."""

import pandas as pd
import pytest

from forecasting import previews, stored
from forecasting.models import Forecast, ForecastRun, Product, Store
from mlops.artefacts import BrokenArtefact
from mlops.models import RoutingRule
from mlops.tests.ledger import DAY, a_version

pytestmark = pytest.mark.django_db
DAYS = pd.date_range(DAY, periods=4)[1:]


@pytest.fixture
def both(acme, monkeypatch):
    """v1 serves, v2 expects twice as much of milk; two products in a store, three days ahead."""
    champion, version = a_version(acme, "champion"), a_version(acme, "challenger")
    store = Store.objects.create(customer=acme, code="s1")
    milk, tv = (
        Product.objects.create(customer=acme, code=code, name=code.title(), department=department)
        for code, department in (("milk", "Dairy"), ("tv", "Electronics"))
    )
    expects = {champion.pk: {milk: 10.0, tv: 5.0}, version.pk: {milk: 20.0, tv: 5.0}}

    def preview(of):
        rows = [(f"{store.pk}|{item.pk}", day, lead, units) for item, units in expects[of.pk].items()
                for lead, day in enumerate(DAYS, start=1)]  # fmt: skip
        return pd.DataFrame(rows, columns=["unique_id", "ds", "lead", "prediction"])

    monkeypatch.setattr(stored, "load_preview", preview)
    return version, champion, store, milk


def publish(champion, store, item, units):
    run = ForecastRun.objects.create(
        customer=champion.customer, as_of=DAY, origin=DAY, status="published", days=len(DAYS)
    )
    rule = RoutingRule.objects.get(version=champion)
    for lead, day in enumerate(DAYS, start=1):
        Forecast.objects.create(
            run=run, store=store, product=item, version=champion, rule=rule, origin=DAY, date=day, lead=lead,
            prediction=units,
        )  # fmt: skip


def test_two_previews_are_compared_on_the_days_that_both_hold(both):
    version, champion, *_ = both
    found = previews.difference(version, champion)
    assert found.sentence == "For 2026-03-03 to 2026-03-05 v2 expects 75 units and v1 45: +66.7 %."
    assert list(found.departments.labels) == ["Dairy", "Electronics"]
    assert [line.values for line in found.departments.lines] == [[60.0, 15.0], [30.0, 15.0]]


def test_the_items_that_change_most_come_first(both):
    version, champion, *_ = both
    first, second = previews.difference(version, champion).items.rows
    assert first == ["Milk", "s1", "60.0", "30.0", "+30.0 units"]
    assert second[-1] == "+0.0 units"


def test_forecasts_that_knew_the_same_sales_go_first_but_for_the_day_that_they_served(both):
    version, champion, store, milk = both
    publish(champion, store, milk, 25.0)
    found = previews.difference(version, champion)
    assert found.sentence == "For 2026-03-04 to 2026-03-05 v2 expects 40 units and v1 50: -20.0 %."


def test_of_a_version_that_expects_nothing_of_anybody_nothing_is_told(both, monkeypatch):
    version, champion, *_ = both
    empty = stored.load_preview(version).iloc[:0]
    monkeypatch.setattr(stored, "load_preview", lambda _of: empty)
    assert previews.difference(version, champion) is None


def test_without_files_nothing_is_told(acme):
    assert previews.difference(a_version(acme, "challenger"), a_version(acme, "champion")) is None


def test_files_that_could_not_be_read_are_read_again_the_next_time(both, monkeypatch):
    version, champion, *_ = both

    def gone(_of):
        raise BrokenArtefact("The store does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(stored, "load_preview", gone)
        assert previews.difference(version, champion) is None
    assert previews.difference(version, champion)
