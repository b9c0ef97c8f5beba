"""Tasks that tests run in a worker process."""

import os
from pathlib import Path

from celery import shared_task


@shared_task
def write_pid(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
