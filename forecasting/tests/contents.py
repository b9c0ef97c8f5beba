"""What a database says, without what two runs of the same days do not share: keys, moments, durations."""

import json
import re
from collections import Counter
from typing import Any

from django.apps import apps
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from forecasting.retrain import DIED
from mlops.models import KeptAnswer, ModelRetrainingLog
from shelfops.models import JobRun, Lease

Contents = dict[str, Counter[str]]
APPS = ("shelfops", "alerts", "mlops", "forecasting")
# A run of a job also tells how often it was tried and what the last attempt still had to do; what an answer was made of
# names keys and moments.
OF_THE_ATTEMPT: dict[type[models.Model], set[str]] = {
    JobRun: {"attempt", "deaths", "result", "stage", "percent"},
    KeptAnswer: {"made_of"},
}
# What JSON columns hold of keys and measured times.
PRIVATE = {"incident", "incident_id", "latency_ms_per_1000"}
# Keys at the end of names: the rule that a promotion's forecasts are asked for with, the incident of an alert.
KEY_IN_NAME = {"slot": r"(?<=:)\d+$", "dedupe_key": r"(?<=:incident:)\d+$"}


def contents() -> Contents:
    """Every row of every table as a line of text; a reference stands as the name of what it leads to, a moment as
    whether there was one.

    A retrain whose worker died keeps its line in the log, which tells that it was tried and came to nothing: those
    lines are left out, and so are leases.
    """
    tables = [table for app in APPS for table in apps.get_app_config(app).get_models() if table is not Lease]
    names = _Names()
    return {table._meta.db_table: Counter(_lines(table, names)) for table in tables}


def differences(found: Contents, expected: Contents) -> list[str]:
    """Each line that only one of them has, with its table: + where it should not be there, - where it is missing."""
    told = []
    for table in sorted({*found, *expected}):
        ours, theirs = found.get(table, Counter()), expected.get(table, Counter())
        told += [f"+ {table}: {line}" for line in sorted((ours - theirs).elements())]
        told += [f"- {table}: {line}" for line in sorted((theirs - ours).elements())]
    return told


class _Names:
    """What rows are called, by table and key."""

    def __init__(self) -> None:
        self._known: dict[type[models.Model], dict[Any, str]] = {}

    def of(self, table: type[models.Model]) -> dict[Any, str]:
        if table not in self._known:
            self._known[table] = {row.pk: str(row) for row in table._default_manager.order_by()}
        return self._known[table]


def _lines(table: type[models.Model], names: _Names) -> list[str]:
    fields = [field for field in table._meta.concrete_fields if _is_kept(table, field)]
    rows = table._default_manager.order_by().values_list(*(field.attname for field in fields))
    if table is ModelRetrainingLog:
        rows = rows.exclude(error=DIED)
    return [
        " ".join(f"{field.name}={_text(field, value, names)}" for field, value in zip(fields, row, strict=True))
        for row in rows
    ]


def _is_kept(table: type[models.Model], field: "models.Field[Any, Any]") -> bool:
    of_the_run = field.primary_key or field.name in ("stages", "rules")
    return not of_the_run and field.name not in OF_THE_ATTEMPT.get(table, ())


def _text(field: "models.Field[Any, Any]", value: Any, names: _Names) -> str:
    if field.related_model is not None and value is not None:
        return names.of(field.related_model).get(value, "gone")
    if isinstance(field, models.DateTimeField):
        return "never" if value is None else "at some time"
    if isinstance(field, models.JSONField):
        return json.dumps(_public(value), cls=DjangoJSONEncoder, sort_keys=True)
    if field.name in KEY_IN_NAME:
        value = re.sub(KEY_IN_NAME[field.name], "key", value)
    return repr(value)


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(one) for key, one in value.items() if key not in PRIVATE}
    return [_public(one) for one in value] if isinstance(value, list) else value
