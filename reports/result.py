"""Reads a result and its leaves, any of which may be absent, without ever turning an absent one into a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Result = Mapping[str, Any]


def leaf(data: Any, *path: str) -> Any:
    """What lies at `path`, or None as soon as a step is missing or not a mapping."""
    for step in path:
        if not isinstance(data, Mapping):
            return None
        data = data.get(step)
    return data


def number(data: Any, *path: str) -> float | None:
    """The finite number at `path`; None for anything else, a boolean included."""
    value = leaf(data, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer too large for a float
        return None


def text(data: Any, *path: str) -> str | None:
    """The text at `path` (a number is written out); None when absent or blank."""
    value = leaf(data, *path)
    if value is None or isinstance(value, Mapping | list | bool):
        return None
    return str(value).strip() or None


def mapping(data: Any, *path: str) -> Mapping[str, Any]:
    """The mapping at `path`, empty when absent."""
    value = leaf(data, *path)
    return value if isinstance(value, Mapping) else {}


def rows(data: Any, *path: str) -> list[Mapping[str, Any]]:
    """The mappings in the list at `path`, empty when absent."""
    value = leaf(data, *path)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def texts(data: Any, *path: str) -> list[str]:
    """The texts in the list at `path`, empty when absent."""
    value = leaf(data, *path)
    return [str(item) for item in value if item is not None] if isinstance(value, list) else []


def numbers(data: Any, *path: str) -> list[float | None]:
    """The list at `path`, with None for each item that is not a finite number; empty when absent."""
    value = leaf(data, *path)
    return [number({"item": item}, "item") for item in value] if isinstance(value, list) else []


def flag(data: Any, *path: str) -> bool | None:
    """The truth value at `path`; None when absent or something else."""
    value = leaf(data, *path)
    return value if isinstance(value, bool) else None


def ranked(result: Result) -> list[Mapping[str, Any]]:
    """The ranked candidates, best first; one without a rank comes last, in the order of the file."""
    chosen = [row for row in rows(result, "candidates") if leaf(row, "status") == "ranked"]
    return sorted(chosen, key=lambda row: number(row, "rank") or math.inf)


def unranked(result: Result) -> list[Mapping[str, Any]]:
    """Every other candidate, whatever its status, in the order of the file."""
    return [row for row in rows(result, "candidates") if leaf(row, "status") != "ranked"]


def recommended(result: Result) -> Mapping[str, Any] | None:
    """The row that the recommendation names, or None."""
    name = leaf(result, "recommendation", "id")
    return next((row for row in rows(result, "candidates") if name is not None and row.get("id") == name), None)


def percentile_name(quantile: float) -> str:
    """`p99` for 0.99, `p99.9` for 0.999: the key of the quantile in `latency_ms`."""
    return f"p{quantile * 100:.6g}"


def stated_latency(result: Result, row: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The latency to state: the SLO's quantile, else the highest lower one that the run supports.

    Gives its name and its mapping (`value`, `low`, `high`, `n`, in ms), or None and an empty mapping.
    """
    limit = number(result, "slo", "quantile")
    wanted = percentile_name(limit) if limit is not None else "p99"
    for name in dict.fromkeys((wanted, "p99", "p95", "p90", "p50")):
        if float(name[1:]) <= float(wanted[1:]) and number(row, "latency_ms", name, "value") is not None:
            return name, mapping(row, "latency_ms", name)
    return None, {}
