"""Clocks and tables of the benchmarks."""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def data_folder() -> Path:
    """Where the benchmark data lie: SHELFOPS_BENCH_DATA, else `shared/data` beside the project."""
    return Path(os.environ.get("SHELFOPS_BENCH_DATA") or ROOT.parent / "shared" / "data")


def benchmark_file(name: str) -> Path:
    """A file of the M5 sales. Ends the program with one line where it is missing."""
    path = data_folder() / "m5" / f"{name}.parquet"
    if not path.exists():
        sys.exit(f"{path} is missing: set SHELFOPS_BENCH_DATA to the folder of the benchmark data.")
    return path


def rounds(
    one: Callable[[], object],
    other: Callable[[], object],
    times: int = 3,
    of: Callable[[list[float]], float] = statistics.median,
) -> tuple[float, float]:
    """Median seconds of both, run in turn after one warm-up of the first, so that a slow machine slows both."""
    one()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for place, work in enumerate((one, other)):
            started = time.perf_counter()
            work()
            seconds[place].append(time.perf_counter() - started)
    return of(seconds[0]), of(seconds[1])


def alone(work: Callable[[], object], times: int = 3) -> float:
    """Median seconds of the work by itself."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def peak_mib() -> float:
    """The most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, numbers with three figures."""
    cells = [list(head)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
