"""What `manage.py check --deploy` says about an installation that other people will reach."""

import stat
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004  # Django's name for it

LOOPBACK = {"localhost", "127.0.0.1", "[::1]"}


@register(Tags.security, deploy=True)
def check_debug(**_kwargs: Any) -> list[CheckMessage]:
    if not settings.DEBUG:
        return []
    return [Warning("Error pages show settings and data.", hint="Unset SHELFOPS_DEBUG.", id="shelfops.W001")]


@register(Tags.security, deploy=True)
def check_hosts(**_kwargs: Any) -> list[CheckMessage]:
    only_here = set(settings.ALLOWED_HOSTS) <= LOOPBACK
    if settings.BEHIND_HTTPS and only_here:
        return [
            Warning(
                "SHELFOPS_HTTPS is on, but only this machine's own names are answered.",
                hint="Set SHELFOPS_ALLOWED_HOSTS=shelfops.example.com (and SHELFOPS_TRUSTED_ORIGINS behind a proxy).",
                id="shelfops.W002",
            )
        ]
    if "*" in settings.ALLOWED_HOSTS or not (settings.BEHIND_HTTPS or only_here):
        return [
            Warning(
                "The site answers to other machines without HTTPS, or to any name at all.",
                hint="Put a proxy with HTTPS in front, set SHELFOPS_HTTPS=true and name the hosts.",
                id="shelfops.W003",
            )
        ]
    return []


@register(Tags.database, deploy=True)
def check_broker(**_kwargs: Any) -> list[CheckMessage]:
    on_postgresql = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
    if not on_postgresql or urlsplit(settings.CELERY_BROKER_URL).scheme != "localfs":
        return []
    return [
        Warning(
            "The database is a server, but work is queued in this machine's data folder: workers elsewhere get none.",
            hint="Set CELERY_BROKER_URL=redis://… unless site and workers run on this machine alone.",
            id="shelfops.W004",
        )
    ]


@register(Tags.security, deploy=True)
def check_data_folder(**_kwargs: Any) -> list[CheckMessage]:
    if not settings.DATA_DIR.stat().st_mode & stat.S_IRWXO:
        return []
    return [
        Warning(
            f"Every user of this machine can look into {settings.DATA_DIR}, where sales and models lie.",
            hint=f"chmod o-rwx {settings.DATA_DIR}",
            id="shelfops.W005",
        )
    ]
