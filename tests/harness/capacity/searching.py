"""Whole capacity searches on simulated servers, and how often their intervals hold the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import capacity
from harness.capacity import CapacityFinding, OpenRun
from harness.nouns import SLO
from harness.slo import md1_utilisation, parse
from tests.harness.capacity.simulated import Server

STARTS = 3
STEP_S = 20.0
"""Three starts of 20 s each: the minute of load of a real search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A server, its SLO in services, and the true capacity per service time (that is, at services of 1 s, in 1/s)."""

    server: Server
    limit_services: float
    truth: float
    quantile: float = 0.99

    @property
    def slo(self) -> SLO:
        return parse(f"p{100 * self.quantile:g}<{self.limit_services * self.server.service_ms:.9g}ms")

    @property
    def true_per_s(self) -> float:
        return self.truth * 1e3 / self.server.service_ms

    @property
    def closed_per_s(self) -> float:
        return self.server.servers * 1e3 / self.server.service_ms


TRUTHS: dict[tuple[str, int], tuple[float, float]] = {
    ("D", 1): (5.0, md1_utilisation(0.99, 5.0)),
    ("M", 1): (10.0, 1 - math.log(100) / 10),
    ("lognormal", 1): (5.0, 0.5154),
    ("bimodal", 1): (7.0, 0.5892),
    ("D", 2): (5.0, 1.5073),
    ("M", 2): (10.0, 1.5159),
    ("lognormal", 2): (5.0, 1.4564),
    ("bimodal", 2): (7.0, 1.5698),
}
"""By law and servers: the limit in services and the p99 capacity: Erlang's formulas for D/1, M/1 and M/2, otherwise from four
million simulated requests, good to 0.3 %; `test_simulated` checks them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What many searches on one server showed. Errors are ln(found / truth)."""

    law: str
    servers: int
    service_ms: float
    searches: int
    load_s: float
    requests: float
    covered: float
    too_high: float
    too_low: float
    within_5_percent: float
    bias: float
    sd: float
    width: float
    """Median ratio of the interval's ends."""
    by_queue: float
    """Share of searches in which the queue explained every step."""
    without_value: float
    """Share that gave an interval only."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def search(
    case: Case, rng: np.random.Generator, *, starts: int = STARTS, step_s: float = STEP_S, per_start: int = 1
) -> tuple[CapacityFinding, float]:
    """One search as a bench makes it, one rate after another; (what was found, seconds of load)."""
    runs: list[OpenRun] = []
    finding: CapacityFinding | None = None
    for start in range(starts):
        scale = case.server.start(rng)
        for _ in range(per_start):
            probe = capacity.next_run(finding, case.slo, case.closed_per_s, budget=starts * per_start)
            if probe.rate_per_s is None:
                break
            runs.append(case.server.run(probe.rate_per_s, step_s, scale, rng, str(start)))
            finding = capacity.estimate(
                runs, case.slo, servers=case.server.servers, closed_capacity_per_s=case.closed_per_s, seed=len(runs)
            )
    if finding is None:
        raise ValueError("a search makes at least one step")
    return finding, len(runs) * step_s


def study(case: Case, searches: int, seed: int = 1, *, starts: int = STARTS, step_s: float = STEP_S) -> Study:
    """Many searches on fresh servers."""
    found, seconds, requests, queued = [], [], [], 0
    for number in range(searches):
        finding, load_s = search(case, np.random.default_rng([seed, number]), starts=starts, step_s=step_s)
        estimate = finding.estimate
        queued += finding.method == "queue"
        found.append([estimate.value or math.nan, estimate.low or 0.0, estimate.high or math.inf])
        seconds.append(load_s)
        requests.append(sum(step.n for step in finding.steps))
    return _summary(case, np.array(found), seconds, requests, queued / searches)


def _summary(
    case: Case, found: NDArray[np.float64], seconds: Sequence[float], requests: Sequence[int], by_queue: float
) -> Study:
    value, low, high = found.T
    truth = case.true_per_s
    error = np.log(value / truth)
    return Study(
        law=case.server.law,
        servers=case.server.servers,
        service_ms=case.server.service_ms,
        searches=len(found),
        load_s=float(np.mean(seconds)),
        requests=float(np.mean(requests)),
        covered=float(((low <= truth) & (truth <= high)).mean()),
        too_high=float((truth < low).mean()),
        too_low=float((truth > high).mean()),
        within_5_percent=float((np.abs(error) <= math.log(1.05)).mean()),
        bias=float(np.nanmean(error)),
        sd=float(np.nanstd(error)),
        width=float(np.nanmedian(high / np.where(low > 0, low, np.nan))),
        without_value=float(np.isnan(value).mean()),
        by_queue=by_queue,
    )
