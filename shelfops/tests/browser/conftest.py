"""A real browser, logged in as one of the cast, that fails its test where it complains or asks another host."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page

from conftest import chromium
from mlops.models import ModelVersion
from shelfops.models import Customer, User
from shelfops.tests.browser.looking import look
from shelfops.tests.browser.screens import DESKTOP, PHONE
from shelfops.tests.browser.world import every_state
from shelfops.tests.decisions import what_waits

SECONDS = 10


@pytest.fixture(scope="session")
def browser_type_launch_args():
    return {"executable_path": chromium(), "args": ["--no-sandbox", "--disable-gpu"]}


@pytest.fixture(scope="session", autouse=True)
def _rows_beside_the_browsers_loop():
    """Playwright's loop runs in the thread in which a test asks the database."""
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    yield
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def challenger(acme) -> ModelVersion:
    return what_waits(acme)


@pytest.fixture
def world(acme, challenger, alice, bob, tmp_path) -> Customer:
    """Acme in every state that a screen can be in."""
    every_state(acme, alice, bob, tmp_path)
    return acme


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console had to say, and the addresses elsewhere that were asked."""
    return []


@pytest.fixture
def opened(browser: Browser, live_server, complaints) -> Iterator[Callable[..., Page]]:
    """Opens an address as that person: without scripts, on a phone, or with the clock at a stop where asked to."""
    contexts: list[BrowserContext] = []

    def listen(context: BrowserContext) -> None:
        ours = (live_server.url, "data:")
        context.on("console", lambda told: complaints.append(told.text) if told.type in ("error", "warning") else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        context.on("request", lambda asked: None if asked.url.startswith(ours) else complaints.append(asked.url))

    def log_in(context: BrowserContext, person: User) -> None:
        client = Client()
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        value = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": value, "url": live_server.url}])

    def open_page(
        person: User | None, address: str = "/", *, scripts: bool = True, phone: bool = False, frozen: bool = False
    ) -> Page:
        size = PHONE if phone else DESKTOP
        context = browser.new_context(viewport=size, base_url=live_server.url, java_script_enabled=scripts)
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        listen(context)
        if person:
            log_in(context, person)
        page = context.new_page()
        if frozen:
            page.clock.install()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def pictures() -> Path | None:
    """Where the pictures of every screen are kept: SHELFOPS_SCREENSHOTS, or nowhere."""
    if not (named := os.environ.get("SHELFOPS_SCREENSHOTS")):
        return None
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def faults_of(bob, opened, pictures) -> Callable[[dict[str, str]], dict[str, list[Any]]]:
    """What is wrong with each of these pages; nothing, where nothing is."""

    def look_at(pages: dict[str, str]) -> dict[str, list[Any]]:
        page = opened(bob)
        return {name: found for name, address in pages.items() if (found := look(page, name, address, pictures))}

    return look_at
