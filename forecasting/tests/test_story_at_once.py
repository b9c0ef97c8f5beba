"""Two people decide at the same moment through different doors: one wins, the other is told who."""

import pytest

from forecasting.tests import story
from mlops.models import ModelReview, ModelVersion
from mlops.tests.races import at_once
from shelfops.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_two_people_at_once_one_decides_and_the_other_is_told(tmp_path, client_of):
    story.until_drift_is_found(tmp_path)
    version = story.challenger()
    approving, rejecting = (client_of(User.objects.get(email=f"{name}@acme.example")) for name in ("alice", "bob"))
    codes = at_once(
        lambda work: work(),
        [
            lambda: story.through_the_alert_over_the_api(approving, "approve"),
            lambda: story.over_the_api(rejecting, "reject"),
        ],
    )
    assert sorted(codes) == [200, 409]
    kept, alert, incident = ModelReview.objects.get(), story.alert(), story.incident()
    won = codes.index(200)
    assert str(kept.by) == ["alice@acme.example", "bob@acme.example"][won]
    assert alert.decision == ["approved", "rejected"][won]
    assert incident.outcome == ["replaced", "no_replacement"][won]
    assert ModelVersion.objects.get(pk=version.pk).status == ["champion", "archived"][won]
    assert alert.actioned_by == incident.closed_by == kept.by
    page = [approving, rejecting][1 - won].get(f"/models/review/{version}").content.decode()
    assert f"by {kept.by} on {story.FOUND}" in page
