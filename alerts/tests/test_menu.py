"""The badge and the list of open alerts: what every page shows, and the JSON that keeps it up to date."""

import datetime as dt

import pytest
from django.test import RequestFactory
from django.utils import timezone

from alerts.context_processors import open_alerts
from alerts.menu import menu
from alerts.models import MLAlert
from alerts.tests.messages import an_alert
from shelfops.models import Membership, Role

pytestmark = pytest.mark.django_db
Type = MLAlert.Type
MENU = "/alerts/menu"


def request_of(person):
    request = RequestFactory().get("/")
    request.user = person
    return request


@pytest.mark.parametrize(
    ("types", "words", "tone"),
    [
        ([], "No ML alerts", ""),
        ([Type.DRIFT_DETECTED], "1 Critical ML Alert", "danger"),
        ([Type.PROMOTION_PENDING, Type.BACKTEST_DEGRADATION], "2 Warning ML Alerts", "warning"),
        ([Type.EXPERIMENT_COMPLETE], "1 Info ML Alert", "info"),
        ([Type.DRIFT_DETECTED, Type.EXPERIMENT_COMPLETE], "1 Critical ML Alert, 1 more", "danger"),
    ],
)
def test_the_badge_names_the_gravest(types, words, tone, acme, alice):
    for kind in types:
        an_alert(acme, kind, dedupe=kind)
    found = menu(request_of(alice))
    assert (found.words, found.tone) == (words, tone)


@pytest.mark.parametrize("page", ["/", "/admin/forecasting/store/", "/admin/alerts/mlalert/", "/models/review/v9"])
def test_it_stands_on_every_page(page, acme, alice, client_of):
    an_alert(acme, Type.DRIFT_DETECTED, "v13")
    shown = client_of(alice).get(page).content.decode()
    assert "1 Critical ML Alert" in shown
    assert "Review Model v13" in shown


def test_the_list_says_what_each_asks_for(acme, alice):
    acme.timezone = "Europe/Berlin"
    acme.save()
    an_alert(acme, version="v2")
    drift = an_alert(acme, Type.DRIFT_DETECTED, "v13", due_at=timezone.now() - dt.timedelta(hours=1))
    assert [one["alert"].version for one in menu(request_of(alice)).alerts] == ["v13", "v2"]
    assert drift.overdue


def test_the_rest_of_many_is_counted(acme, alice, client_of):
    for number in range(10):
        an_alert(acme, version=f"v{number}", dedupe=str(number))
    assert menu(request_of(alice)).others == 2
    assert "All 10 open alerts" in client_of(alice).get("/").content.decode()


def test_strangers_see_nothing_of_it(acme, mallory, client_of):
    an_alert(acme, Type.DRIFT_DETECTED)
    assert client_of(mallory).get(MENU).json()["words"] == "No ML alerts"
    assert client_of(None).get(MENU).status_code == 302


def test_who_may_not_dismiss_has_no_button_for_it(acme, charlie, client_of):
    an_alert(acme)
    assert "Dismiss" not in client_of(charlie).get(MENU).json()["html"]


def test_the_same_answer_is_not_sent_twice(acme, alice, client_of):
    an_alert(acme)
    client = client_of(alice)
    etag = client.get(MENU)["ETag"]
    assert client.get(MENU, headers={"if-none-match": etag}).status_code == 304
    an_alert(acme, Type.DRIFT_DETECTED, "v13")
    assert client.get(MENU, headers={"if-none-match": etag}).json()["words"] == "1 Critical ML Alert, 1 more"


def test_dismissing_there_leads_back_to_the_page(acme, alice, client_of):
    alert = an_alert(acme)
    act = f"/admin/alerts/mlalert/{alert.pk}/act/dismiss/"
    client = client_of(alice)
    assert client.post(act, {"notes": "", "next": "/"}).status_code == 200  # asks for notes
    assert (
        client.post(act, {"notes": "seen", "next": "/admin/forecasting/sale/"})["Location"]
        == "/admin/forecasting/sale/"
    )
    alert.refresh_from_db()
    assert (alert.status, alert.notes, alert.dismissed_by) == ("dismissed", "seen", alice)


def test_it_leads_to_no_other_host(acme, alice, client_of):
    act = f"/admin/alerts/mlalert/{an_alert(acme).pk}/act/dismiss/"
    assert client_of(alice).post(act, {"notes": "seen", "next": "//evil.example/"})["Location"].startswith("/admin/")


def test_a_person_of_several_customers_is_told_whose_it_is(acme, globex, alice, client_of):
    Membership.objects.create(user=alice, customer=globex, role=Role.RETAIL_OPS)
    an_alert(globex)
    assert "Globex Markets, " in client_of(alice).get(MENU).json()["html"]


def test_a_page_that_shows_no_alerts_asks_nothing(acme, alice, django_assert_num_queries):
    an_alert(acme)
    request = request_of(alice)
    with django_assert_num_queries(0):
        pages = [open_alerts(request), open_alerts(request)]
    with django_assert_num_queries(3):
        assert [page["menu"].words for page in pages] == ["1 Warning ML Alert"] * 2


def test_passers_by_are_told_nothing(rf):
    assert open_alerts(rf.get("/")) == {}


def test_versions_of_one_experiment_stand_in_one_place(acme, alice):
    page = {"action_url": "/experiments/7/results"}
    titles = [f"v{number} has completed its shadow test" for number in (4, 5)]
    for number, title in enumerate(titles):
        an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE, f"v{number + 4}", title=title, dedupe=str(number), **page)
    an_alert(acme, MLAlert.Type.SHADOW_TEST_COMPLETE, "v6", title="v6 has completed its shadow test")
    found = menu(request_of(alice))
    assert [one["alert"].title for one in found.alerts] == ["v6 has completed its shadow test", titles[1]]
    assert [[other.title for other in one["also"]] for one in found.alerts] == [[], [titles[0]]]
    assert (found.total, found.others) == (3, 0)
