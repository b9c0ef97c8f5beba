"""Stored facts in words that a planner reads: keys become labels, codes words, numbers figures."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SENTENCE = 40  # letters, from which on a text is prose
WORDS = {
    **{name: name.upper() for name in ("mae", "rmse", "mape", "wape")},
    "id": "number",
    "lower": "lower bound",
    "upper": "upper bound",
}
SHARES = ("wape", "mape", "coverage")
PERCENTS = ("_pct", "lower", "upper")  # what stores bounds, stores those of a change in percent
UNITS = ("mae", "rmse")
VERSION = re.compile(r"v\d+(_\w+)?")
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


@dataclass(frozen=True)
class Section:
    """Facts that belong together under a title, and lists of things that have the same facts as tables."""

    title: str
    facts: list[tuple[str, str]]
    tables: list["Rows"]


@dataclass(frozen=True)
class Rows:
    """Things of one kind, each a row."""

    title: str
    headers: list[str]
    rows: list[list[str]]


def sections(facts: Mapping[str, Any]) -> list[Section]:
    """What stands at the top first, then each group under its name; the empty ones are left out."""
    plain = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    groups = {"": plain} | {label(key): value for key, value in facts.items() if isinstance(value, Mapping)}
    found = []
    for title, group in groups.items():
        listed = {key: value for key, value in group.items() if _is_table(value)}
        section = Section(title, told(group, frozenset(listed)), [_rows(key, value) for key, value in listed.items()])
        found += [section] if section.facts or section.tables else []
    return found


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _rows(key: str, things: list[Mapping[str, Any]]) -> Rows:
    named = dict.fromkeys(name for one in things for name, value in one.items() if value not in (None, "", [], {}))
    known = sorted(named, key=lambda name: any(len(str(one.get(name))) > SENTENCE for one in things))  # prose is last
    rows = [[_valued(name, one.get(name)) for name in known] for one in things]
    return Rows(label(key), [label(name) for name in known], rows)


def _valued(key: str, value: Any) -> str:
    """With the unit that the key stands for: percent, units sold, or percent of what is stored as a share."""
    if key.endswith(SHARES) and isinstance(value, float):
        return f"{value * 100:.1f} %"
    return in_words(value, unit=" %" if key.endswith(PERCENTS) else " units" if key.endswith(UNITS) else "")


def label(key: str) -> str:
    """Of a key of the code, such as baseline_mae: Baseline MAE; a version keeps its name."""
    if VERSION.fullmatch(key):
        return key
    words = [WORDS.get(word, word) for word in re.split("[_ ]", key.removesuffix("_pct"))]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def _within(name: str) -> str:
    """Inside of a sentence: a word in small letters, an abbreviation as it is."""
    return name if name[:2].isupper() or VERSION.fullmatch(name) else name[:1].lower() + name[1:]


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
