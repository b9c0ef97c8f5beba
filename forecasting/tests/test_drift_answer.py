"""The whole answer to drift with a model that is really trained, from the detection to a person's decision."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from alerts.models import MLAlert
from forecasting import sales, stored
from forecasting.drift import detect_here
from forecasting.features import dates
from forecasting.loading import load_sales
from forecasting.models import Forecast, ForecastRun
from forecasting.orders import Order, Trigger
from forecasting.predict import predict_lead_one
from forecasting.retrain import retrain
from forecasting.tests.synthetic import LAST, shop
from mlops.models import DriftIncident, ModelPolicy, ModelRetrainingLog, ModelVersion, RoutingRule
from mlops.review import review

pytestmark = pytest.mark.django_db
SMALL = {"num_boost_round": 15, "max_leaves": 15, "learning_rate": 0.2}
AS_OF = LAST + dt.timedelta(days=1)
BEGAN = AS_OF - dt.timedelta(days=37)
SHIFTED = LAST - dt.timedelta(days=6)


@pytest.fixture
def served(acme, tmp_path: Path):
    """Served for 37 days by a model, the last week of which nearly all demand was of another size."""
    rows = shop(stores=3, products=12)
    shifted = rows["date"].dt.date >= SHIFTED
    rows.loc[shifted, "quantity"] = rows.loc[shifted, "quantity"] * 3 + 2
    rows.to_parquet(tmp_path / "sales.parquet", index=False)
    load_sales(acme, tmp_path / "sales.parquet")
    acme.clock = AS_OF
    acme.save()
    champion = retrain(acme, Order(Trigger.MANUAL, BEGAN, "first", params=SMALL)).versions.get()
    _serve(champion)
    return champion


def _serve(champion: ModelVersion) -> None:
    policy, acme = ModelPolicy.of(champion.customer), champion.customer
    panel = sales.panel(acme, last_day=LAST)
    rows = predict_lead_one(stored.load_model(champion), panel, BEGAN, LAST, policy.active_days)
    run = ForecastRun.objects.create(customer=acme, as_of=AS_OF, origin=LAST, cause="night", status="superseded")
    rule = RoutingRule.objects.get(version=champion)
    sold = pd.Series(panel.y, index=[panel.unique_ids(panel.series).astype(str), dates(panel.days)])
    week_ago = sold.rename(lambda ds: ds + pd.Timedelta(days=7), level=1)
    Forecast.objects.bulk_create(
        Forecast(
            run=run,
            rule=rule,
            version=champion,
            store_id=int(row.unique_id.split("|")[0]),
            product_id=int(row.unique_id.split("|")[1]),
            date=row.ds.date(),
            origin=row.origin.date(),
            lead=1,
            prediction=row.prediction,
            seasonal_naive=week_ago[row.unique_id, row.ds],
            actual=sold[row.unique_id, row.ds],
        )
        for row in rows.itertuples()
    )


def test_drift_trains_a_challenger_that_a_person_promotes(served, acme, alice):
    run = detect_here(acme)

    log = ModelRetrainingLog.objects.get(trigger_type="drift_detected")
    incident, alert = DriftIncident.objects.get(), MLAlert.objects.get(alert_type="drift_detected")
    version = ModelVersion.objects.get(run=log)
    assert (log.status, log.job_run, log.trigger_metadata["incident_id"]) == ("completed", run, incident.pk)
    assert (version.status, version.train_end - version.train_start) == ("challenger", dt.timedelta(days=29))
    assert (incident.challenger, incident.suggested_verdict) == (version, "calendar_or_level")
    assert alert.action_url == f"/models/review/{version}"
    assert log.trigger_metadata["drift_pct"] == alert.metadata["drift_pct"] > 15
    assert (detect_here(acme).result["segments"][0]["new_version"], ModelVersion.objects.count()) == ("v2", 2)

    review(version, "approve", by=alice, notes="demand has really moved", verdict="calendar_or_level")

    incident.refresh_from_db()
    alert.refresh_from_db()
    assert (incident.status, incident.outcome, alert.status) == ("closed", "replaced", "actioned")
    assert ModelVersion.objects.champion_for(acme) == version
