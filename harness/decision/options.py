"""A ranked row of the result as the decisions see it, measured or projected, on this machine or another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Any

from harness.nouns import Estimate
from harness.ranking import log_error
from harness.statistics import Z_95

MEASURED, PROJECTED = "measured", "projected"
_UNKNOWN = "it is not in the result"

Curve = tuple[tuple[float, float], ...]
"""(where, value) in ascending order of where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`latency_ms` is of the quantile that the options are compared by. `by_limit` is the capacity (1/s) by the factor on the
    SLO's limits, `by_load` that latency (ms) by the rate (1/s); both are empty for `curve_reason`. `start_variance` is the
    variance of the logarithm of a figure's mean over the server starts."""

    id: str
    instance: str
    basis: str
    usd_per_hour: float | None
    usd_per_million: Estimate
    capacity_per_s: Estimate
    latency_ms: Estimate
    by_limit: Curve = ()
    by_load: Curve = ()
    curve_reason: str | None = None
    start_variance: float = 0.0


def options(rows: Sequence[Mapping[str, Any]], quantile: str | None) -> tuple[Option, ...]:
    """The rows that have a rank, in their order."""
    return tuple(_option(row, quantile) for row in rows if row.get("status") == "ranked")


def common_quantile(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The highest quantile of the latency that every measured ranked row has, of those that have any; else of any row."""
    ranked = [row for row in rows if row.get("status") == "ranked"]
    for basis in (MEASURED, PROJECTED):
        held = [_known(row) for row in ranked if row.get("basis") == basis]
        held = [labels for labels in held if labels]
        if held and (shared := set.intersection(*held)):
            return max(shared, key=lambda label: float(label[1:]))
    return None


def ratio(own: Estimate, other: Estimate, variance: float = 0.0) -> Estimate:
    """own / other with its 95 % interval, both as log-normals; `variance` (of logarithms) is what the starts add."""
    if not own.value or not other.value:
        reason = own.reason or other.reason or "one of the two is not known"
        return Estimate(value=None, low=None, high=None, reason=reason)
    errors = log_error(own), log_error(other)
    middle = own.value / other.value
    if errors[0] is None or errors[1] is None:
        return Estimate(value=middle, low=None, high=None, reason="one of the two has no interval")
    half = Z_95 * math.sqrt(errors[0] ** 2 + errors[1] ** 2 + variance)
    return Estimate(value=middle, low=middle * math.exp(-half), high=middle * math.exp(half))


def worse(found: Estimate, tie_ratio: float) -> bool:
    """Whether a ratio is above 1 by more than a tie: its whole interval, and by at least `tie_ratio`."""
    return bool(found.value and found.value >= tie_ratio and found.low is not None and found.low > 1)


def at(curve: Curve, where: float) -> float | None:
    """The curve between its points, straight in logarithms; None outside it and where it touches 0."""
    for (left, below), (right, above) in pairwise(curve):
        if left <= where <= right:
            if below <= 0 or above <= 0:
                return None
            share = math.log(where / left) / math.log(right / left)
            return math.exp(math.log(below) + share * math.log(above / below))
    return None


def _option(row: Mapping[str, Any], quantile: str | None) -> Option:
    curves = row.get("predicted") or {}
    by_limit = zip(curves.get("slo_factor") or (), curves.get("capacity_per_s") or (), strict=True)
    latencies = (curves.get("latency_ms") or {}).get(quantile) or ()
    by_load = zip(curves.get("rate_per_s") or () if latencies else (), latencies, strict=True)
    spread, wider = row.get("between_starts") or {}, _wider(row)
    return Option(
        id=str(row["id"]),
        instance=str(row["instance"]),
        basis=str(row.get("basis") or MEASURED),
        usd_per_hour=row.get("usd_per_hour"),
        usd_per_million=_estimate(row.get("usd_per_million"), None, wider),
        capacity_per_s=_estimate(row.get("capacity_per_s"), None, wider),
        latency_ms=_estimate((row.get("latency_ms") or {}).get(quantile), row.get("latency_reason"), wider),
        by_limit=tuple((float(x), float(y)) for x, y in by_limit),
        by_load=tuple((float(x), float(y)) for x, y in by_load if y is not None),
        curve_reason=curves.get("reason") if curves else "no service times were measured, only the figures at this SLO",
        start_variance=(spread.get("log_sd") or 0.0) ** 2 / max(1, spread.get("starts") or 1),
    )


def _wider(row: Mapping[str, Any]) -> float:
    """What makes a row's intervals those of 95 %, as a power on their ends over the middle: a projection states its level."""
    level = (row.get("projection") or {}).get("level")
    return Z_95 / NormalDist().inv_cdf(0.5 + level / 2) if level else 1.0


def _estimate(data: Mapping[str, Any] | None, reason: str | None, wider: float) -> Estimate:
    if not data or data.get("value") is None:
        return Estimate(value=None, low=None, high=None, reason=(data or {}).get("reason") or reason or _UNKNOWN)
    value, ends = data["value"], [data.get("low"), data.get("high")]
    low, high = (value * (end / value) ** wider if end and value else end for end in ends)
    return Estimate(value=value, low=low, high=high, reason=data.get("reason"))


def _known(row: Mapping[str, Any]) -> set[str]:
    return {label for label, each in (row.get("latency_ms") or {}).items() if each and each.get("value") is not None}
