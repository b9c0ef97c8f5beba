"""The Celery application; tasks live in each app's `tasks.py`."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shelfops.settings")
TRANSPORT_ALIASES["localfs"] = "shelfops.filetransport:Transport"

app = Celery("shelfops")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
