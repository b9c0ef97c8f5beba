"""Two people decide at the same moment through different doors: one wins, the other is told who."""

import pytest

from forecasting.tests import story
from mlops.models import ModelReview, ModelVersion
from mlops.tests.races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_two_people_at_once_one_decides_and_the_other_is_told(tmp_path):
    retailer = story.until_drift_is_found(tmp_path)
    version = story.challenger()
    approving, rejecting = story.logged_in("alice"), story.logged_in("bob")
    answers = at_once(
        lambda work: work(),
        [
            lambda: story.through_the_alert_over_the_api(approving, "approve"),
            lambda: story.over_the_api(rejecting, "reject"),
        ],
    )
    codes = [answer.status_code for answer in answers]
    assert sorted(codes) == [200, 409]
    kept, alert, incident = ModelReview.objects.get(), story.alert(), story.incident()
    won = codes.index(200)
    assert str(kept.by) == ["alice@acme.example", "bob@acme.example"][won]
    assert alert.decision == ["approved", "rejected"][won]
    assert incident.outcome == ["replaced", "no_replacement"][won]
    assert ModelVersion.objects.get(pk=version.pk).status == ["champion", "archived"][won]
    assert alert.actioned_by == incident.closed_by == kept.by
    told = answers[1 - won].json()["detail"]
    assert f"{kept.get_action_display().lower()} by {kept.by} on " in told
    assert story.NOTES in told
    assert [(event.kind, event.by) for event in incident.events.all()][-1] == ("closed", kept.by)
    page = [approving, rejecting][1 - won].get(f"/models/review/{version}").content.decode()
    assert f"by {kept.by} on {story.FOUND}" in page
    retailer.live_until(story.FOUND + story.DAY)
    assert story.served(story.FOUND + story.DAY) == {[version.version, "v1"][won]}
    assert story.faults() == []
