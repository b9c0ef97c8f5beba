"""What all tests share: a data folder of their own, a small cast of people, and servers that CI must provide."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

# Settings read the environment once, so it is set before anything of Django is imported. Each process of a
# parallel run gets its own folder, and so do the commands that tests start.
DATA_DIR = tempfile.mkdtemp(prefix="shelfops-test-")
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)
os.environ["DJANGO_SETTINGS_MODULE"] = "shelfops.settings"
os.environ["SHELFOPS_DATA_DIR"] = DATA_DIR
os.environ["CELERY_BROKER_URL"] = "localfs://localhost"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["SHELFOPS_NOTIFICATIONS"] = "false"  # a test that wants them turns them on and listens itself
for _name in ("SHELFOPS_DEBUG", "SHELFOPS_HTTPS", "SHELFOPS_ALLOWED_HOSTS", "SHELFOPS_SECRET_KEY"):
    os.environ.pop(_name, None)

import django

django.setup()
# A worker of a parallel run inherits the environment, and would load the settings before it gets its own folder.
del os.environ["DJANGO_SETTINGS_MODULE"]

from django.conf import settings
from django.core.cache import cache
from django.test import Client

from shelfops.models import Customer, Membership, Role, User

PASSWORD = "a-long-enough-password"  # noqa: S105  # of everybody in the cast
IN_CI = os.environ.get("CI") == "true"


def pytest_configure() -> None:
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):  # a file, as in real life: threads wait for each other there
        database.setdefault("TEST", {})["NAME"] = f"{DATA_DIR}/test.sqlite3"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


# --- What a test may need beside Python ---------------------------------------------------------------------------


def chromium() -> str | None:
    """The browser's path, if one is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _on_postgresql() -> bool:
    return settings.DATABASES["default"]["ENGINE"].endswith("postgresql")


NEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "postgresql": (_on_postgresql, "set DATABASE_URL=postgres://… to run it"),
    "redis": (lambda: os.environ.get("SHELFOPS_TEST_REDIS"), "set SHELFOPS_TEST_REDIS=redis://… to run it"),
    "browser": (chromium, "install chromium to run it"),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for need, (present, advice) in NEEDS.items():
        if item.get_closest_marker(need) is None or present():
            continue
        # CI runs the suite once on SQLite and once on PostgreSQL; the other two it provides for both runs.
        if IN_CI and need != "postgresql":
            pytest.fail(f"CI must provide {need}: {advice}", pytrace=False)
        pytest.skip(f"needs {need}: {advice}")


# --- The cast -----------------------------------------------------------------------------------------------------


def _person(name: str, customer: Customer, role: Role) -> User:
    user = User.objects.create_user(f"{name}@{customer.slug}.example", PASSWORD, first_name=name.title())
    Membership.objects.create(user=user, customer=customer, role=role)
    return user


@pytest.fixture
def acme(db: None) -> Customer:
    """The retailer of most tests."""
    return Customer.objects.create(slug="acme", name="Acme Stores")


@pytest.fixture
def globex(db: None) -> Customer:
    """Another retailer, whose rows nobody at acme may see."""
    return Customer.objects.create(slug="globex", name="Globex Markets")


@pytest.fixture
def alice(acme: Customer) -> User:
    """A data scientist."""
    return _person("alice", acme, Role.DATA_SCIENTIST)


@pytest.fixture
def bob(acme: Customer) -> User:
    """An ML manager."""
    return _person("bob", acme, Role.ML_MANAGER)


@pytest.fixture
def charlie(acme: Customer) -> User:
    """Retail operations: reads everything, decides nothing."""
    return _person("charlie", acme, Role.RETAIL_OPS)


@pytest.fixture
def mallory(globex: Customer) -> User:
    """A manager elsewhere, and so a stranger at acme."""
    return _person("mallory", globex, Role.ML_MANAGER)


@pytest.fixture
def root(db: None) -> User:
    """The superuser who runs the installation."""
    return User.objects.create_superuser("root@shelfops.example", PASSWORD)


@pytest.fixture
def client_of() -> Callable[..., Client]:
    """A browser in which that person is logged in; None is a passer-by."""

    def make(user: User | None, **options: bool) -> Client:
        client = Client(**options)
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return make


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    """Calls are counted by the minute, and the next test's people have the same keys."""
    cache.clear()


@pytest.fixture
def data_dir() -> Path:
    """This process's data folder."""
    return Path(DATA_DIR)


@pytest.fixture
def redis_url() -> str:
    """A database of Redis for each process of a parallel run: a worker must not take another test's messages."""
    server, _, number = os.environ.get("SHELFOPS_TEST_REDIS", "redis://127.0.0.1/0").rpartition("/")
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return f"{server}/{(int(number) + process) % 16}"
