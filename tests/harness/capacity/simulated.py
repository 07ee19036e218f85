"""A server whose law is known, as numbers only, and what it can truly carry; nothing here comes from the code under test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from harness.capacity.runs import OpenRun

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

LAWS: dict[str, Draw] = {
    "D": lambda rng, n: np.ones(n),
    "M": lambda rng, n: rng.exponential(1.0, n),
    "lognormal": lambda rng, n: rng.lognormal(-(0.3**2) / 2, 0.3, n),
    "bimodal": lambda rng, n: np.where(rng.random(n) < 0.05, 3.0, 17 / 19),
}
"""Services with mean 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`servers` FIFO servers with services of `law`, on average `service_ms`; each start is off by up to `drift`."""

    law: str
    service_ms: float
    servers: int = 1
    drift: float = 0.02

    def start(self, rng: np.random.Generator) -> float:
        """The factor on all services that this start drew."""
        return float(rng.uniform(1 - self.drift, 1 + self.drift))

    def run(self, rate_per_s: float, duration_s: float, scale: float, rng: np.random.Generator, start: str = "0") -> OpenRun:
        """Poisson arrivals for `duration_s`, starting idle, all answered."""
        gaps = rng.exponential(1e3 / rate_per_s, int(rate_per_s * duration_s * 2) + 50)
        due = np.cumsum(gaps)
        due = due[due < duration_s * 1e3]
        done = due + self.sojourn_ms(due, rng, scale)
        return OpenRun(
            start=start,
            rate_per_s=rate_per_s,
            due_ms=due,
            done_ms=done,
            good=np.ones(due.size, dtype=bool),
            duration_s=duration_s,
        )

    def sojourn_ms(self, due: Floats, rng: np.random.Generator, scale: float = 1.0) -> Floats:
        service = self.service_ms * scale * LAWS[self.law](rng, due.size)
        if self.servers == 1:
            return lindley(due, service)
        free = [0.0] * self.servers
        found = np.empty(due.size)
        for k, (arrived, needed) in enumerate(zip(due.tolist(), service.tolist(), strict=True)):
            place = free.index(min(free))
            free[place] = max(arrived, free[place]) + needed
            found[k] = free[place] - arrived
        return found

    def true_quantile_ms(self, rate_per_s: float, quantile: float, n: int = 1_500_000) -> float:
        """From one long run."""
        rng = np.random.default_rng(99)
        due = np.cumsum(rng.exponential(1e3 / rate_per_s, n))
        return float(np.quantile(self.sojourn_ms(due, rng), quantile))

    def true_capacity_per_s(self, quantile: float, limit_ms: float, n: int = 1_500_000) -> float:
        """The rate at which the quantile is the limit, from long runs on the same random numbers."""

        def excess(rate: float) -> float:
            return math.log(self.true_quantile_ms(rate, quantile, n) / limit_ms)

        highest = 1e3 * self.servers / self.service_ms
        return float(optimize.brentq(excess, 0.02 * highest, 0.99 * highest, xtol=1e-4 * highest))


def lindley(due: Floats, service: Floats) -> Floats:
    """Sojourn times of one FIFO server that starts idle (Lindley, 1952)."""
    before = np.concatenate([[0.0], np.cumsum(service)[:-1]])
    return np.asarray(np.maximum.accumulate(due - before) + before + service - due, dtype=np.float64)
