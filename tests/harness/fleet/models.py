"""Service times with known answers, and fleets of them."""

from __future__ import annotations

import math

import numpy as np

from harness.fleet.demand import Demand
from harness.fleet.nouns import Fleet, Metric, Policy, Routing
from harness.fleet.policies import Limits, TargetTracking
from harness.fleet.service import ServiceTimes
from harness.fleet.simulate import simulate
from harness.nouns import SLO
from harness.slo import parse
from loadprofiles.traces import Trace

LOOSE: SLO = parse("p99<10s")


def exponential(mean_s: float, points: int = 100_000) -> ServiceTimes:
    """An exponential law by its quantiles at the middle of equal shares."""
    shares = (np.arange(points) + 0.5) / points
    return ServiceTimes(levels=((-np.log1p(-shares) * mean_s * 1e9).astype(np.int64),), source="exponential")


def constant(seconds: float) -> ServiceTimes:
    return ServiceTimes(levels=(np.asarray([round(seconds * 1e9)], np.int64),), source="constant")


def fleet(service: ServiceTimes, workers: int = 1, **given: object) -> Fleet:
    defaults: dict[str, object] = {"starts_s": (15.0,), "provisioning_s": 105.0, "routing": Routing.LEAST_OUTSTANDING}
    return Fleet(service=service, workers=workers, **(defaults | given))  # type: ignore[arg-type]


def mmc_wait_s(utilisation: float, workers: int, service_s: float) -> float:
    """Mean wait by Erlang's C formula."""
    load = utilisation * workers
    blocked = load**workers / math.factorial(workers) / (1 - utilisation)
    share = blocked / (sum(load**k / math.factorial(k) for k in range(workers)) + blocked)
    return share * service_s / (workers * (1 - utilisation))


def md1_wait_s(utilisation: float, service_s: float) -> float:
    """Mean wait by Pollaczek and Khinchine."""
    return utilisation * service_s / (2 * (1 - utilisation))


def two_days() -> str:
    """Everything that a short, overloaded trace shows under both ways of routing."""
    counts = np.asarray([60, 400, 400, 400, 400, 100] * 3 + [0, 9])
    trace = Trace(name="t", span_ns=1200 * 10**9, counts=counts, interval_ns=60 * 10**9)
    policy = Policy(metric=Metric.INVOCATIONS, limits=Limits(least=1, most=5), tracking=TargetTracking(target=90.0))
    service = exponential(0.3, 1000)
    days = [simulate(fleet(service, 2, routing=each), policy, Demand(trace=trace), LOOSE, 3) for each in Routing]
    assert all(day.requests == counts.sum() for day in days)
    return str(days)
