"""A customer with one row of everything that the API shows, without any training."""

import datetime as dt
from dataclasses import dataclass

from django.utils import timezone

from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from forecasting.models import FeedDay, Forecast, ForecastRun, Product, Series, Store
from mlops.models import (
    BacktestResult,
    DriftCheck,
    DriftIncident,
    ModelExperiment,
    ModelRetrainingLog,
    ModelVersion,
    RoutingRule,
    ShadowPrediction,
)
from mlops.tests.ledger import DAY, a_version
from shelfops.models import Customer, JobRun, Membership, Role, User

TODAY = DAY + dt.timedelta(days=1)


@dataclass(frozen=True)
class World:
    """What paths are made of. The champion is v2; v1 was it before, v3 waits for a review, v4 too, after drift."""

    customer: Customer
    alert: MLAlert
    drift_alert: MLAlert
    log: ModelRetrainingLog
    run: JobRun
    incident: DriftIncident
    unreplaced: DriftIncident
    former: ModelVersion
    champion: ModelVersion
    challenger: ModelVersion
    drift_challenger: ModelVersion
    proposed: ModelExperiment
    approved: ModelExperiment
    in_shadow: ModelExperiment
    adopted: ModelExperiment


def a_world(customer: Customer) -> World:
    """Seeds the customer, whose today is the day after all rows."""
    customer.clock = TODAY
    customer.save()
    former, champion = a_version(customer, "champion"), a_version(customer, "champion")
    challenger = a_version(customer, "challenger", parent=champion)
    drift_challenger = a_version(customer, "challenger", trigger="drift_detected", parent=champion)
    former.refresh_from_db()
    incident = DriftIncident.objects.create(
        customer=customer, segment="global", opened_on=DAY, last_seen_on=DAY, champion=champion, baseline_mae=12.8,
        recent_mae=18.5, drift_pct=44.5, dossier={"findings": []}, challenger=drift_challenger,
        retraining=drift_challenger.run,
    )  # fmt: skip
    drift_alert = an_alert(customer, MLAlert.Type.DRIFT_DETECTED, "v4", metadata={"new_version": "v4"})
    run = JobRun.objects.create(
        customer=customer, job="retrain", slot="manual:1", arguments={"reason": f"why {customer.slug}"}
    )
    log = ModelRetrainingLog.objects.create(customer=customer, trigger_type="scheduled", as_of=DAY, job_run=run)
    found = World(
        customer, an_alert(customer, version="v3"), drift_alert, log, run, incident, _unreplaced(incident), former,
        champion, challenger, drift_challenger, *_experiments(customer),
    )  # fmt: skip
    more(found, 1)
    return found


def _unreplaced(incident: DriftIncident) -> DriftIncident:
    """Another one, of whose failed retrain people were told."""
    return DriftIncident.objects.create(
        customer=incident.customer, segment="department:Dairy", opened_on=DAY, last_seen_on=DAY,
        champion=incident.champion, baseline_mae=12.8, recent_mae=18.5, drift_pct=44.5, suggested_verdict="real",
    )  # fmt: skip


def _experiments(customer: Customer) -> list[ModelExperiment]:
    """One that is proposed, approved, in shadow, and one by whose adoption v2 followed v1; of two further people."""
    people = [User.objects.create_user(f"{name}@{customer.slug}.example", None) for name in ("dana", "erin")]
    for person, role in zip(people, (Role.DATA_SCIENTIST, Role.ML_MANAGER), strict=True):
        Membership.objects.create(user=person, customer=customer, role=role)
    dana, erin = people
    asked = {
        "customer": customer, "experiment_name": f"Tiers of {customer.slug}", "hypothesis": "They differ.",
        "experiment_type": "segmentation", "proposed_by": dana, "plan": {"tier": "cold_start"},
    }  # fmt: skip
    allowed = asked | {"approved_by": erin, "approved_at": timezone.now(), "rationale": "Try it."}
    done = {"decision": "adopt", "decision_rationale": "Better.", "completed_by": dana, "completed_at": timezone.now()}
    adopted = [{"version": "v2", "segment": "global", "former": "v1"}]
    create = ModelExperiment.objects.create
    return [
        create(**asked, status="proposed"),
        create(**allowed, status="approved"),
        create(**allowed, status="shadow_testing"),
        create(**allowed, **done, status="completed", adopted=adopted),
    ]


def more(world: World, rows: int) -> None:
    """So many further rows of every table that is listed."""
    version, customer = world.champion, world.customer
    start = Forecast.objects.filter(run__customer=customer).count()
    rule = RoutingRule.objects.of(customer).open().get(segment="global")
    run = ForecastRun.objects.current(customer) or ForecastRun.objects.create(
        customer=customer, as_of=TODAY, origin=DAY, status="published"
    )
    store, _ = Store.objects.get_or_create(customer=customer, code="s1", defaults={"cluster": "Urban"})
    product, _ = Product.objects.get_or_create(customer=customer, code="p1", defaults={"department": "Dairy"})
    Series.objects.get_or_create(store=store, product=product, defaults={"first_sold": DAY})
    for number in range(rows):
        day = DAY - dt.timedelta(days=start + number)
        key = f"{customer.slug}-{start + number}"
        BacktestResult.objects.create(
            customer=customer, version=version, kind="daily", origin=day, lead_band="1", first_day=day, day=day, n=1,
            units=1, mae=2,
        )  # fmt: skip
        ShadowPrediction.objects.create(
            customer=customer, version=world.challenger, champion=version, store_id=key, product_id="p1",
            forecast_date=day, champion_prediction=12.8, challenger_prediction=11.5,
        )  # fmt: skip
        Forecast.objects.create(
            run=run, store=store, product=product, version=version, rule=rule, origin=day, date=day, lead=1,
            prediction=12.5, lower=8, upper=17,
        )  # fmt: skip
        FeedDay.objects.create(store=store, date=day, status="complete")
        DriftCheck.objects.create(
            customer=customer, segment="global", as_of=day, champion=version, verdict="drift", reason="44.5 % worse",
            incident=world.incident, drift_pct=44.5,
        )  # fmt: skip
        if start + number:
            _a_listed_version(world, f"department:{key}")
            RoutingRule.objects.create(
                customer=customer, segment=f"department:{key}", version=version, valid_from=day, valid_to=day
            )
            an_alert(customer, version=f"x{key}", dedupe=key)
            ModelExperiment.objects.create(
                customer=customer, experiment_name=key, hypothesis="h", experiment_type="other",
                proposed_by=world.proposed.proposed_by,
            )  # fmt: skip
            ModelRetrainingLog.objects.create(customer=customer, trigger_type="scheduled", as_of=day)


def _a_listed_version(world: World, segment: str) -> None:
    """Without files: lists do not read them."""
    copy = ModelVersion.objects.get(pk=world.challenger.pk)
    copy.pk, copy.segment, copy.number = None, segment, 100
    copy.version = f"v100_{segment.partition(':')[2]}"
    copy.save()
    closed = DriftIncident.objects.get(pk=world.incident.pk)
    closed.pk, closed.segment = None, segment
    closed.save()
