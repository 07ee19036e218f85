"""Which rate to try next, as a pure decision from the evidence so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.capacity import pooled
from harness.capacity.finding import QUEUE, CapacityFinding
from harness.nouns import SLO, Step
from harness.slo import md1_utilisation

LOWEST, HIGHEST = 0.1, 0.95
"""The searched rates as shares of the closed-loop throughput; above, an open queue has no steady state to measure."""
TOLERANCE = 1.05
"""Ratio of the lowest failing to the highest passing rate below which halving shows nothing new."""
PRECISE = 1.10
"""Ratio of the interval's ends at which the search is over before its budget is."""

_AT = 0.05
"""Rates within this share of each other are the same to the search."""
_SIDES = (1.0, 1.05, 0.9)
"""Where around the capacity further steps lie, in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The next rate to try, or None when the search is over; `reason` says why in either case."""

    rate_per_s: float | None
    reason: str


def next_rate(
    steps: Sequence[Step],
    slo: SLO,
    closed_capacity_per_s: float,
    *,
    budget: int,
    service_ms: float | None = None,
) -> Probe:
    """The rate worth trying after `steps`, by geometric bisection of [0.1 C, 0.95 C], until `budget` steps are made.

    The first guess is where an M/D/1 queue with service times of 1/C meets the limit once one unqueued service
    (`service_ms`, default 1/C) is taken off. A rate passes when its violation share, made monotone in the rate, is within the
    SLO's.
    """
    lowest, highest = LOWEST * closed_capacity_per_s, HIGHEST * closed_capacity_per_s
    if len(steps) >= budget:
        return Probe(rate_per_s=None, reason=f"all {budget} steps of the budget are made")
    if not steps:
        return Probe(rate_per_s=_first(slo, closed_capacity_per_s, service_ms), reason="where an M/D/1 queue meets the limit")
    passing, failing = pooled.bracket(steps, slo)
    if failing is None and passing is not None:
        if passing >= 0.999 * highest:
            return Probe(rate_per_s=None, reason="the highest rate an open queue can sustain met the SLO")
        near = highest / passing < 1.25
        return Probe(rate_per_s=highest if near else math.sqrt(passing * highest), reason="every rate so far met the SLO")
    if passing is None and failing is not None:
        if failing <= 1.001 * lowest:
            return Probe(rate_per_s=None, reason="the lowest rate of the search broke the SLO")
        near = failing / lowest < 2
        return Probe(rate_per_s=lowest if near else math.sqrt(failing * lowest), reason="every rate so far broke the SLO")
    if passing is None or failing is None:
        raise ValueError("steps without a single request say nothing")
    return _between(steps, slo, closed_capacity_per_s, passing, failing)


def _first(slo: SLO, closed_capacity_per_s: float, service_ms: float | None) -> float:
    turn_ms = 1e3 / closed_capacity_per_s
    waits = [(limit.limit_ms - (turn_ms if service_ms is None else service_ms)) / turn_ms for limit in slo.limits]
    share = min(md1_utilisation(limit.quantile, 1 + wait) for limit, wait in zip(slo.limits, waits, strict=True))
    # A guess at an end would leave the bisection nothing to halve on one side.
    return min(0.9, max(1.5 * LOWEST, share)) * closed_capacity_per_s


def _between(steps: Sequence[Step], slo: SLO, closed_capacity_per_s: float, passing: float, failing: float) -> Probe:
    """The middle of the bracket; once it is tight, more samples there, until the interval is tight too."""
    middle = math.sqrt(passing * failing)
    if failing / passing > TOLERANCE:
        return Probe(
            rate_per_s=middle, reason=f"between {passing:.3g}/s, which met the SLO, and {failing:.3g}/s, which did not"
        )
    found = pooled.estimate(steps, slo, closed_capacity_per_s)
    if found.low and found.high and found.high / found.low <= PRECISE:
        return Probe(rate_per_s=None, reason=f"the interval {found.low:.3g}-{found.high:.3g}/s is within {PRECISE - 1:.0%}")
    return Probe(rate_per_s=middle, reason=f"more samples at the limit: {passing:.3g}/s met the SLO, {failing:.3g}/s did not")


def next_run(
    finding: CapacityFinding | None,
    slo: SLO,
    closed_capacity_per_s: float,
    *,
    budget: int,
    service_ms: float | None = None,
) -> Probe:
    """The rate of the next run, knowing what the runs so far say together (`estimate`); None for `rate_per_s` ends the search.

    While the queue explains every step, runs go where it is asked most: first at its capacity, then on either side, until the
    interval is tight and two server starts agree. Once it is contradicted, the bisection of `next_rate` takes over.
    """
    if finding is None or not finding.steps:
        return next_rate([], slo, closed_capacity_per_s, budget=budget, service_ms=service_ms)
    made, found = finding.steps, finding.estimate
    steps = [
        Step(rate_per_s=each.rate_per_s, n=each.n, violations=each.violations, lost=each.lost, duration_s=1.0, block=0)
        for each in made
    ]
    if finding.method != QUEUE or found.value is None or not found.low or not found.high:
        return next_rate(steps, slo, closed_capacity_per_s, budget=budget, service_ms=service_ms)
    if len(made) >= budget:
        return Probe(rate_per_s=None, reason=f"all {budget} steps of the budget are made")
    near = [each for each in made if abs(each.rate_per_s / found.value - 1) <= _AT]
    if not near:
        return Probe(rate_per_s=found.value, reason="where the services seen so far meet the limit, to be seen itself")
    tight = found.high / found.low <= PRECISE
    if tight and finding.starts >= 2:
        return Probe(rate_per_s=None, reason=f"the interval {found.low:.3g}-{found.high:.3g}/s is within {PRECISE - 1:.0%}")
    if tight:
        return Probe(rate_per_s=found.value, reason="the interval is tight, but on one server start only")
    # Most services for the time are seen at high rates; a step beyond the capacity also shows whether the queue holds there.
    side = _SIDES[len(made) % len(_SIDES)]
    return Probe(rate_per_s=min(side * found.value, HIGHEST * closed_capacity_per_s), reason="more services near the capacity")
