"""Numbers as people read them, and the table that a page shows them in."""

from dataclasses import dataclass, replace
from typing import Any

UNKNOWN = "–"
UNFOLDED, FEW = 10, 2
Row = list[Any]


@dataclass(frozen=True)
class Table:
    """A table of a page, as the theme's table component takes it."""

    title: str
    headers: list[str]
    rows: list[Row]

    @property
    def first(self) -> "Table":
        """The rows that are shown unasked: all, where hardly any would be left."""
        return replace(self, rows=self.rows[: self._shown])

    @property
    def rest(self) -> "Table":
        """The rows that a reader unfolds."""
        return replace(self, title=f"{self.title}: the rest", rows=self.rows[self._shown :])

    @property
    def _shown(self) -> int:
        return UNFOLDED if len(self.rows) > UNFOLDED + FEW else len(self.rows)


def figure(value: float | None) -> str:
    """Three digits that count, or whole thousands."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def percent(share: float | None) -> str:
    """0.123 is 12.3 %."""
    return UNKNOWN if share is None else f"{share * 100:.1f} %"


def change(percentage: float | None) -> str:
    """Signed, of what is in percent already: 12.3 is +12.3 %."""
    return UNKNOWN if percentage is None else f"{percentage:+.1f} %"


def span(lower: float, upper: float) -> str:
    """An interval of an improvement in percent: 2.8 to 0.2 % worse, or 0.7 % worse to 1.7 % better."""
    first, last = (better(value, "%") for value in (lower, upper))
    if first == last:
        return first
    both = " % worse" if upper < 0 else " % better"
    if first.endswith(both) and last.endswith(both):
        return f"{first.removesuffix(both)} to {last}"
    return f"{first} to {last}"


def better(value: float, unit: str, words: tuple[str, str] = ("better", "worse")) -> str:
    """Above 0 is the first word: 6.1 % better; the same where no digit shows."""
    size = f"{abs(value):.1f}"
    return "the same" if size == "0.0" else f"{size} {unit} {words[0] if value > 0 else words[1]}"
