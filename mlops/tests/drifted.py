"""Drift for tests: a night's check and an incident that people were told of, without any forecast."""

import datetime as dt

from mlops import incidents
from mlops.models import DriftCheck, DriftIncident, ModelVersion
from mlops.tests.ledger import DAY, a_version

NIGHT = DAY + dt.timedelta(days=1)
NUMBERS = {"baseline_mae": 12.8, "recent_mae": 18.5, "drift_pct": 44.53125}


def a_check(champion: ModelVersion, as_of: dt.date = NIGHT, **numbers: float) -> DriftCheck:
    """Drift, with the specification's numbers."""
    return DriftCheck.objects.create(
        customer=champion.customer,
        segment=champion.segment,
        as_of=as_of,
        champion=champion,
        verdict="drift",
        reason="worse",
        **(NUMBERS | numbers),
    )


def answered(champion: ModelVersion, failure: str = "", as_of: dt.date = NIGHT) -> DriftIncident:
    """An incident with its alert and, unless the retrain failed, its challenger."""
    incident = incidents.detected(a_check(champion, as_of))
    log = None
    if not failure:
        version = a_version(champion.customer, "challenger", trigger="drift_detected")
        log = version.run
    incidents.answer(incident, log, dossier={"why": "Because."}, suggested=DriftIncident.Verdict.REAL, failure=failure)
    incident.refresh_from_db()
    return incident
