"""Turns one column of any sensible type into numbers or codes, looking at each distinct value once."""

import datetime as dt
import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
Days = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.int8]

LONGEST = 64
NO_DAY = np.iinfo(np.int32).min
BAD_DAY = NO_DAY + 1
UNKNOWN = -1
EPOCH = dt.date(1970, 1, 1).toordinal()

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d(?:$|[T ])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FLAGS = {"true": 1, "t": 1, "yes": 1, "y": 1, "1": 1, "false": 0, "f": 0, "no": 0, "n": 0, "0": 0}
_NOT_THERE = {"", "nan"}


class WrongType(ValueError):
    """The column's type cannot hold what its name promises."""


@dataclass(frozen=True)
class Text:
    """A code per row into the distinct values; -1 where there is none."""

    codes: Codes
    values: list[str]

    def unfit(self) -> Mask | None:
        """Rows whose value is too long or holds a NUL, which no database takes; None where all are well."""
        bad = np.array([len(value) > LONGEST or "\0" in value for value in self.values] + [False])
        return bad[self.codes] if bad.any() else None


def text(column: pa.Array) -> Text:
    """Keys and names: blanks around them do not count, and 85123.0 is 85123."""
    codes, values = _encoded(column)
    places: dict[str, int] = {}
    names = [_name(value) for value in values]
    moved = [places.setdefault(name, len(places)) if name else -1 for name in names]
    return Text(np.array([*moved, -1], dtype=np.int32)[codes], list(places))


def numbers(column: pa.Array) -> tuple[Floats, Mask]:
    """Values with NaN where there is none, and which rows hold something that is not a number."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if _is_text(kind):
        return _spread(column, _number, np.float64)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        # 2.24 stored in 32 bits is 2.2400000095 in 64: take the shortest decimal that means the same.
        return _spread(column, lambda value: float(str(np.float32(value))), np.float64)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise WrongType(f"holds {kind}; numbers are needed")
    if kind is not column.type:
        column = column.dictionary_decode()
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values, np.zeros(len(values), dtype=bool)


def flags(column: pa.Array) -> tuple[Flags, Mask]:
    """1, 0, or -1 where nothing is said, and which rows hold something else."""
    values, bad = _spread(column, _flag, np.float64)
    return np.where(np.isnan(values), UNKNOWN, values).astype(np.int8), bad


def days(column: pa.Array, zone: ZoneInfo) -> Days:
    """Days since 1970-01-01; moments with an offset become the date in `zone`. NO_DAY and BAD_DAY mark the rest."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (_is_text(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_null(kind)):
        raise WrongType(f"holds {kind}; ISO dates such as 2026-01-31 are needed")
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32()).fill_null(NO_DAY).to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(column.type):
        column = _coarse(column)
    codes, values = _encoded(column)
    return np.array([*(_day(value, zone) for value in values), NO_DAY], dtype=np.int32)[codes]


def to_date(day: int) -> dt.date:
    """The date of a day counted from 1970-01-01."""
    return dt.date.fromordinal(EPOCH + int(day))


def to_day(date: dt.date) -> int:
    """Days from 1970-01-01 to the date."""
    return date.toordinal() - EPOCH


def _encoded(column: pa.Array) -> tuple[Codes, list[Any]]:
    """A code per row into the distinct values, -1 for null."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    codes = column.indices.cast(pa.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, column.dictionary.to_pylist()


def _spread(column: pa.Array, parse: Any, dtype: Any) -> tuple[Any, Mask]:
    """Parses each distinct value; NaN for null, and None from `parse` marks the row as bad."""
    codes, values = _encoded(column)
    parsed = [math.nan if value is None else parse(value) for value in values]
    numbers = np.array([*(math.nan if number is None else number for number in parsed), math.nan], dtype=dtype)
    bad = np.array([*(number is None for number in parsed), False])
    return numbers[codes], bad[codes]


def _coarse(moments: pa.Array) -> pa.Array:
    """Fewer distinct moments on the same days: no time zone's day begins off a quarter of an hour."""
    in_utc = moments.cast(pa.timestamp("us"), safe=False)
    if moments.type.tz is None:
        return pc.floor_temporal(in_utc, unit="day")
    return pc.floor_temporal(in_utc, multiple=15, unit="minute").cast(pa.timestamp("us", "UTC"))


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _name(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    return str(value).strip()


def _number(value: str) -> float | None:
    plain = value.strip()
    if plain.lower() in _NOT_THERE:
        return math.nan
    return float(plain) if _NUMBER.fullmatch(plain) else None


def _flag(value: Any) -> float | None:
    if isinstance(value, float) and math.isnan(value):
        return math.nan
    plain = _name(value).lower() if not isinstance(value, bool) else str(value).lower()
    return math.nan if plain in _NOT_THERE else _FLAGS.get(plain)


def _day(value: Any, zone: ZoneInfo) -> int:
    if value is None or value == "":
        return NO_DAY
    if isinstance(value, str):
        value = _moment(value.strip())
    if isinstance(value, dt.datetime):
        value = _local(value, zone)
    if value in (NO_DAY, BAD_DAY):
        return int(value)
    return to_day(value)


def _moment(plain: str) -> dt.datetime | int:
    if not plain:
        return NO_DAY
    if not _ISO_DAY.match(plain):
        return BAD_DAY
    try:
        return dt.datetime.fromisoformat(plain)
    except ValueError:
        return BAD_DAY


def _local(moment: dt.datetime, zone: ZoneInfo) -> dt.date | int:
    try:
        return (moment.astimezone(zone) if moment.tzinfo else moment).date()
    except OverflowError:
        return BAD_DAY
