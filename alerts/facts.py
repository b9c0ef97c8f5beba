"""What an alert's message and metadata say, in words that a planner reads."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.text import capfirst

from alerts.models import MLAlert
from shelfops.told import VERSION, label, told

SHOWN_ELSEWHERE = frozenset({"model_name", "version", "segment"})
ASKS = re.compile(r" ?Approve or reject it within \d+ hours\.")

InWords = Callable[[Any], str]
_in_words: dict[str, InWords] = {}


def tell(words: Mapping[str, InWords]) -> None:
    """Says how the values of some keys are told, for those who know what they stand for; called in `ready()`."""
    _in_words.update(words)


def facts(alert: MLAlert) -> list[tuple[str, str]]:
    """Label and value of each fact, unknown and empty ones left out, such as: Drift, 44.5 %."""
    found: list[tuple[str, str]] = []
    for key, value in alert.metadata.items():
        if value and key in _in_words:
            found.append((label(key), _in_words[key](value)))
        else:
            found += told({key: value}, SHOWN_ELSEWHERE)
    return found


def message(alert: MLAlert) -> str:
    """As it was raised, a sentence; once it is decided, without what it asked for."""
    text = alert.message if alert.is_open else ASKS.sub("", alert.message)
    return text if VERSION.match(text) else capfirst(text)
