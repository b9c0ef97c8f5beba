"""Where a notification may go: which addresses are understood, which hosts are refused, and how one is sent there."""

import ipaddress
import logging
import socket
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import apprise
from apprise.plugins.custom_json import NotifyJSON
from apprise.plugins.email import NotifyEmail
from django.conf import settings

from shelfops.refusals import Refusal

SCHEMES = ("mailto", "mailtos", "json", "jsons")
# What an address may set besides headers (+name) and parameters (-name); others could read files or follow redirects.
OPTIONS = frozenset(
    {"to", "from", "cc", "bcc", "name", "reply", "smtp", "mode", "user", "pass", "verify", "cto", "rto"}
)
ASSET = apprise.AppriseAsset(app_id="ShelfOps", app_desc="ShelfOps", async_mode=False, http_redirects=False)


class UnusableChannel(Refusal):
    """Nothing may or can be sent to this address."""


def connect(url: str) -> NotifyEmail | NotifyJSON:
    """The address, checked and ready to send to; raises UnusableChannel. Looks its host up.

    A host that answers differently a moment later slips through: the network's own rules for outgoing traffic are the
    wall, this is the fence before it.
    """
    _check_form(url)
    channel = apprise.Apprise.instantiate(url, asset=ASSET)
    if not isinstance(channel, NotifyEmail | NotifyJSON):
        raise UnusableChannel(
            "This address cannot be read. It looks like mailtos://user:password@mail.example.com?to=team@example.com "
            "or jsons://hooks.example.com/path."
        )
    channel.redirects = False  # or a webhook could send us on to where it may not itself be
    _check_host(channel.smtp_host if isinstance(channel, NotifyEmail) else channel.host)
    return channel


def send(
    url: str, *, title: str, message: str, body: dict[str, Any], subject: str, text: str, level: apprise.NotifyType
) -> str:
    """Sends now, and returns what went wrong, "" where nothing did.

    A webhook gets JSON of `title`, `message` and `body`; an e-mail gets `subject` and `text`.
    """
    channel = connect(url)
    if isinstance(channel, NotifyJSON):
        channel.payload_extras |= dict.fromkeys(["version", "attachments", "type"], "") | body  # "" leaves it out
        subject, text = title, message
    to = apprise.Apprise(asset=ASSET)
    to.add(channel)
    with apprise.LogCapture(level=logging.WARNING, fmt="%(message)s") as log:
        is_sent = to.notify(title=subject, body=text, notify_type=level, body_format=apprise.NotifyFormat.TEXT)
        return "" if is_sent else log.getvalue().strip() or "It was not taken, and no reason was given."


def _check_form(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UnusableChannel(f"Messages go out by e-mail and webhook: start the address with one of {known}.")
    names = [name for name, _ in parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)]
    unknown = [name for name in names if name not in OPTIONS and not name.startswith(("+", "-"))]
    if unknown:
        raise UnusableChannel(f"“{unknown[0]}” cannot be set in an address. What can: {', '.join(sorted(OPTIONS))}.")


def _check_host(host: str) -> None:
    """A manager of one customer must not reach what only this server can: its own ports, the local network."""
    if settings.NOTIFY_PRIVATE_HOSTS:
        return
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnusableChannel(f"The host “{host}” is not found: check its name.") from error
    if not all(_is_public(str(address[0])) for *_, address in found):
        raise UnusableChannel(
            f"“{host}” lies in this server's own network, which messages must not reach into. "
            "If it is meant, whoever runs the installation sets SHELFOPS_NOTIFY_PRIVATE_HOSTS=true."
        )


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.is_global and not ip.is_multicast
