"""Rows of a result as the decisions read them."""

from __future__ import annotations

from typing import Any


def figure(value: float | None, spread: float = 1.02, reason: str | None = None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "reason": reason or "not measured"}
    return {"value": value, "low": value / spread, "high": value * spread, "reason": None}


def row(
    name: str,
    *,
    price: float | None = 0.1,
    capacity: float = 10.0,
    latency: float | None = 100.0,
    spread: float = 1.02,
    basis: str = "measured",
    **more: Any,
) -> dict[str, Any]:
    """A ranked row; its cost follows from price and capacity."""
    cost = None if price is None else price / capacity / 3600 * 1e6
    return {
        "id": name,
        "instance": name.partition("@")[2],
        "basis": basis,
        "status": "ranked",
        "usd_per_hour": price,
        "usd_per_million": figure(cost, spread, "no price is known for the instance"),
        "capacity_per_s": figure(capacity, spread),
        "latency_ms": {"p50": figure(latency and latency / 2, spread), "p99": figure(latency, spread)},
        "latency_reason": None,
        "predicted": None,
        "between_starts": {"log_sd": None, "starts": 1},
    } | more


def predicted(factors: list[float], capacities: list[float], rates: list[float], p99_ms: list[float]) -> dict[str, Any]:
    return {
        "slo_factor": factors,
        "capacity_per_s": capacities,
        "rate_per_s": rates,
        "latency_ms": {"p99": p99_ms},
        "reason": None,
    }
