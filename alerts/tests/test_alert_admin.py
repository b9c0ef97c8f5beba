"""The pages of alerts: what to do is seen in the list, read on the page, and decided on a form with notes."""

import datetime as dt

import pytest
from django.urls import reverse
from django.utils import timezone

from alerts import acting
from alerts.models import MLAlert
from alerts.reading import mark_read
from alerts.tests.messages import an_alert
from shelfops.models import Membership
from shelfops.refusals import Refusal
from shelfops.tenancy import NotAllowed

pytestmark = pytest.mark.django_db
Type = MLAlert.Type
LIST = reverse("admin:alerts_mlalert_changelist")


def page_of(alert):
    return reverse("admin:alerts_mlalert_change", args=[alert.pk])


def form_of(alert, answer):
    return reverse("admin:alerts_mlalert_act", args=[alert.pk, answer])


def read(client, url, **query):
    return client.get(url, query).content.decode()


def ago(**time):
    return timezone.now() - dt.timedelta(**time)


@pytest.fixture
def approved(monkeypatch):
    """The alerts whose approval was carried out, each with the champion that was expected."""
    done = []
    monkeypatch.setattr(acting, "_handlers", {})
    acting.on_approve(Type.PROMOTION_PENDING, lambda alert, **told: done.append((alert.pk, told["expected_champion"])))
    return done


# --- The list


def test_the_list_says_what_is_to_be_done(acme, alice, client_of):
    drift = an_alert(acme, Type.DRIFT_DETECTED, version="v13", due_at=ago(hours=3, minutes=1))
    MLAlert.objects.filter(pk=drift.pk).update(created_at=ago(hours=5, minutes=1))
    page = read(client_of(alice), LIST)
    for text in ["Critical", "v13 awaits a decision", "5 hours", "Unread", "Overdue by 3 hours", "Review Model v13"]:
        assert text in page.replace("\xa0", " ")
    assert 'href="/models/review/v13"' in page


def test_the_list_shows_each_person_what_they_have_read(acme, alice, charlie, client_of):
    mark_read([an_alert(acme)], alice)
    assert "Unread" not in read(client_of(alice), LIST)
    assert "Unread" in read(client_of(charlie), LIST)


def test_its_page_says_by_when_in_the_customer_s_zone(acme, charlie, client_of):
    acme.timezone = "America/New_York"
    acme.save()
    due = dt.datetime(2035, 7, 2, 1, 36, tzinfo=dt.UTC)
    alert = an_alert(acme, due_at=due)
    page = read(client_of(charlie), page_of(alert))
    assert "A decision is due by 2035-07-01 21:36 EDT." in " ".join(page.split())


def test_what_is_over_has_nothing_to_be_done(acme, alice, approved, client_of):
    acting.act(an_alert(acme, due_at=ago(hours=1)), "approve", by=alice, notes="fine")
    page = read(client_of(alice), LIST)
    assert "Actioned" in page
    assert "Overdue by" not in page
    assert "Review Model" not in page


@pytest.mark.parametrize(
    ("which", "found"),
    [("", "late read new over"), ("open", "late read new"), ("overdue", "late"), ("unread", "late new")],
)
def test_the_list_answers_the_usual_questions(which, found, acme, globex, alice, client_of):
    alerts = {
        "late": an_alert(acme, version="late", due_at=ago(hours=1)),
        "read": an_alert(acme, version="read"),
        "new": an_alert(acme, version="new"),
        "over": an_alert(acme, version="over"),
    }
    mark_read([alerts["read"]], alice)
    acting.act(alerts["over"], "dismiss", by=alice, notes="seen")
    an_alert(globex, version="strange")
    rows = client_of(alice).get(LIST, {"which": which}).context["cl"].result_list
    assert sorted(alert.version for alert in rows) == sorted(found.split())


def test_the_questions_are_links_on_the_list(acme, alice, client_of):
    page = read(client_of(alice), LIST)
    for link in ['href="?"', 'href="?which=open"', 'href="?which=overdue"', 'href="?which=unread"']:
        assert link in page


# --- One alert


def test_the_page_tells_the_facts_in_words(acme, charlie, client_of):
    metadata = {"drift_pct": 44.53, "recent_mae": 18.5, "new_version": "v13", "lower": None}
    alert = an_alert(acme, Type.DRIFT_DETECTED, version="v13", metadata=metadata, due_at=ago(hours=1))
    page = read(client_of(charlie), page_of(alert))
    for text in ["Drift", "44.5 %", "Recent MAE", "18.5", "Review Model v13", "Overdue: a decision was due"]:
        assert text in page
    for code in ["drift_pct", "recent_mae", "None", "{&#x27;", "(&#x27;", "dedupe"]:
        assert code not in page


def test_opening_it_is_reading_it(acme, alice, charlie, client_of):
    alert = an_alert(acme)
    client_of(charlie).get(page_of(alert))
    assert not MLAlert.objects.unread_by(charlie).exists()
    assert MLAlert.objects.unread_by(alice).exists()
    assert "Read" in read(client_of(charlie), page_of(alert))


def test_who_is_offered_what(acme, alice, bob, charlie, approved, client_of):
    alert = an_alert(acme)
    for person, offered in {alice: True, bob: True, charlie: False}.items():
        page = read(client_of(person), page_of(alert))
        assert [form_of(alert, answer) in page for answer in ["approve", "dismiss"]] == [offered] * 2


def test_an_approval_is_offered_only_to_those_who_may(acme, alice, bob, approved, client_of):
    acting.on_approve(Type.PROMOTION_PENDING, print, may=lambda alert, by: by == bob)
    alert = an_alert(acme)
    assert form_of(alert, "approve") not in read(client_of(alice), page_of(alert))
    assert form_of(alert, "approve") in read(client_of(bob), page_of(alert))


def test_where_nothing_can_be_approved_it_is_not_offered(acme, bob, approved, client_of):
    alert = an_alert(acme, Type.BACKTEST_DEGRADATION)
    page = read(client_of(bob), page_of(alert))
    assert form_of(alert, "dismiss") in page
    assert form_of(alert, "approve") not in page
    answer = client_of(bob).get(form_of(alert, "approve"), follow=True).content.decode()
    assert "cannot be approved" in answer


def test_a_decided_alert_says_who_when_and_why_and_has_no_buttons(acme, alice, charlie, approved, client_of):
    alert = acting.act(an_alert(acme), "approve", by=alice, notes="better in every department")
    page = read(client_of(charlie), page_of(alert))
    assert "It was approved by alice@acme.example on" in page
    assert "(better in every department)." in page
    assert "/act/" not in page
    assert "See the review of v2" in page
    assert "Review Model" not in page


# --- The form


def test_the_form_says_what_will_happen_and_looking_changes_nothing(acme, bob, approved, client_of):
    alert = an_alert(acme)
    assert "<strong>v2</strong> will become champion of what it was trained for" in read(
        client_of(bob), form_of(alert, "approve")
    )
    assert "That rejects no model: v2 stays what it is" in read(client_of(bob), form_of(alert, "dismiss"))
    alert.refresh_from_db()
    assert (alert.is_open, approved) == (True, [])


@pytest.mark.parametrize(("answer", "status"), [("approve", "actioned"), ("dismiss", "dismissed")])
def test_a_decision_is_done_and_kept(answer, status, acme, bob, approved, client_of):
    alert = an_alert(acme, metadata={"champion": "v1"})
    page = client_of(bob).post(form_of(alert, answer), {"notes": "reviewed"}, follow=True).content.decode()
    alert.refresh_from_db()
    assert (alert.status, alert.notes) == (status, "reviewed")
    assert f"“v2 awaits a decision” is {answer}".rstrip("e") in page
    assert approved == ([(alert.pk, "v1")] if answer == "approve" else [])


@pytest.mark.parametrize("answer", ["approve", "dismiss"])
def test_a_decision_needs_notes(answer, acme, bob, approved, client_of):
    alert = an_alert(acme)
    page = client_of(bob).post(form_of(alert, answer), {"notes": " "})
    alert.refresh_from_db()
    assert (page.status_code, alert.is_open, approved) == (200, True, [])
    assert "This field is required" in page.content.decode()


def test_whoever_comes_second_is_told_who_was_first(acme, alice, bob, approved, client_of):
    alert = an_alert(acme)
    acting.act(alert, "dismiss", by=alice, notes="known")
    page = client_of(bob).post(form_of(alert, "approve"), {"notes": "good"}, follow=True).content.decode()
    assert "was dismissed by alice@acme.example" in page
    assert approved == []


def test_what_the_rule_refuses_is_told_and_changes_nothing(acme, bob, monkeypatch, client_of):
    def stale(alert, **_):
        raise Refusal("v2 was compared with v1, but v3 is champion.")

    monkeypatch.setattr(acting, "_handlers", {})
    acting.on_approve(Type.PROMOTION_PENDING, stale)
    alert = an_alert(acme)
    page = client_of(bob).post(form_of(alert, "approve"), {"notes": "good"}, follow=True).content.decode()
    alert.refresh_from_db()
    assert "v2 was compared with v1, but v3 is champion." in page
    assert alert.is_open


@pytest.mark.parametrize("answer", ["approve", "dismiss"])
@pytest.mark.parametrize(("name", "status"), [("charlie", 403), ("mallory", 404), ("alice", 302), ("bob", 302)])
def test_who_may_decide(name, status, answer, acme, approved, client_of, request):
    alert, client = an_alert(acme), client_of(request.getfixturevalue(name))
    assert client.get(form_of(alert, answer)).status_code == (200 if status == 302 else status)
    assert client.post(form_of(alert, answer), {"notes": "reviewed"}).status_code == status
    alert.refresh_from_db()
    assert alert.is_open is (status != 302)


def test_a_right_that_only_the_rule_knows_answers_403(acme, alice, monkeypatch, client_of):
    def refuse(alert, **_):
        raise NotAllowed("You may not review promotions.")

    monkeypatch.setattr(acting, "_handlers", {})
    acting.on_approve(Type.PROMOTION_PENDING, refuse)
    alert = an_alert(acme)
    assert client_of(alice).post(form_of(alert, "approve"), {"notes": "x"}).status_code == 403


def test_a_scientist_here_is_a_stranger_there(acme, globex, alice, approved, client_of):
    Membership.objects.create(user=alice, customer=globex, role="retail_ops")
    alert = an_alert(globex)
    assert client_of(alice).get(page_of(alert)).status_code == 200
    assert client_of(alice).post(form_of(alert, "dismiss"), {"notes": "x"}).status_code == 403


@pytest.mark.parametrize("answer", ["approve", "dismiss"])
def test_a_post_without_the_token_is_refused(answer, acme, bob, client_of):
    alert = an_alert(acme)
    client = client_of(bob, enforce_csrf_checks=True)
    assert client.post(form_of(alert, answer), {"notes": "x"}).status_code == 403


def test_another_word_is_no_decision(acme, bob, client_of):
    assert client_of(bob).get(form_of(an_alert(acme), "reject")).status_code == 404
