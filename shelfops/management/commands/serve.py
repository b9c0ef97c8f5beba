"""Serves the site, the worker and the scheduler together until Ctrl-C."""

import os
import shlex
import signal
import socket
import sys
import tempfile
from argparse import ArgumentParser
from typing import Any

import honcho.manager
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from kombu.exceptions import OperationalError

from shelfops.celery import app
from shelfops.management.base import Command as Base
from shelfops.management.base import Report
from shelfops.models import Customer
from shelfops.refusals import Refusal

STOP_SECONDS = 10
BROKER_SECONDS = 5


class Command(Base):
    help = "Serve the site, the worker and the scheduler on this machine until Ctrl-C."
    needs_customer = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def run(self, customer: None, **options: Any) -> Report:  # type: ignore[override]  # no customer of its own
        host, port = options["host"], options["port"]
        check_data_folder()
        check_migrations()
        check_port(host, port)
        check_broker()
        self.stdout.write(f"ShelfOps: http://{host}:{port}  (Ctrl-C stops it)")
        if not Customer.objects.exists():
            self.stdout.write(
                "There is no customer yet. In another terminal: "
                "python manage.py create_customer SLUG --name NAME --timezone ZONE, then create_member."
            )
        connection.close()
        code = supervise(processes(host, port))
        if code:
            raise Refusal(f"A process ended by itself (exit code {code}); its last lines above say why.")
        return {}


# --- Before the start: what is missing, and what to do about it


def check_data_folder() -> None:
    try:
        with tempfile.TemporaryFile(dir=settings.DATA_DIR):
            pass
    except OSError as error:
        raise Refusal(
            f"The data folder {settings.DATA_DIR} cannot be written ({error.strerror}). "
            "Make it writable or point SHELFOPS_DATA_DIR at another."
        ) from error


def check_migrations() -> None:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        raise Refusal(f"The database lacks {missing} migrations. Run: python manage.py migrate")


def check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Refusal(
                f"Port {port} of {host} cannot be used ({error.strerror}). "
                f"Stop what holds it, or choose another: python manage.py serve --port {port + 1}"
            ) from error


def check_broker() -> None:
    url = settings.CELERY_BROKER_URL
    if url.startswith("localfs"):
        return
    try:
        with app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS, reraise_as_library_errors=True)
    except OperationalError as error:
        raise Refusal(
            f"The broker that CELERY_BROKER_URL names does not answer ({error}). "
            "Start it, or unset CELERY_BROKER_URL to queue work in the data folder."
        ) from error


# --- The processes


def processes(host: str, port: int) -> dict[str, tuple[list[str], int]]:
    """Name -> (command, threads that numeric libraries may use in it)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    python = [sys.executable, "-m"]
    site = ["gunicorn", "shelfops.wsgi", "--bind", f"{host}:{port}", "--worker-class", "gthread"]
    site += ["--workers", str(min(2, cores)), "--threads", "4", "--graceful-timeout", "5", "--no-control-socket"]
    celery = [*python, "celery", "--app", "shelfops", "--quiet"]
    worker = [*celery, "worker", "--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO"]
    # One training at a time uses all cores; the site answers single questions with one thread each.
    if settings.CELERY_BROKER_URL.startswith("localfs"):
        return {"site": ([*python, *site], 1), "worker": ([*worker, "--beat"], cores)}
    beat = [*celery, "beat", "--pidfile", "", "--loglevel", "INFO"]
    return {"site": ([*python, *site], 1), "worker": (worker, cores), "beat": (beat, 1)}


def supervise(wanted: dict[str, tuple[list[str], int]]) -> int:
    """Runs all until one ends or a signal comes, leaves none behind, and returns 0 after a signal."""
    honcho.manager.KILL_WAIT = STOP_SECONDS
    manager = honcho.manager.Manager()
    for name, (command, threads) in wanted.items():
        env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
        manager.add_process(name, f"exec {shlex.join(command)}", env=env, cwd=str(settings.BASE_DIR))
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    manager.loop()
    by_signal = {rule["rc"] for rule in honcho.manager.SIGNALS.values()}
    return 0 if manager.returncode in by_signal else manager.returncode or 1
