"""Where messages may go: e-mail and webhooks, but not into the server's own network, and nobody's secrets shown."""

import pytest
from django.urls import reverse

from alerts import channels
from alerts.channels import UnusableChannel, connect
from alerts.models import MLAlert, NotificationChannel
from alerts.tests.messages import an_alert

Severity, Type = MLAlert.Severity, MLAlert.Type
PUBLIC = "jsons://user:secret@93.184.216.34/hooks/secret-token"


@pytest.fixture
def answers(monkeypatch):
    """What the name server says; tests ask none."""
    known = {}
    monkeypatch.setattr(
        channels.socket,
        "getaddrinfo",
        lambda host, *_, **__: [(0, 0, 0, "", (address, 0)) for address in known.get(host, [host])],
    )
    return known


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.8",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "[::1]",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:127.0.0.1]",
    ],
)
def test_the_servers_own_network_is_out_of_reach(host):
    with pytest.raises(UnusableChannel, match=r"own network, which messages must not reach into.*PRIVATE_HOSTS=true"):
        connect(f"json://{host}/hook")


@pytest.mark.parametrize(
    "url", ["json://localhost:5432/", "json://2130706433/", "mailto://x:y@acme.example?smtp=localhost"]
)
def test_however_it_is_written(url):
    with pytest.raises(UnusableChannel, match="own network"):
        connect(url)


def test_a_name_with_one_private_address_is_refused(answers):
    answers["hooks.acme.example"] = ["93.184.216.34", "10.0.0.8"]
    with pytest.raises(UnusableChannel, match=r"“hooks\.acme\.example” lies in"):
        connect("jsons://hooks.acme.example/x")


def test_a_mail_is_checked_by_the_server_that_takes_it(answers):
    answers |= {"acme.example": ["93.184.216.34"], "mail.acme.example": ["10.0.0.8"]}
    connect("mailtos://u:p@acme.example")
    with pytest.raises(UnusableChannel, match=r"“mail\.acme\.example” lies in"):
        connect("mailtos://u:p@acme.example?smtp=mail.acme.example")


def test_whoever_runs_the_installation_may_allow_it(settings):
    settings.NOTIFY_PRIVATE_HOSTS = True
    assert connect("json://127.0.0.1/hook").host == "127.0.0.1"


def test_an_unknown_host_is_refused():
    with pytest.raises(UnusableChannel, match=r"“no-such-host\.invalid” is not found: check its name"):
        connect("jsons://no-such-host.invalid/")


@pytest.mark.parametrize("url", ["https://hooks.acme.example/", "dbus://", "syslog://", "slack://a/b/c", "x"])
def test_other_kinds_of_address_are_refused(url):
    with pytest.raises(
        UnusableChannel, match=r"start the address with one of mailto://, mailtos://, json://, jsons://"
    ):
        connect(url)


@pytest.mark.parametrize("option", ["redirect=yes", "pgp=yes", "wkd=yes", "method=DELETE", ":type=x"])
def test_an_address_cannot_ask_for_more_than_a_message(option):
    with pytest.raises(UnusableChannel, match="cannot be set in an address"):
        connect(f"{PUBLIC}?{option}")


def test_an_address_that_cannot_be_read_is_shown_how():
    with pytest.raises(UnusableChannel, match="It looks like mailtos://user"):
        connect("json://")


def test_redirects_are_not_followed():
    assert connect(f"{PUBLIC}?+X-Key=abc&-room=ops").redirects is False


# --- What a channel wants


@pytest.mark.parametrize(
    ("min_severity", "wanted"),
    [("critical", ["critical"]), ("warning", ["critical", "warning"]), ("info", ["critical", "warning", "info"])],
)
def test_a_channel_wants_what_is_grave_enough(min_severity, wanted):
    channel = NotificationChannel(min_severity=min_severity)
    assert [one for one in Severity.values if channel.wants(MLAlert(severity=one, alert_type="x"))] == wanted


def test_a_channel_wants_its_types_and_nothing_when_off():
    alert = MLAlert(severity="critical", alert_type=Type.DRIFT_DETECTED)
    assert NotificationChannel(types=["drift_detected"]).wants(alert)
    assert not NotificationChannel(types=["promotion_pending"]).wants(alert)
    assert not NotificationChannel(enabled=False).wants(alert)


# --- In the admin


def url(page, *args):
    return reverse(f"admin:alerts_notificationchannel_{page}", args=args)


def answer(customer, **changes):
    return {
        "customer": customer.pk,
        "name": "on-call",
        "address": PUBLIC,
        "min_severity": "info",
        "enabled": "on",
        **changes,
    }


@pytest.mark.django_db
def test_a_manager_adds_a_channel_whose_address_is_never_shown_again(acme, alice, bob, client_of):
    client = client_of(bob)
    data = answer(acme, types=["drift_detected", "promotion_pending"])
    assert client.post(url("add"), data).status_code == 302
    channel = NotificationChannel.objects.get()
    assert (channel.url, channel.types) == (PUBLIC, ["drift_detected", "promotion_pending"])
    pages = [url("changelist"), url("change", channel.pk), url("history", channel.pk)]
    pages.append(url("simple_history", channel.pk, channel.history.get().history_id))
    for person in [client, client_of(alice)]:
        for page in pages:
            assert "secret" not in person.get(page).content.decode(), page
    assert "webhook at 93.184.216.34" in client.get(pages[1]).content.decode()
    assert b"secret" not in client.post(url("export"), {"format": "0", "resource": "0"}).content
    assert "url" not in {field.name for field in channel.history.model._meta.fields}


@pytest.mark.django_db
def test_an_address_left_empty_is_kept(acme, bob, client_of):
    channel = NotificationChannel.objects.create(customer=acme, name="on-call", url=PUBLIC)
    data = answer(acme, address="", min_severity="critical", enabled="")
    assert client_of(bob).post(url("change", channel.pk), data).status_code == 302
    channel.refresh_from_db()
    assert (channel.url, channel.min_severity, channel.enabled) == (PUBLIC, "critical", False)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "said"), [("", "This field is required"), ("json://127.0.0.1:5432/", "lies in this server")]
)
def test_an_address_that_is_refused_says_why(address, said, acme, bob, client_of):
    page = client_of(bob).post(url("add"), answer(acme, address=address)).content.decode()
    assert said in page
    assert not NotificationChannel.objects.exists()


@pytest.mark.django_db
def test_a_channel_may_be_removed_and_what_it_sent_stays(acme, bob, client_of):
    channel = NotificationChannel.objects.create(customer=acme, name="on-call", url=PUBLIC)
    sent = an_alert(acme).notifications.create(channel=channel, channel_name="on-call", kind="raised", status="sent")
    assert client_of(bob).post(url("delete", channel.pk), {"post": "yes"}).status_code == 302
    sent.refresh_from_db()
    assert (sent.channel, sent.channel_name) == (None, "on-call")
