"""The design of the experiment, as pure decisions: who is measured when, and who need not be measured further.

A bench has three kinds of blocks. In each, every candidate still in the race is visited once, in random order; a visit is one
server start, a warm-up and the runs of its purpose.

screen     closed loop with one user: the service time, and so whether the SLO can be met at all
search     open loop, rates chosen by bisection: the capacity under the SLO
reference  open loop at one common rate: the latencies that are compared
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.capacity import HIGHEST
from harness.depth import Depth
from harness.nouns import SLO, Estimate
from harness.statistics import clopper_pearson

SCREEN, SEARCH, REFERENCE = "screen", "search", "reference"

REFERENCE_SHARE = 0.7
"""The reference rate as a share of the best capacity: about where a scaling target puts an instance."""

_STEP_REQUESTS = 40
_SLICE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitPlan:
    """One visit to be made. `duration_s` and `rate_per_s` are set for reference visits only."""

    id: str
    block: int
    ordinal: int
    candidate: str
    purpose: str
    rate_per_s: float | None = None
    duration_s: float | None = None


def block(
    purpose: str,
    number: int,
    candidates: Sequence[str],
    seed: int,
    *,
    rate_per_s: float | None = None,
    durations_s: Mapping[str, float] | None = None,
) -> tuple[VisitPlan, ...]:
    """One block: `candidates` once each, in an order drawn from the bench's seed and the block's number."""
    order = np.random.default_rng([seed, number]).permutation(len(candidates))
    return tuple(
        VisitPlan(
            id=f"b{number}-{candidates[index]}-{purpose}",
            block=number,
            ordinal=ordinal,
            candidate=candidates[index],
            purpose=purpose,
            rate_per_s=rate_per_s,
            duration_s=None if durations_s is None else durations_s[candidates[index]],
        )
        for ordinal, index in enumerate(order)
    )


def hopeless(n: int, slower: int, slo: SLO) -> str | None:
    """Why a candidate cannot meet the SLO even with one user at a time, None when it may.

    `slower` of `n` unqueued requests exceeded the limit; hopeless when the lower 95 % Clopper–Pearson bound of that share is
    above what the SLO allows, since queueing can only add to it.
    """
    if n == 0:
        return None
    low, _ = clopper_pearson(slower, n)
    if low <= 1 - slo.quantile:
        return None
    return f"{slower} of {n} requests were slower than {slo.limit_ms:g} ms with a single user, without any queue"


def reference_rate(capacities: Mapping[str, Estimate], requested: float | None) -> float | None:
    """The one rate at which latencies are compared: the user's, or a share of the best capacity; None without either."""
    if requested is not None:
        return requested
    known = [capacity.value for capacity in capacities.values() if capacity.value]
    return REFERENCE_SHARE * max(known) if known else None


def carries(rate_per_s: float, closed_capacity_per_s: float) -> bool:
    """Whether a rate is far enough below the closed-loop throughput for the queue to have a steady state."""
    return rate_per_s <= HIGHEST * closed_capacity_per_s


def finalists(capacities: Mapping[str, Estimate], count: int) -> frozenset[str]:
    """The `count` candidates with the highest capacity: those that can still win and so get the time a p99 takes."""
    known = sorted(
        (name for name, capacity in capacities.items() if capacity.value), key=lambda name: -_value(capacities[name])
    )
    return frozenset(known[:count])


def step_s(rate_per_s: float, depth: Depth) -> float:
    """Seconds of one search step: the depth's, longer for slow models so that a step sees some 40 requests."""
    return min(max(depth.step_s, _STEP_REQUESTS / rate_per_s), depth.step_max_s)


def slices_s(duration_s: float) -> tuple[float, ...]:
    """A reference visit as equal runs of at most 20 s each: a bad moment of the machine then costs one of them."""
    count = max(1, math.ceil(round(duration_s / _SLICE_S, 6)))
    return (duration_s / count,) * count


def reference_durations(names: Sequence[str], final: frozenset[str], rate_per_s: float, depth: Depth) -> dict[str, float]:
    """Seconds at the reference rate for each candidate: finalists as many as their n needs, the others a fixed look."""
    wanted = min(depth.finalist_max_s, max(depth.reference_s, 1.1 * depth.finalist_n / rate_per_s))
    return {name: wanted if name in final else depth.reference_s for name in names}


def expected_s(depth: Depth, purpose: str, duration_s: float | None = None, start_s: float = 4.0) -> float:
    """About how long a visit will take, for the display only."""
    load = {
        SCREEN: depth.probe_s,
        SEARCH: depth.search_steps * depth.step_s,
        REFERENCE: duration_s if duration_s is not None else depth.reference_s,
    }[purpose]
    return start_s + 0.7 * depth.warmup_max_s + load


def _value(estimate: Estimate) -> float:
    return estimate.value or 0.0
