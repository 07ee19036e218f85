"""A catalogue file as rows, every mistake in it with its file and line. Pure.

The first line names columns, any of `CatalogueRow`'s. A row whose name is known already replaces the cells that it fills.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from harness.catalogue.nouns import EDGE, CatalogueRow
from harness.errors import UsageError

COLUMNS = tuple(field.name for field in fields(CatalogueRow))
_COUNTS = {"vcpus", "physical_cores", "accelerators"}
_NUMBERS = {
    name for name in COLUMNS if name.endswith(("_ghz", "_gib", "_tflops", "_tops", "_gflops", "_gops", "_per_s", "_per_hour"))
} | {"usd_per_gb_second"}
_ARCHES = ("x86_64", "arm64", "armv7", "")
_SOURCES = {"usd_per_hour": "price", "spot_usd_per_hour": "spot"}
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?|/\d{4})?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")


def read(text: str, file: str, known: Mapping[str, CatalogueRow] | None = None) -> dict[str, CatalogueRow]:
    """The rows of `text` by name, on top of `known` ones. Raises UsageError with `file`, the line and what is allowed."""
    lines = csv.reader(io.StringIO(text), strict=True)
    rows = dict(known or {})
    seen: dict[str, int] = {}
    try:
        header = _header(next(lines, []), file)
        for cells in lines:
            at = f"{file}:{lines.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise UsageError(f"{at}: {len(cells)} cells where the header has {len(header)} columns")
            filled = {column: cell.strip() for column, cell in zip(header, cells, strict=True) if cell.strip()}
            name = _name(filled, at)
            if name in seen:
                raise UsageError(f"{at}: {name} was given in line {seen[name]} already; allowed: each name once in a file")
            seen[name] = lines.line_num
            rows[name] = _row({column: _value(column, cell, at) for column, cell in filled.items()}, rows.get(name), at)
    except csv.Error as error:
        raise UsageError(f"{file}:{lines.line_num}: not CSV: {error}") from error
    return rows


def _header(cells: Sequence[str], file: str) -> list[str]:
    header = [cell.strip().lstrip("\ufeff") for cell in cells]
    unknown = [column for column in header if column not in COLUMNS]
    twice = [column for column in header if header.count(column) > 1]
    if "name" not in header or unknown or twice:
        wrong = f"unknown column {unknown[0]!r}" if unknown else f"{twice[0]} twice" if twice else "no column `name`"
        raise UsageError(f"{file}:1: {wrong}; allowed: {', '.join(COLUMNS)}")
    return header


def _name(filled: Mapping[str, str], at: str) -> str:
    name = filled.get("name", "")
    if not _NAME.fullmatch(name) or name.startswith("local-"):
        raise UsageError(
            f"{at}: {name!r} cannot name an instance; allowed: letters, digits and . _ / + -, not beginning with local-"
        )
    return name


def _value(column: str, cell: str, at: str) -> Any:
    if column in _COUNTS or column in _NUMBERS:
        whole = column in _COUNTS
        try:
            value = int(cell) if whole else float(cell)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise UsageError(f"{at}: {column} is {cell!r}; allowed: a {'whole ' if whole else ''}number above 0, or nothing")
        return value
    if column.endswith("_date") and not _DATE.fullmatch(cell):
        raise UsageError(f"{at}: {column} is {cell!r}; allowed: YYYY, YYYY-MM, YYYY-MM-DD or YYYY/YYYY")
    if column == "arch" and cell not in _ARCHES:
        raise UsageError(f"{at}: arch is {cell!r}; allowed: {', '.join(filter(None, _ARCHES))}, or nothing")
    return cell


def _row(given: Mapping[str, Any], before: CatalogueRow | None, at: str) -> CatalogueRow:
    """The row whole, checked for what only all its cells together show."""
    for price, prefix in _SOURCES.items():
        # Whoever changes a price says where it is from; the old source must not vouch for it.
        missing = [column for column in (f"{prefix}_source", f"{prefix}_date") if column not in given]
        if price in given and missing:
            raise UsageError(f"{at}: {price} without {' and '.join(missing)}; every price needs its source and date")
    if before is None:
        wanted = [column for column in ("provider", "service") if column not in given]
        if wanted:
            raise UsageError(f"{at}: the new instance {given['name']} needs {' and '.join(wanted)}")
    row = CatalogueRow(**given) if before is None else replace(before, **given)
    if row.service != EDGE and row.usd_per_hour is None and row.usd_per_gb_second is None:
        raise UsageError(
            f"{at}: {row.name} has no price; allowed: usd_per_hour above 0 (or usd_per_gb_second); "
            f"only service {EDGE} goes without"
        )
    return row
