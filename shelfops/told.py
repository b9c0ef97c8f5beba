"""Stored facts in words that a planner reads: keys become labels, codes words, numbers figures."""

import re
from collections.abc import Mapping
from typing import Any

ABBREVIATIONS = {"mae": "MAE", "rmse": "RMSE", "mape": "MAPE", "wape": "WAPE", "id": "number"}
SHARES = ("wape", "mape", "coverage")
CODE = re.compile(r"[a-z]+(_[a-z]+)+")  # such as new_item_days, but not v13_electronics or a name with spaces


def told(facts: Mapping[str, Any], left_out: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Label and value of each fact, those within others too; unknown and empty ones are left out."""
    found: list[tuple[str, str]] = []
    for key, value in facts.items():
        if key in left_out or value is None or value in ("", [], {}):
            continue
        name = label(key)
        if isinstance(value, Mapping):
            found += [(f"{name}: {_within(inner)}", text) for inner, text in told(value)]
        else:
            found.append((name, _valued(key, value)))
    return found


def _valued(key: str, value: Any) -> str:
    """With the unit that the key stands for: what ends in _pct is in percent already, these others are shares."""
    if key.endswith(SHARES) and isinstance(value, float):
        return f"{value * 100:.1f} %"
    return in_words(value, unit=" %" if key.endswith("_pct") else "")


def label(key: str) -> str:
    """Of a key of the code, such as baseline_mae: Baseline MAE."""
    words = [ABBREVIATIONS.get(word, word) for word in re.split("[_ ]", key.removesuffix("_pct"))]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _within(name: str) -> str:
    """Inside of a sentence: a word in small letters, an abbreviation as it is."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def in_words(value: Any, unit: str = "") -> str:
    """Any value, such as of JSON; "" where it is unknown."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{figure(value)}{unit}"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {text}" for name, text in told(value))
    if isinstance(value, list | tuple):
        return ", ".join(in_words(one, unit) for one in value)
    text = str(value)
    return text.replace("_", " ") if CODE.fullmatch(text) else text


def figure(value: float) -> str:
    """A count as it is; else three digits that count, or whole thousands."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"
