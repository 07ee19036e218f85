"""What the queue of the measured services would do elsewhere: its capacity under other limits, its latency at other rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.capacity import queue, simulate
from harness.capacity.runs import OpenRun, reconstruct
from harness.capacity.service import Pool, pool
from harness.nouns import SLO, LatencyLimit
from harness.statistics import nearest_rank

Floats = NDArray[np.float64]

SLO_FACTORS: Floats = np.geomspace(0.25, 4.0, 25)
"""On all limits together; 1 is among them."""
LOADS: Floats = np.linspace(0.1, 0.95, 18)
"""Shares of the rate at which the server is saturated."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)
_CHAINS, _STEPS, _SETTLE = 400, 600, 1500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Elsewhere:
    """`capacity_per_s` shape (factors,), 0 where the limit cannot be kept; `latency_ms` shape (rates, quantiles)."""

    slo_factors: Floats
    capacity_per_s: Floats
    rates_per_s: Floats
    latency_ms: Floats


def predict(runs: Sequence[OpenRun], slo: SLO, servers: int, capacity_per_s: float, seed: int) -> Elsewhere:
    """Both curves. The first passes through `capacity_per_s`, the estimate under `slo` itself."""
    used = [run for run in runs if run.n]
    services = [found for run in used if (found := reconstruct(run, servers)).service_ms.size]
    together = pool(services)
    lost = 1 - sum(each.service_ms.size for each in services) / sum(run.n for run in used)
    capacities = np.array([_capacity(together, slo, servers, lost, float(factor)) for factor in SLO_FACTORS])
    own = _capacity(together, slo, servers, lost, 1.0)
    saturated = 1e3 * servers / float(together.service_ms[together.subset(True)].mean())
    rates = saturated * LOADS
    return Elsewhere(
        slo_factors=SLO_FACTORS,
        capacity_per_s=capacities * (capacity_per_s / own if own > 0 else 0.0),
        rates_per_s=rates,
        latency_ms=np.array([_latency(together, servers, float(rate), seed) for rate in rates]),
    )


def _capacity(together: Pool, slo: SLO, servers: int, lost: float, factor: float) -> float:
    """By the arithmetic alone; that it is off by a factor for several servers does not move its shape."""
    return min(
        queue.highest(together, LatencyLimit(quantile=each.quantile, limit_ms=each.limit_ms * factor), servers, lost)
        for each in slo.limits
    )


def _latency(together: Pool, servers: int, rate_per_s: float, seed: int) -> Floats:
    """The quantiles of a simulated queue. One seed for all: candidates and rates meet the same arrivals but for their scale."""
    rng = np.random.default_rng(seed)
    rho = rate_per_s * float(together.service_ms[together.subset(True)].mean()) / 1e3 / servers
    settle = int(min(_SETTLE, 20 + 3 * servers / (1 - math.sqrt(rho)) ** 2))
    gaps = rng.exponential(1e3 / rate_per_s, size=(settle + _STEPS, _CHAINS))
    idle = queue.drawn(together, together.subset(False), settle + _STEPS, _CHAINS, rng)
    busy = queue.drawn(together, together.subset(True), settle + _STEPS, _CHAINS, rng) if together.separate else idle
    found = np.sort(simulate.sojourn_ms(gaps, idle, busy, servers)[settle:], axis=None)
    return np.array([found[nearest_rank(found.size, p) - 1] for p in QUANTILES])
