"""A projected row of the result out of a measured one: figures with intervals, everything else null with its reason. Pure.

Time has no scale of its own: a server that is f times as fast under limits x serves f times what this one serves under limits
f x. So the curves of the measured row (`predicted`) say what a faster or slower one would carry.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.catalogue import CatalogueRow
from harness.cost import usd_per_million
from harness.nouns import Estimate
from harness.projection.nouns import LEVEL, Ratio
from harness.projection.speed import Speed
from harness.statistics import Z_95

Z_LEVEL = 1.6448536
"""Of the normal, for `LEVEL`."""
_WHY = "projected, not measured"
_KEPT = ("backend", "precision", "threads", "workers", "target")
_EMPTY = {"steps": [], "starts": 0, "starts_s": [], "endpoint": None, "log": None, "stage": None}
_NOT_MEASURED = ("reason", "stage", "log", "endpoint", "rank", "tie_group", "probability_best")
_FIGURES = ("latency_ms", "service_ms", "capacity_per_s", "usd_per_million", "predicted")


def projected(
    base: Mapping[str, Any], row: CatalogueRow, speed: Speed, servers: int, reference_rate_per_s: float | None
) -> dict[str, Any]:
    """The row of `servers` servers like `base` on an instance, not ranked yet: `ranked` where it may be, or `rejected`."""
    factor, curve = speed.speed, _capacities(base)
    capacity = _capacity(base, curve, factor, servers)
    status, reason = ("ranked", None) if capacity.value else ("rejected", capacity.reason)
    latency, why_not = _latency(base, factor, servers, reference_rate_per_s)
    return {
        **_blank(base, row, reason=_WHY),
        "status": status,
        "reason": reason,
        "latency_ms": latency,
        "latency_reason": why_not,
        "service_ms": _service(base, factor),
        "capacity_per_s": asdict(capacity),
        "usd_per_million": asdict(usd_per_million(row.usd_per_hour, capacity)),
        "predicted": _predicted(base, factor.value, servers),
        "projection": {
            "from": base["id"],
            "level": LEVEL,
            "speed": {"value": factor.value, "low": factor.low, "high": factor.high},
            "servers": servers,
            "class": factor.kind,
            "bound": factor.bound,
            "anchor": speed.anchor,
            "notes": list(speed.notes),
        },
    }


def refused(base: Mapping[str, Any], row: CatalogueRow, reason: str) -> dict[str, Any]:
    """The row of an instance that is not projected onto."""
    return {**_blank(base, row, reason=reason), "status": "skipped", "reason": reason}


def _blank(base: Mapping[str, Any], row: CatalogueRow, *, reason: str) -> dict[str, Any]:
    """Every key of a measured row, null where it is a figure."""
    instance = row.instance()
    nothing = asdict(Estimate(value=None, low=None, high=None, reason=reason))
    identity = f"{base['id'].rsplit('@', 1)[0]}@{row.name}"
    value: dict[str, Any] = {
        **dict.fromkeys(base),
        **_EMPTY,
        **{key: base[key] for key in _KEPT if key in base},
        "id": identity,
        "instance": row.name,
        "key": hashlib.sha256(f"projected {base['key']} {row.name}".encode()).hexdigest(),
        "basis": "projected",
        "latency_reason": reason,
        "capacity_per_s": nothing,
        "usd_per_hour": instance.usd_per_hour,
        "price": {"basis": instance.price_basis, "source": instance.price_source, "date": instance.price_date},
        "usd_per_million": nothing,
        "usd_per_million_at_target": {**nothing, "reason": "how long an instance takes to start was not measured"},
        "predicted": {**dict.fromkeys(("slo_factor", "capacity_per_s", "rate_per_s", "latency_ms")), "reason": reason},
        "capacity_by_limit": {"method": None, "quantiles": None, "reason": reason},
        "between_starts": {"log_sd": None, "starts": 0},
        "steady": {"warm_ups": {}, "time_to_steady_s": None, "reason": reason},
        "validity": {"valid": True, "reasons": [], "warnings": []},
        "projection": {"from": base["id"], "level": LEVEL, "notes": []},
    }
    null = (key for key, found in value.items() if found is None and key not in _NOT_MEASURED)
    return {**value, "unmeasured": dict.fromkeys((key for key in null if key not in _FIGURES), _WHY)}


def _capacities(base: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]] | None:
    """The capacity here by the factor on the SLO's limits, None where the server was not the queue that such a curve takes."""
    found = base.get("predicted") or {}
    return (found["slo_factor"], found["capacity_per_s"]) if found.get("slo_factor") else None


def _capacity(
    base: Mapping[str, Any], curve: tuple[Sequence[float], Sequence[float]] | None, factor: Ratio, servers: int
) -> Estimate:
    own = base["capacity_per_s"]

    def at(speed: float) -> float:
        """Beyond the curve limits count as no looser than its last, and as broken below its first."""
        if curve is None:
            return servers * speed * float(own["value"]) if speed >= 1 else 0.0
        if speed < curve[0][0]:
            return 0.0
        return servers * speed * float(np.interp(math.log(speed), np.log(curve[0]), curve[1]))

    value, low, high = at(factor.value), at(factor.low), at(factor.high)
    if value <= 0:
        return Estimate(
            value=None,
            low=None,
            high=None,
            reason=f"projected to be {factor.value:.2g} times as fast as {base['id']}, which does not keep the SLO",
        )
    below, above = (_half(own["value"], own[end]) for end in ("low", "high"))
    wide = math.hypot(math.log(value / low), below) if low > 0 else None
    return Estimate(
        value=value,
        low=None if wide is None else value * math.exp(-wide),
        high=value * math.exp(math.hypot(math.log(high / value), above)),
        reason="at the slow end of the interval the SLO is not kept" if wide is None else None,
    )


def _half(value: float, end: float | None) -> float:
    """Half the interval of a measured figure in logarithms, narrowed from 95 % to the projection's level."""
    return abs(math.log(end / value)) * Z_LEVEL / Z_95 if end else 0.0


def _service(base: Mapping[str, Any], factor: Ratio) -> dict[str, Any] | None:
    seen = base.get("service_ms")
    if not seen:
        return None
    return {label: _slower(each.get("value"), factor, each.get("reason")) for label, each in seen.items()}


def _slower(ms: float | None, factor: Ratio, reason: str | None) -> dict[str, Any]:
    if ms is None:
        return {"value": None, "low": None, "high": None, "n": 0, "reason": reason or _WHY}
    return {"value": ms / factor.value, "low": ms / factor.high, "high": ms / factor.low, "n": 0, "reason": None}


def _latency(
    base: Mapping[str, Any], factor: Ratio, servers: int, rate_per_s: float | None
) -> tuple[dict[str, Any] | None, str | None]:
    """By quantile at the common rate, or why not."""
    found = base.get("predicted") or {}
    if rate_per_s is None or not found.get("rate_per_s"):
        return None, found.get("reason") or "there is no common rate"
    ends = [_at_rate(found, speed, servers, rate_per_s) for speed in (factor.value, factor.high, factor.low)]
    if ends[0] is None:
        return None, f"projected not to carry {rate_per_s:.3g}/s"
    value, low, high = ends[0], ends[1] or {}, ends[2] or {}
    return {
        label: {
            "value": ms,
            "low": low.get(label),
            "high": high.get(label),
            "n": 0,
            "reason": None if high else f"at the slow end of the interval it does not carry {rate_per_s:.3g}/s",
        }
        for label, ms in value.items()
    }, None


def _at_rate(found: Mapping[str, Any], speed: float, servers: int, rate_per_s: float) -> dict[str, float] | None:
    rates = np.asarray(found["rate_per_s"])
    own = rate_per_s / (servers * speed)
    if own > rates[-1]:
        return None
    return {label: float(np.interp(own, rates, curve)) / speed for label, curve in found["latency_ms"].items()}


def _predicted(base: Mapping[str, Any], speed: float, servers: int) -> dict[str, Any]:
    """The curves of the measured row on the scale of the instance."""
    found = base.get("predicted") or {}
    if not found.get("slo_factor"):
        return {**dict.fromkeys(("slo_factor", "capacity_per_s", "rate_per_s", "latency_ms")), "reason": found.get("reason")}
    scaled = [
        (
            factor,
            servers * speed * float(np.interp(math.log(factor * speed), np.log(found["slo_factor"]), found["capacity_per_s"])),
        )
        for factor in found["slo_factor"]
        if found["slo_factor"][0] <= factor * speed <= found["slo_factor"][-1]
    ]
    return {
        "slo_factor": [factor for factor, _ in scaled],
        "capacity_per_s": [capacity for _, capacity in scaled],
        "rate_per_s": [servers * speed * rate for rate in found["rate_per_s"]],
        "latency_ms": {label: [ms / speed for ms in curve] for label, curve in found["latency_ms"].items()},
        "reason": None,
    }
