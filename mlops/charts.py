"""Charts as pages draw them: lines or bars over the same labels, and the table of the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlops.figures import Row, Table, figure

Values = Sequence[float | None]


class Tone(StrEnum):
    """What a line stands for: the same colour and dash on every page."""

    OWN = "own"
    OTHER = "other"
    NAIVE = "naive"
    LIMIT = "limit"
    LEVEL = "level"


class Kind(StrEnum):
    """How values are drawn: over days, as upright bars, or as lying bars for long names."""

    LINE = "line"
    BARS = "bars"
    ROWS = "rows"


@dataclass(frozen=True)
class Line:
    """One forecast or limit; None is unknown and leaves a gap."""

    name: str
    values: Values
    tone: Tone = Tone.OWN


@dataclass(frozen=True)
class Chart:
    """What `chart.html` shows; `key` is unique on its page, `what` names the labels, such as Day."""

    key: str
    title: str
    what: str
    unit: str
    labels: Sequence[str]
    lines: Sequence[Line]
    kind: Kind = Kind.LINE
    note: str = ""

    def __bool__(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for line in self.lines for value in line.values)

    @property
    def data(self) -> dict[str, Any]:
        """What the script reads."""
        lines = [{"name": line.name, "tone": line.tone.value, "values": list(line.values)} for line in self.lines]
        return {"kind": self.kind.value, "unit": self.unit, "labels": list(self.labels), "lines": lines}

    @property
    def table(self) -> Table:
        """The same numbers, for those who read them."""
        columns = [line.values for line in self.lines]
        rows: list[Row] = [[label, *(figure(values[at]) for values in columns)] for at, label in enumerate(self.labels)]
        return Table(f"{self.title}, {self.unit}", [self.what, *(line.name for line in self.lines)], rows)
