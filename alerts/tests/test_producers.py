"""Every type of alert is raised by somebody, or is expected of a module that has yet to come."""

import ast
from pathlib import Path

import pytest
from django.conf import settings

from alerts.models import EXPECTED_LATER, KINDS, MLAlert

APPS = ["forecasting", "mlops"]


def names_in(tree):
    """Every attribute that a module names, such as DRIFT_DETECTED."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def calls_in(tree):
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(func, "id", getattr(func, "attr", "")) for func in called}


def modules(root):
    return [path for app in APPS for path in (root / app).rglob("*.py") if "tests" not in path.parts]


@pytest.fixture(scope="module")
def produced():
    """The types that a module names which also raises alerts."""
    trees = [ast.parse(path.read_text()) for path in modules(Path(settings.BASE_DIR))]
    named = set().union(*(names_in(tree) for tree in trees if "raise_alert" in calls_in(tree)))
    return {alert_type for alert_type in MLAlert.Type if alert_type.name in named}


def test_every_type_has_its_kind():
    assert set(KINDS) == set(MLAlert.Type)


def test_every_type_has_a_producer_or_is_expected_later(produced):
    assert set(MLAlert.Type) - produced == EXPECTED_LATER
