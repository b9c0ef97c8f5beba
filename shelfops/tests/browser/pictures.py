"""Takes the pictures of README from a demo, or with `--all FOLDER` one of every screen: what `make pictures` runs."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shelfops.settings")
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in the thread that asks the database
django.setup()

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, Page, sync_playwright

from shelfops.models import Customer, Role, User
from shelfops.tests.browser import screens
from shelfops.tests.browser.looking import wear

DOCS = Path(__file__).resolve().parents[3] / "docs" / "screenshots"
MOST_BYTES = 300 * 1024
# File -> the screen, and the heading that it begins with; none: the top of the page.
SHOWN = {"overview": ("overview", ""), "review": ("review", ""), "experiment": ("experiment-shadow_testing", "")}


def main() -> None:
    """Ends with one line where there is no demo, or a picture is too heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="a picture of every screen, in four looks")
    folder = parser.parse_args().all
    customer = Customer.objects.filter(slug="demo").first()
    if customer is None:
        sys.exit("There is no demo here: run `DEMO_SERVE=0 make demo` first.")
    pages = screens.own(customer) | screens.in_admin(customer)
    with _served() as url, sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = _as_manager(browser, url, customer)
        if folder:
            _every(page, pages, folder)
        else:
            _for_docs(page, pages)


@contextmanager
def _served() -> Iterator[str]:
    server = LiveServerThread("127.0.0.1", static_handler=StaticFilesHandler)
    server.daemon = True
    server.start()
    server.is_ready.wait()
    yield f"http://{server.host}:{server.port}"
    server.terminate()


def _as_manager(browser: Browser, url: str, customer: Customer) -> Page:
    manager = User.objects.filter(memberships__customer=customer, memberships__role=Role.ML_MANAGER).first()
    client = Client()
    client.force_login(manager, backend="django.contrib.auth.backends.ModelBackend")
    context = browser.new_context(base_url=url, viewport=screens.DESKTOP)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])
    return context.new_page()


def _for_docs(page: Page, pages: dict[str, str]) -> None:
    for name, (screen, heading) in SHOWN.items():
        page.goto(pages[screen])
        if heading:
            page.get_by_role("heading", name=heading).evaluate("one => one.scrollIntoView()")
        page.screenshot(path=DOCS / f"{name}.png")
    if heavy := [name for name in SHOWN if (DOCS / f"{name}.png").stat().st_size > MOST_BYTES]:
        sys.exit(f"Heavier than {MOST_BYTES // 1024} KiB: {', '.join(heavy)}")


def _every(page: Page, pages: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, address in pages.items():
        page.goto(address)
        for size, shape in (("", screens.DESKTOP), ("phone-", screens.PHONE)):
            page.set_viewport_size(shape)
            for scheme in ("light", "dark"):
                wear(page, scheme)
                page.screenshot(path=folder / f"{size}{name}-{scheme}.png", full_page=True)
        page.set_viewport_size(screens.DESKTOP)


if __name__ == "__main__":
    main()
