"""The candidates as one flat table, a row each, for notebooks and spreadsheets."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from importlib import util
from typing import Any, Literal

import pandas as pd

from harness.errors import UsageError
from reports import result as read
from reports import text
from reports.result import Result

Row = Mapping[str, Any]
Field = tuple[str, Literal["object", "float64"], Any]
"""A column's name, its dtype, and the value of one candidate."""

_TEXTS = ("id", "status", "reason", "stage", "instance", "backend", "precision", "target", "basis", "log", "latency_reason")
_NUMBERS = (
    "rank", "tie_group", "probability_best", "threads", "workers", "offered_per_s", "achieved_per_s", "error_ratio",
    "closed_capacity_per_s", "usd_per_hour", "compile_s", "artifact_bytes", "start_s", "load_s", "first_inference_ms",
    "transport_ms", "cpu_utilization", "memory_mb",
)  # fmt: skip
_ESTIMATES = ("capacity_per_s", "usd_per_million", "usd_per_million_at_target", "queue_ms", "compute_ms")
_PERCENTILES = ("p50", "p90", "p95", "p99")
_TRUTHS = ("compile_cached", "validity_valid")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def frame(result: Result) -> pd.DataFrame:
    """One row per candidate, in the order of the file; every column exists whatever was measured.

    Columns carry their units; an estimate has `_low` and `_high` beside it, a percentile `_n` too. What was not measured is
    NaN in a column of numbers and None in one of texts or truth values, never zero.
    """
    found = [list(_fields(result, row)) for row in read.rows(result, "candidates")]
    kinds = [(name, kind) for name, kind, _ in _fields(result, {})]
    columns = {name: pd.Series([row[place][2] for row in found], dtype=kind) for place, (name, kind) in enumerate(kinds)}
    return pd.DataFrame(columns)


def csv(result: Result) -> str:
    """`frame(result)` as CSV with a header; a text that a spreadsheet would run as a formula begins with an apostrophe."""
    table = frame(result)
    texts = [name for name, kind, _ in _fields(result, {}) if kind == "object"]
    table[texts] = table[texts].map(_inert)
    return str(table.to_csv(index=False, lineterminator="\n"))


def parquet_possible() -> bool:
    """Whether pyarrow is installed."""
    return util.find_spec("pyarrow") is not None


def parquet(result: Result) -> bytes:
    """`frame(result)` as Parquet: the same columns, whose types do not depend on what was measured.

    Raises UsageError where pyarrow is not installed.
    """
    if not parquet_possible():
        raise UsageError("table.parquet needs pyarrow, which is not installed: pip install 'loadstone[parquet]'")
    table = frame(result)
    for name, kind, _ in _fields(result, {}):
        if kind == "object":
            whole = table[name].map(lambda cell: text.clean(cell, 100_000) if isinstance(cell, str) else cell)
            table[name] = whole.astype("boolean" if name in _TRUTHS else "string")
    out = io.BytesIO()
    table.to_parquet(out, engine="pyarrow", index=False)
    return out.getvalue()


def _inert(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    shown = text.clean(cell, 10_000)
    return f"'{shown}" if shown.lstrip(" \n").startswith(_FORMULA) else shown


def _fields(result: Result, row: Row) -> Iterator[Field]:
    yield _text("model", read.text(result, "model", "name"))
    yield from (_text(name, read.text(row, name)) for name in _TEXTS)
    yield from (_number(name, read.number(row, name)) for name in _NUMBERS)
    for name in _ESTIMATES:
        yield from _estimate(name, read.mapping(row, name))
    for group, percentile in ((group, percentile) for group in ("latency", "service") for percentile in _PERCENTILES):
        found = read.mapping(row, f"{group}_ms", percentile)
        yield from _estimate(f"{group}_{percentile}_ms", found)
        yield _number(f"{group}_{percentile}_n", read.number(found, "n"))
    for name in ("max_abs", "max_rel", "top1_agreement", "payloads"):
        yield _number(f"parity_{name}", read.number(row, "parity", name))
    for name in ("basis", "source", "date"):
        yield _text(f"price_{name}", read.text(row, "price", name))
    yield _TRUTHS[0], "object", read.flag(row, "compile_cached")
    yield _TRUTHS[1], "object", read.flag(row, "validity", "valid")
    yield _text("validity_reasons", "; ".join(read.texts(row, "validity", "reasons")) or None)
    yield _text("validity_warnings", "; ".join(read.texts(row, "validity", "warnings")) or None)


def _text(name: str, value: str | None) -> Field:
    return name, "object", value


def _number(name: str, value: float | None) -> Field:
    return name, "float64", value


def _estimate(name: str, found: Row) -> Iterator[Field]:
    for end, key in (("", "value"), ("_low", "low"), ("_high", "high")):
        yield _number(f"{name}{end}", read.number(found, key))
    yield _text(f"{name}_reason", read.text(found, "reason"))
