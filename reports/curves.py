"""The capacity over the limit on a quantile, read off a table: between its points along straight lines of both logarithms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.nouns import Estimate
from reports import result as read

Table = Mapping[str, Sequence[float | None]]
"""Columns `limit_ms` (rising), `value`, `low`, `high`; a value is None where no rate meets the limit."""


def table(found: Mapping[str, Any]) -> dict[str, list[float | None]]:
    """The columns of one curve of the result; a point without a limit is left out."""
    columns = {name: read.numbers(found, name) for name in ("limit_ms", "value", "low", "high")}
    rows = [row for row in zip(*columns.values(), strict=False) if row[0] is not None and row[0] > 0]
    return {name: [row[at] for row in rows] for at, name in enumerate(columns)}


def name(quantile: float) -> str:
    return read.percentile_name(quantile)


def capacity(curves: Mapping[str, Table], quantile: float, limit_ms: float) -> Estimate:
    """The highest rate (1/s) at which `quantile` stays within `limit_ms`; beyond the last limit that of the last."""
    said = f"{name(quantile)}<{limit_ms:g}ms"
    found = curves.get(name(quantile))
    if not found or not found["limit_ms"]:
        return Estimate(value=None, low=None, high=None, reason=f"the result holds no curve for {name(quantile)}")
    limits = [limit or 0.0 for limit in found["limit_ms"]]
    above = next((place for place, limit in enumerate(limits) if limit >= limit_ms), len(limits) - 1)
    below = above if limits[above] <= limit_ms else above - 1
    if below < 0 or found["value"][below] is None or found["value"][above] is None:
        return Estimate(value=None, low=None, high=None, reason=f"no rate is known to meet {said}")
    ends = [_between(limits, found[key], below, above, limit_ms) for key in ("value", "low", "high")]
    return Estimate(value=ends[0], low=ends[1], high=ends[2])


def _between(limits: Sequence[float], column: Sequence[float | None], below: int, above: int, at: float) -> float | None:
    first, last = column[below], column[above]
    if not first or not last or below == above:
        return first if below == above else None
    share = math.log(at / limits[below]) / math.log(limits[above] / limits[below])
    return first * math.pow(last / first, share)


def lowest(found: Sequence[Estimate]) -> Estimate:
    """The capacity under several limits together: the lowest value and the lowest of each end; none where one allows none."""
    never = next((each for each in found if each.value is None), None)
    if never is not None or not found:
        return never or Estimate(value=None, low=None, high=None, reason="there is no limit to meet")
    ends = [[end for each in found if (end := getattr(each, key)) is not None] for key in ("value", "low", "high")]
    return Estimate(value=min(ends[0]), low=min(ends[1], default=None), high=min(ends[2], default=None))


def latency(curves: Mapping[str, Table], quantile: float, rate_per_s: float) -> float | None:
    """The quantile (ms) at an offered rate: the limit whose capacity the rate is. None outside the table."""
    found = curves.get(name(quantile))
    if not found or rate_per_s <= 0:
        return None
    points = [(limit, rate) for limit, rate in zip(found["limit_ms"], found["value"], strict=True) if limit and rate]
    for (short, few), (long, many) in pairwise(points):
        if few <= rate_per_s <= many:
            share = 0.0 if many == few else math.log(rate_per_s / few) / math.log(many / few)
            return short * math.pow(long / short, share)
    return None
