"""What an alert's metadata say, in words that a planner reads."""

import re
from collections.abc import Mapping
from typing import Any

from alerts.models import MLAlert

ABBREVIATIONS = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "wape": "WAPE", "id": "number"}
SHOWN_ELSEWHERE = frozenset({"model_name", "version", "segment"})
CODE = re.compile(r"[a-z]+(_[a-z]+)+")  # such as new_item_days, but not v13_electronics or a name with spaces


def facts(alert: MLAlert) -> list[tuple[str, str]]:
    """Label and value of each fact, unknown and empty ones left out, such as: Drift, 44.5 %."""
    return told(alert.metadata, SHOWN_ELSEWHERE)


def told(metadata: Mapping[str, Any], left_out: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """The same of any facts by their keys, those within others too."""
    found: list[tuple[str, str]] = []
    for key, value in metadata.items():
        if key in left_out or value is None or value in ("", [], {}):
            continue
        label = _label(key)
        if isinstance(value, Mapping):
            found += [(f"{label}: {_within(inner)}", text) for inner, text in told(value)]
        else:
            found.append((label, _value(value, unit=" %" if key.endswith("_pct") else "")))
    return found


def _label(key: str) -> str:
    words = [ABBREVIATIONS.get(word, word) for word in key.removesuffix("_pct").split("_")]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _within(label: str) -> str:
    """Inside of a sentence: a word in small letters, an abbreviation as it is."""
    return label if label[:2].isupper() else label[:1].lower() + label[1:]


def _value(value: Any, unit: str = "") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{_figure(value)}{unit}"
    if isinstance(value, Mapping):
        return "; ".join(f"{label}: {text}" for label, text in told(value))
    if isinstance(value, list | tuple):
        return ", ".join(_value(one, unit) for one in value)
    text = str(value)
    return text.replace("_", " ") if CODE.fullmatch(text) else text


def _figure(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
