"""Which rows of a file cannot be used, why, and the file that gives them back to the person."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from forecasting.intake.columns import Mask
from forecasting.intake.files import SourceFile

RAGGED = "the number of values is not the number of columns"
BLANK = 1  # the code of blank rows, which are neither read nor rejected


class Verdict:
    """The first reason found against each row; code 0 is a good one."""

    def __init__(self, rows: int) -> None:
        self.codes = np.zeros(rows, dtype=np.int8)
        self.reasons = ["", "blank"]

    def against(self, rows: Mask | None, reason: str) -> None:
        """Marks those of the rows against which nothing was found so far."""
        if rows is None or not rows.any():
            return
        self.codes[rows & (self.codes == 0)] = len(self.reasons)
        self.reasons.append(reason)

    @property
    def good(self) -> Mask:
        return self.codes == 0


@dataclass(frozen=True)
class Rejects:
    """The rejected rows of one file."""

    source: SourceFile
    verdict: Verdict

    def __len__(self) -> int:
        return int((self.verdict.codes > BLANK).sum()) + len(self.source.misfits())

    def by_reason(self) -> dict[str, int]:
        """How many rows were rejected for what, the most frequent first."""
        counts = Counter(dict(enumerate(np.bincount(self.verdict.codes, minlength=2).tolist())))
        named = {self.verdict.reasons[code]: count for code, count in counts.items() if code > BLANK and count}
        if misfits := len(self.source.misfits()):
            named[RAGGED] = misfits
        return dict(sorted(named.items(), key=lambda item: -item[1]))

    def first(self, count: int) -> list[tuple[int, str]]:
        """Line and reason of the first few."""
        return [(line, reason) for line, reason, _ in islice(self._rows(), count)]

    def write(self, path: Path) -> None:
        """Writes line, reason and the original values, for nobody but the owner to read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["line", "reason", *self.source.header])
            writer.writerows([line, reason, *cells] for line, reason, cells in self._rows())
        aside.replace(path)

    def _rows(self) -> Iterator[tuple[int, str, list[str]]]:
        rows = np.flatnonzero(self.verdict.codes > BLANK)
        misfits = dict(self.source.misfits())
        at_row = self.source.records(rows)
        records = np.union1d(at_row, np.array(list(misfits), dtype=np.int64))
        cells = self.source.cells(rows)
        reasons = iter(self.verdict.codes[rows].tolist())
        for record, line in zip(records.tolist(), self.source.lines(records).tolist(), strict=True):
            if record in misfits:
                yield line, RAGGED, misfits[record]
            else:
                yield line, self.verdict.reasons[next(reasons)], next(cells)
