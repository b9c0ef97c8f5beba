"""What is unsafe before others is named, and nothing is said about a sound installation."""

import pytest
from django.core.checks import run_checks


def found() -> set[str]:
    return {message.id for message in run_checks(include_deployment_checks=True) if message.id.startswith("shelfops")}


@pytest.fixture(autouse=True)
def sound(settings, tmp_path):
    settings.ALLOWED_HOSTS, settings.BEHIND_HTTPS, settings.DEBUG = ["shelfops.example.com"], True, False
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"
    settings.DATA_DIR = tmp_path
    tmp_path.chmod(0o750)


def test_a_sound_installation_passes():
    assert found() == set()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"DEBUG": True}, {"shelfops.W001"}),
        ({"ALLOWED_HOSTS": ["localhost"]}, {"shelfops.W002"}),
        ({"BEHIND_HTTPS": False}, {"shelfops.W003"}),
        ({"ALLOWED_HOSTS": ["*"]}, {"shelfops.W003"}),
        ({"ALLOWED_HOSTS": ["localhost"], "BEHIND_HTTPS": False}, set()),
    ],
)
def test_an_unsafe_setting_is_named(change, expected, settings):
    for name, value in change.items():
        setattr(settings, name, value)
    assert found() == expected


@pytest.mark.parametrize(("engine", "expected"), [("postgresql", {"shelfops.W004"}), ("sqlite3", set())])
def test_a_queue_in_files_suits_a_database_in_a_file(engine, expected, settings, monkeypatch):
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", f"django.db.backends.{engine}")
    settings.CELERY_BROKER_URL = "localfs://localhost"
    assert found() == expected


def test_an_open_data_folder_is_named(tmp_path):
    tmp_path.chmod(0o755)
    assert found() == {"shelfops.W005"}
