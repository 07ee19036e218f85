"""What a compiler says of its artifact: any nested mapping, as lists of pairs and small tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import result as read
from reports import text

_DEEPEST, _ROWS, _COLUMNS = 4, 40, 8
_NAMES = {
    "fallen_back_share": "Run time in kernels without a rule",
    "fallen_back": "Kernels without a rule",
    "time_share": "Share of the run time",
    "covered_share": "Operators covered",
    "fallback_share": "Operators that fall back",
}
"""What keys are called where their own words would not do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`rows` of text under `columns`; `left_out` rows are not shown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileReport:
    """Single values as pairs of name and value, and everything that repeats as tables."""

    pairs: tuple[tuple[str, str], ...]
    tables: tuple[Table, ...]


def report(details: Mapping[str, Any]) -> CompileReport:
    """The compile report in `artifact_details`, whatever its keys."""
    pairs, tables = list[tuple[str, str]](), list[Table]()
    for name, value in _flat(details, (), 0):
        if isinstance(value, Table):
            tables.append(value)
        else:
            pairs.append((name, value))
    return CompileReport(pairs=tuple(pairs), tables=tuple(tables))


def _flat(data: Mapping[str, Any], above: tuple[str, ...], depth: int) -> Iterator[tuple[str, str | Table]]:
    for key, value in data.items():
        path = (*above, str(key))
        title = _title(path)
        if isinstance(value, Mapping) and value and all(isinstance(one, Mapping) for one in value.values()):
            yield title, _table(title, [{"": name, **one} for name, one in value.items()])
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _flat(value, path, depth + 1)
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            yield title, _table(title, value)
        else:
            yield title, shown(str(key), value)


def _table(title: str, found: Sequence[Mapping[str, Any]]) -> Table:
    keys = list(dict.fromkeys(key for row in found for key in row))[:_COLUMNS]
    rows = tuple(tuple(shown(str(key), row.get(key)) for key in keys) for row in found[:_ROWS])
    columns = tuple(_title((str(key),)) if key else "Name" for key in keys)
    return Table(title=title, columns=columns, rows=rows, left_out=max(0, len(found) - _ROWS))


def _title(path: Sequence[str]) -> str:
    last = _NAMES.get(path[-1])
    words = [text.name(part).replace("_", " ") for part in path]
    said = " ".join([*words[:-1], last.lower() if last and len(words) > 1 else last or words[-1]])
    return said[:1].upper() + said[1:]


def shown(key: str, value: Any) -> str:
    """One value; the ending of its key tells the unit."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    number = read.number({"value": value}, "value")
    if number is not None:
        if key.endswith(("_share", "_ratio", "_fraction")):
            return text.percent(number)
        if key.endswith("_bytes"):
            return text.size(number)
        if key.endswith("_s") and not key.endswith("_per_s"):
            return text.duration(number)
        return f"{number:,.0f}" if number == int(number) and abs(number) < 1e12 else text.number(number)
    if isinstance(value, list):
        return text.clean(", ".join(shown("", one) for one in value)) or text.DASH
    if isinstance(value, Mapping):
        return text.clean("; ".join(f"{text.name(name)} {shown(str(name), one)}" for name, one in value.items())) or text.DASH
    return text.DASH if value is None else text.clean(value)
