"""Opens a CSV or Parquet file, whatever its dialect, and knows the line of every row."""

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

Rows = npt.NDArray[np.int64]

SAVE_AS_UTF8 = "is not UTF-8 text. Save it as “CSV UTF-8” and load it again."
DAMAGED = "is damaged or cut off ({}). Export or copy it again."


class UnusableFile(ValueError):
    """The file as a whole cannot be loaded; the message says why and what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}")


@dataclass(frozen=True)
class SourceFile:
    """The columns that were asked for, by their plain names, and the way back to the original rows."""

    path: Path
    header: list[str]
    columns: dict[str, pa.Array]
    ignored: list[str]
    rows: int
    ragged: list[tuple[int, list[str]]] = field(default_factory=list)

    def misfits(self) -> list[tuple[int, list[str]]]:
        """Records with too many or too few values, blank lines left out."""
        return [(record, cells) for record, cells in self.ragged if any(cell.strip() for cell in cells)]

    def records(self, rows: Rows) -> Rows:
        """The position in the file of each row, the first being 1, or the header's in a CSV."""
        return rows + 1

    def lines(self, records: Rows) -> Rows:
        """The line of each of these records (ascending) as an editor shows it; Parquet has rows instead."""
        return records

    def cells(self, rows: Rows) -> Iterator[list[str]]:
        """The original values of the rows, in ascending order."""
        offset = 0
        parquet = pq.ParquetFile(self.path)
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            wanted = rows[(rows >= offset) & (rows < offset + count)] - offset
            offset += count
            if len(wanted):
                yield from _as_text(parquet.read_row_group(group).take(pa.array(wanted)))


@dataclass(frozen=True)
class CsvFile(SourceFile):
    """A CSV's rows are kept as text; records that have too many or too few values stand apart."""

    table: pa.Table = None
    first: int = 2

    def records(self, rows: Rows) -> Rows:
        skipped = np.array([record for record, _ in self.ragged], dtype=np.int64)
        every = np.arange(self.first, self.first + self.rows + len(skipped))
        return np.setdiff1d(every, skipped, assume_unique=True)[rows]

    def lines(self, records: Rows) -> Rows:
        if self._one_line_each():
            return records
        with _text(self.path) as file:
            reader = csv.reader(file)
            starts = [0, 1]
            starts.extend(reader.line_num + 1 for _ in reader)
        return np.array(starts, dtype=np.int64)[records]

    def _one_line_each(self) -> bool:
        with _binary(self.path) as file:
            ends = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        return ends <= self.first - 1 + self.rows + len(self.ragged)

    def cells(self, rows: Rows) -> Iterator[list[str]]:
        for start in range(0, len(rows), 10_000):
            yield from _as_text(self.table.take(pa.array(rows[start : start + 10_000])))


def open_file(path: Path, *, required: Sequence[str], optional: Sequence[str]) -> SourceFile:
    """Reads the named columns of the file, or raises UnusableFile. Other columns are ignored and named."""
    try:
        if path.is_dir():
            raise UnusableFile(path, "is a folder. Name the file inside it.")
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise UnusableFile(path, "does not exist.") from None
    except OSError as error:
        raise UnusableFile(path, f"cannot be read: {error.strerror}.") from None
    if not magic:
        raise UnusableFile(path, "is empty.")
    is_parquet = magic == b"PAR1" or path.suffix.lower() in {".parquet", ".pq"}
    source = _open_parquet(path, required, optional) if is_parquet else _open_csv(path, required, optional)
    if not source.rows and not source.misfits():
        raise UnusableFile(path, "has a header but no rows.")
    return source


def _open_parquet(path: Path, required: Sequence[str], optional: Sequence[str]) -> SourceFile:
    try:
        parquet = pq.ParquetFile(path)
        header = parquet.schema_arrow.names
        chosen = _choose(path, header, required, optional)
        table = parquet.read(columns=[header[place] for place in chosen.values()])
        columns = {name: _whole(table.column(header[place])) for name, place in chosen.items()}
    except (pa.ArrowException, OSError) as error:
        raise UnusableFile(path, DAMAGED.format(_first_line(error))) from None
    return SourceFile(path, header, columns, _rest(header, chosen), table.num_rows)


def _open_csv(path: Path, required: Sequence[str], optional: Sequence[str]) -> SourceFile:
    header, lines = _csv_header(path)
    chosen = _choose(path, header, required, optional)
    table, ragged = _read_csv(path, header, lines)
    columns = {name: _whole(table.column(place)) for name, place in chosen.items()}
    return CsvFile(
        path, header, columns, _rest(header, chosen), table.num_rows, ragged, table.rename_columns(header), lines + 1
    )


def _csv_header(path: Path) -> tuple[list[str], int]:
    """The names, and how many lines they and blank lines before them take."""
    try:
        with _text(path) as file:
            reader = csv.reader(file)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    return cells, reader.line_num
    except UnicodeDecodeError:
        raise UnusableFile(path, SAVE_AS_UTF8) from None
    except (OSError, EOFError, csv.Error) as error:
        raise UnusableFile(path, DAMAGED.format(_first_line(error))) from None
    raise UnusableFile(path, "is empty.")


def _read_csv(path: Path, header: list[str], skip: int) -> tuple[pa.Table, list[tuple[int, list[str]]]]:
    ragged: list[tuple[int, list[str]]] = []

    def set_aside(row: pyarrow.csv.InvalidRow) -> str:
        ragged.append((row.number, next(csv.reader([row.text]), [])))
        return "skip"

    names = [str(place) for place in range(len(header))]
    with _binary(path) as file:
        # Only a single thread knows the number of a row that does not fit.
        read = pyarrow.csv.ReadOptions(use_threads=False, skip_rows=skip, column_names=names, block_size=4 << 20)
        parse = pyarrow.csv.ParseOptions(
            newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=set_aside
        )
        text = pa.dictionary(pa.int32(), pa.string())
        convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, text), strings_can_be_null=False)
        try:
            table = pyarrow.csv.read_csv(file, read, parse, convert)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise UnusableFile(path, _csv_trouble(error)) from None
    return table, ragged


def _csv_trouble(error: Exception) -> str:
    text = str(error)
    if "UTF8" in text:
        return SAVE_AS_UTF8
    if "Could not skip" in text or "Empty CSV" in text:
        return "has a header but no rows."
    if "straddling" in text:
        return "has a quotation mark that is never closed. Correct it and load it again."
    return DAMAGED.format(_first_line(error))


def _choose(path: Path, header: list[str], required: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Where in the header each known column stands; case and blanks around a name do not matter."""
    plain = [name.strip().lower() for name in header]
    twice = sorted({name for name in plain if name and plain.count(name) > 1})
    if twice:
        raise UnusableFile(path, f"names the column {', '.join(twice)} more than once. Keep one.")
    missing = [name for name in required if name not in plain]
    if missing:
        raise UnusableFile(path, _missing(header, missing))
    return {name: plain.index(name) for name in (*required, *optional) if name in plain}


def _missing(header: list[str], missing: list[str]) -> str:
    for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and separator in header[0]:
            return f"separates its columns by {called}. Export it with commas."
    found = ", ".join(name.strip() for name in header[:20])
    return f"lacks {'the column' if len(missing) == 1 else 'the columns'} {', '.join(missing)}. It has: {found}."


def _rest(header: list[str], chosen: dict[str, int]) -> list[str]:
    return [name.strip() for place, name in enumerate(header) if place not in chosen.values()]


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.unify_dictionaries().combine_chunks()
    return whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole


def _as_text(table: pa.Table) -> Iterator[list[str]]:
    columns: Iterable[list[object]] = (column.to_pylist() for column in table.columns)
    for row in zip(*columns, strict=True):
        yield ["" if value is None else str(value) for value in row]


def _binary(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]  # reads as IO[bytes] does


def _text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_binary(path), encoding="utf-8-sig", newline="")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
