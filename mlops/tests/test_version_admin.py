"""The page of a version: its decision can be read, and a former champion can be called back."""

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from mlops import shadow
from mlops.decision import decide
from mlops.models import BacktestResult, ModelPolicy, ModelVersion, VersionEvent
from mlops.promotion import apply, promote
from mlops.tests.ledger import DAY, a_comparison, a_version
from mlops.tests.nights import shadow_nights

pytestmark = pytest.mark.django_db
SYSTEM = {"by": None, "reason": "by rule", "as_of": DAY}


def page_of(version, person, client_of):
    return client_of(person).get(reverse("admin:mlops_modelversion_change", args=[version.pk])).content.decode()


def roll_back_url(version):
    return reverse("admin:mlops_modelversion_roll_back", args=[version.pk])


@pytest.fixture
def former(acme):
    """v1, whom v2 has followed."""
    version = a_version(acme, "champion")
    promote(a_version(acme), **SYSTEM)
    version.refresh_from_db()
    return version


def test_a_long_life_takes_no_more_queries(former, bob, client_of):
    def queries():
        with CaptureQueriesContext(connection) as found:
            page_of(former, bob, client_of)
        return len(found)

    queries()
    short = queries()
    event = {"from_status": "challenger", "to_status": "challenger", "reason": "held", "as_of": DAY, "by": bob}
    VersionEvent.objects.bulk_create(VersionEvent(version=former, **event) for _ in range(5))
    assert queries() == short


def test_the_decision_can_be_read(acme, charlie, client_of):
    a_version(acme, "champion")
    comparison = a_comparison(improvement=6.1, candidate_rmse=3.102)
    made = decide(comparison, ModelPolicy(), as_of=DAY, champion="v1")
    version = apply(made, a_version(acme), by=None, as_of=DAY)
    page = page_of(version, charlie, client_of)
    assert "6.1 % better, but RMSE is 3.4 % worse (at most 2): a person decides." in page
    assert (page.count("failed"), page.count("passed")) >= (1, 8)
    for text in ["v1, by its recipe", "seasonal naive", "Dairy", "Candidate", "Challenger"]:
        assert text in page


def test_the_backtest_and_what_moves_the_model_are_shown(acme, charlie, client_of):
    version = a_version(acme)
    ModelVersion.objects.filter(pk=version.pk).update(importances=[{"feature": "lag7", "share": 0.42, "effect": 1.3}])
    days = {"origin": DAY, "first_day": DAY, "day": DAY.replace(day=31)}
    for baseline, mae in [("", 1.234), ("seasonal_naive", 2.345)]:
        own = {"customer": acme, "version": version, "kind": "holdout", "lead_band": "1-7", "n": 9, "units": 1}
        BacktestResult.objects.create(**own, **days, baseline=baseline, mae=mae)
    page = page_of(version, charlie, client_of)
    for text in ["1.23", "2.35", "seasonal naive", "1 to 7 days", "Sales 7 days before", "42.0 %"]:
        assert text in page


def test_a_version_without_a_decision_has_a_page(acme, charlie, client_of):
    assert "Guards" not in page_of(a_version(acme), charlie, client_of)


def test_the_shadow_test_is_shown_while_it_runs_and_when_it_is_judged(acme, charlie, client_of):
    a_version(acme, "champion")
    version = a_version(acme, "challenger")
    assert "days scored" not in page_of(version, charlie, client_of)
    [test] = shadow.start(acme, DAY)
    shadow_nights(test, 3, per_day=6, better=10)
    shadow.evaluate_due(acme, DAY + dt.timedelta(days=3))
    assert "3 of 14" in page_of(version, charlie, client_of)
    shadow_nights(test, 11, first=DAY + dt.timedelta(days=3), per_day=6, better=10)
    shadow.evaluate_due(acme, DAY + dt.timedelta(days=14))
    page = page_of(version, charlie, client_of)
    for text in [
        "The shadow test is 10.0 % better and all guards pass: a person decides.",
        "14 of 14",
        "10.0 %",
        "Better: promote",
        "Guards in shadow",
        "On the same rows in shadow (14 days, 84 rows, 840 units)",
        "Departments in shadow",
        "Who served beside it in shadow",
    ]:
        assert text in page


def test_shadow_tests_and_their_rows_are_listed(acme, charlie, client_of):
    a_version(acme, "champion")
    a_version(acme, "challenger")
    [test] = shadow.start(acme, DAY)
    shadow_nights(test, 14, per_day=6, better=10)
    shadow.evaluate_due(acme, DAY + dt.timedelta(days=14))
    tests = client_of(charlie).get(reverse("admin:mlops_shadowtest_changelist")).content.decode()
    rows = client_of(charlie).get(
        reverse("admin:mlops_shadowprediction_changelist"), {"version__id__exact": test.version_id}
    )
    assert "14 of 14" in tests
    assert "Better: promote" in tests
    shown = [row.forecast_date for row in rows.context["cl"].result_list]
    assert shown[:7] == [dt.date(2026, 3, 15)] * 6 + [dt.date(2026, 3, 14)]


def test_only_managers_are_offered_a_rollback_and_only_to_a_former_champion(acme, former, alice, bob, client_of):
    assert roll_back_url(former) in page_of(former, bob, client_of)
    assert roll_back_url(former) not in page_of(former, alice, client_of)
    for other in [ModelVersion.objects.get(version="v2"), a_version(acme, "archived")]:
        assert roll_back_url(other) not in page_of(other, bob, client_of)


def test_it_says_what_will_happen_and_changes_nothing_by_looking(former, bob, client_of):
    page = client_of(bob).get(roll_back_url(former)).content.decode()
    former.refresh_from_db()
    assert former.status == "archived"
    for text in ["will serve all products again", "<strong>v2</strong>", "will be archived", "For 14 days"]:
        assert text in page


def test_a_rollback_needs_a_reason(former, bob, client_of):
    answer = client_of(bob).post(roll_back_url(former), {"reason": " ", "champion": "v2"})
    former.refresh_from_db()
    assert (answer.status_code, former.status) == (200, "archived")
    assert "This field is required" in answer.content.decode()


def test_a_rollback_is_done_and_recorded(former, bob, client_of):
    answer = client_of(bob).post(roll_back_url(former), {"reason": "empty shelves", "champion": "v2"}, follow=True)
    former.refresh_from_db()
    event = former.events.last()
    assert (former.status, event.by, event.reason) == ("champion", bob, "empty shelves")
    assert "v1 serves all products again." in answer.content.decode()
    assert ModelVersion.objects.get(version="v2").status == "archived"


def test_a_form_made_against_another_champion_is_refused(acme, former, bob, client_of):
    promote(a_version(acme), **SYSTEM)
    answer = client_of(bob).post(roll_back_url(former), {"reason": "empty shelves", "champion": "v2"}, follow=True)
    former.refresh_from_db()
    assert former.status == "archived"
    assert "v2 was to be rolled back, but v3 is champion since" in answer.content.decode()


def test_what_never_served_cannot_be_called_back(acme, bob, client_of):
    version = a_version(acme, "archived")
    for answer in [client_of(bob).get(roll_back_url(version), follow=True)]:
        assert "one can only roll back to a former champion" in answer.content.decode()
    client_of(bob).post(roll_back_url(version), {"reason": "x", "champion": ""})
    version.refresh_from_db()
    assert version.status == "archived"


@pytest.mark.parametrize(("name", "status"), [("alice", 403), ("charlie", 403), ("mallory", 404)])
def test_who_may_not_roll_back(name, status, former, client_of, request):
    person = request.getfixturevalue(name)
    for answer in [
        client_of(person).get(roll_back_url(former)),
        client_of(person).post(roll_back_url(former), {"reason": "x"}),
    ]:
        assert answer.status_code == status
    former.refresh_from_db()
    assert former.status == "archived"


def test_a_post_without_the_token_is_refused(former, bob, client_of):
    answer = client_of(bob, enforce_csrf_checks=True).post(roll_back_url(former), {"reason": "x", "champion": "v2"})
    assert answer.status_code == 403
