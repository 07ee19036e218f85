"""Reads a trace of requests from a CSV file: when each arrived, or how many arrived in each interval.

A file is either a list of arrivals (a time column) or a table of counts (a time column and a count column). Times are ISO 8601
or plain numbers of seconds; a suffix `_s`, `_ms`, `_us` or `_ns` on the column's name gives another unit, and the names
`second`, `minute` and `hour` number the intervals. Without a header the first column is the time and a second one the count.
Further columns are ignored. Lines that are empty or begin with # are skipped.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import UsageError

NS_PER_S = 1_000_000_000
MAX_ROWS = 20_000_000
"""A trace is held in memory."""
MAX_COUNT = 1_000_000_000
"""Requests in one interval."""
MAX_SPAN_NS = 400 * 86_400 * NS_PER_S
"""A little more than a year: what is longer mixes units."""

_TIME_NAMES = ("timestamp", "time", "datetime", "date", "arrival", "arrived", "t")
_INDEX_NS = {"second": NS_PER_S, "minute": 60 * NS_PER_S, "hour": 3600 * NS_PER_S}
_UNIT_NS = {"s": NS_PER_S, "ms": 1_000_000, "us": 1_000, "ns": 1}
_COUNT_NAMES = ("count", "counts", "requests", "request_count", "invocations", "arrivals", "value")
_ISO = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?\s*(Z|UTC|[+-]\d\d(?::?\d\d)?)?", re.IGNORECASE)
_NUMBER = "a number"
_ALLOWED = "allowed: a header with `timestamp` (ISO 8601 or seconds) and, for counts per interval, `count`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Offsets from its first arrival or interval. Exactly one of `offsets_ns` and `counts` is there.

    `offsets_ns` int64[n] is sorted and starts at 0. `counts` int64[m] are requests in consecutive intervals of `interval_ns`;
    where inside its interval a request came is not known. `span_ns` is the length of the whole: every offset is below it.
    `begins_s` is the second of the day in UTC at which it begins (times without a zone count as UTC); None for bare numbers.
    """

    name: str
    span_ns: int
    offsets_ns: NDArray[np.int64] | None = None
    counts: NDArray[np.int64] | None = None
    interval_ns: int | None = None
    begins_s: int | None = None

    @property
    def total(self) -> int:
        """Requests in the trace."""
        if self.counts is not None:
            return int(self.counts.sum())
        return 0 if self.offsets_ns is None else int(self.offsets_ns.size)

    @property
    def interval_s(self) -> float | None:
        """Length of one interval of `counts`; None for a list of arrivals."""
        return None if self.interval_ns is None else self.interval_ns / NS_PER_S

    @property
    def mean_rate_per_s(self) -> float:
        return self.total * NS_PER_S / self.span_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where a row keeps its time and count; `unit_ns` is that of a numeric time."""

    time: int
    count: int | None
    unit_ns: int
    titled: bool


class _Table(NamedTuple):
    """The rows as numbers: line in the file, instant in ns from any common origin, count (empty in a list of
    arrivals); and how far its zone is ahead of UTC, None where times are no dates."""

    lines: NDArray[np.int64]
    times_ns: NDArray[np.int64]
    counts: NDArray[np.int64]
    ahead_s: int | None

    @property
    def begins_s(self) -> int | None:
        return None if self.ahead_s is None else int((self.times_ns[0] // NS_PER_S - self.ahead_s) % 86_400)


def read_trace(path: Path) -> Trace:
    """The trace in the CSV file at `path`.

    Raises UsageError with file and line for what is not a trace: unreadable numbers, negative counts, time that runs backwards,
    gaps or repeated times in a table of counts, times with and without a zone or in several zones, no requests at all.
    """
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise UsageError(f"{path} is empty; {_ALLOWED}")
    columns = _columns(path, first)
    table = _table(path, rows if columns.titled else itertools.chain([first], rows), columns)
    times_ns = table.times_ns
    if not times_ns.size:
        raise UsageError(f"{path} has a header but no rows; {_ALLOWED}")
    _require_forward(path, table, strictly=columns.count is not None)
    if columns.count is not None:
        return _counted(path, table)
    offsets = times_ns - times_ns[0]
    return Trace(name=path.name, span_ns=int(offsets[-1]) + 1, offsets_ns=offsets, begins_s=table.begins_s)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that says something, as they are read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            sample = file.read(4096)
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(sample))
            for row in reader:
                if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
                    yield reader.line_num, [cell.strip() for cell in row]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text in UTF-8 ({error.reason}); a trace is a CSV file") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}; give a CSV file, {_ALLOWED}") from error
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not CSV ({error}); {_ALLOWED}") from error


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return next((mark for mark in (",", ";", "\t") if mark in first), ",")


def _columns(path: Path, first: tuple[int, list[str]]) -> _Columns:
    """From the header; without one, by position."""
    line, cells = first
    if _is_time(cells[0]):
        return _Columns(time=0, count=1 if len(cells) > 1 else None, unit_ns=NS_PER_S, titled=False)
    names = [cell.lower() for cell in cells]
    at = next((index for index, name in enumerate(names) if _unit_of(name) is not None), None)
    if at is None:
        raise UsageError(f"{path}, line {line}: no time column among {', '.join(cells)}; {_ALLOWED}")
    count = next((index for index, name in enumerate(names) if name in _COUNT_NAMES), None)
    if count is None and names[at] in _INDEX_NS:
        raise UsageError(f"{path}, line {line}: {cells[at]} numbers intervals, so a column `count` must say how many came")
    return _Columns(time=at, count=count, unit_ns=_unit_of(names[at]) or NS_PER_S, titled=True)


def _unit_of(name: str) -> int | None:
    """Nanoseconds per unit of a time column's numbers; None when the name is not one of a time column."""
    if name in _INDEX_NS:
        return _INDEX_NS[name]
    stem, _, unit = name.rpartition("_")
    if stem in _TIME_NAMES and unit in _UNIT_NS:
        return _UNIT_NS[unit]
    return NS_PER_S if name in _TIME_NAMES else None


def _is_time(cell: str) -> bool:
    return _ISO.fullmatch(cell) is not None or _number(cell) is not None


def _number(cell: str) -> float | None:
    """The finite number a cell holds, None when it holds none."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _table(path: Path, body: Iterable[tuple[int, list[str]]], columns: _Columns) -> _Table:
    """Every row, held as numbers only: a trace of millions of arrivals stays small."""
    lines, times, counts = array("q"), array("q"), array("q")
    kind: str | None = None
    seconds: dict[str, int] = {}  # many rows share their second, and parsing a date is what costs
    for line, row in body:
        if columns.time >= len(row):
            raise UsageError(f"{path}, line {line}: no time in it; {_ALLOWED}")
        if len(times) == MAX_ROWS:
            raise UsageError(f"{path}, line {line}: more than {MAX_ROWS:,} rows; give counts per interval instead")
        cell = row[columns.time]
        match = _ISO.fullmatch(cell)
        if match is None:
            zone, instant = _NUMBER, _numeric_ns(path, line, cell, columns.unit_ns)
        else:
            zone, instant = _zone(match[3]), _iso_ns(path, line, match, seconds)
        if kind is not None and zone != kind:
            raise UsageError(
                f"{path}, line {line}: the time {cell} is {zone}, those before are {kind}; use one zone throughout, best UTC"
            )
        kind = zone
        lines.append(line)
        times.append(instant)
        if columns.count is not None:
            counts.append(_count(path, line, row, columns.count))
    numbers = [np.array(each, np.int64) for each in (lines, times, counts)]
    return _Table(lines=numbers[0], times_ns=numbers[1], counts=numbers[2], ahead_s=_ahead_s(kind))


def _zone(text: str | None) -> str:
    if text is None:
        return "without a zone"
    plain = text.upper().replace(":", "")
    offset = "+0000" if plain in ("Z", "UTC") else plain.ljust(5, "0")
    return "in UTC" if offset in ("+0000", "-0000") else f"in zone {offset}"


def _ahead_s(kind: str | None) -> int | None:
    """Seconds that the zone named by `_zone` is ahead of UTC; None for numbers."""
    if kind is None or kind == _NUMBER:
        return None
    offset = kind.rpartition(" ")[2]
    if offset[0] not in "+-":
        return 0
    return (-1 if offset[0] == "-" else 1) * (int(offset[1:3]) * 3600 + int(offset[3:5]) * 60)


def _iso_ns(path: Path, line: int, match: re.Match[str], seconds: dict[str, int]) -> int:
    # All rows are in one zone, so its offset cancels and is not applied.
    stem = match[1]
    if stem not in seconds:
        try:
            seconds[stem] = int(datetime.fromisoformat(stem).replace(tzinfo=UTC).timestamp())
        except ValueError as error:
            raise UsageError(f"{path}, line {line}: {stem} is no date and time ({error})") from error
    return seconds[stem] * NS_PER_S + int((match[2] or "0").ljust(9, "0"))


def _numeric_ns(path: Path, line: int, cell: str, unit_ns: int) -> int:
    if cell.lstrip("+").isdigit():  # exact, where a float would lose the last digits of nanoseconds since 1970
        value = int(cell) * unit_ns
    else:
        number = _number(cell)
        if number is None:
            raise UsageError(f"{path}, line {line}: {cell!r} is no time; {_ALLOWED}")
        value = round(number * unit_ns)
    if not 0 <= value < 1 << 62:
        raise UsageError(f"{path}, line {line}: the time {cell} is out of range; allowed: 0 or later, in the column's unit")
    return value


def _require_forward(path: Path, table: _Table, *, strictly: bool) -> None:
    times_ns, lines = table.times_ns, table.lines
    steps = np.diff(times_ns)
    wrong = np.flatnonzero(steps <= 0 if strictly else steps < 0)
    if wrong.size:
        at = int(wrong[0])
        what = "repeats the one before" if steps[at] == 0 else f"is {-steps[at] / NS_PER_S:g} s before the one above it"
        raise UsageError(f"{path}, line {lines[at + 1]}: its time {what}; sort the rows by time, one row a time")
    if int(times_ns[-1] - times_ns[0]) > MAX_SPAN_NS:
        raise UsageError(
            f"{path} spans more than 400 days; check the unit of its time column (`timestamp_ms`, `timestamp_ns` …)"
        )


def _count(path: Path, line: int, row: Sequence[str], at: int) -> int:
    cell = row[at] if at < len(row) else ""
    value = _number(cell)
    if value is None or value != math.floor(value) or not 0 <= value <= MAX_COUNT:
        raise UsageError(f"{path}, line {line}: the count {cell or '(nothing)'} is not a whole number from 0 to {MAX_COUNT:,}")
    return int(value)


def _counted(path: Path, table: _Table) -> Trace:
    counts, lines = table.counts, table.lines
    if counts.size < 2:
        raise UsageError(f"{path}: one row does not say how long an interval is; give at least two")
    steps = np.diff(table.times_ns)
    # The commonest step, so that a gap at the very beginning is not taken for the interval.
    values, often = np.unique(steps, return_counts=True)
    interval = int(values[np.argmax(often)])
    wrong = np.flatnonzero(steps != interval)
    if wrong.size:
        at = int(wrong[0])
        raise UsageError(
            f"{path}, line {lines[at + 1]}: {steps[at] / NS_PER_S:g} s after the row before it, where the interval is "
            f"{interval / NS_PER_S:g} s; fill gaps with rows (count 0 if nothing came) and keep the interval"
        )
    if not counts.any():
        raise UsageError(f"{path}: no requests in it, every count is 0")
    return Trace(name=path.name, span_ns=interval * counts.size, counts=counts, interval_ns=interval, begins_s=table.begins_s)
