"""The design of the experiment, as pure decisions: who is measured when, and at which rates.

A bench has three kinds of blocks. In each, every candidate still in the race is visited once, in random order; a visit is one
server start, a warm-up and the runs of its purpose.

screen  closed loop: the service time, and so whether the SLO can be met at all, and the throughput nothing can exceed
search  open loop, rates chosen from all that is known: the capacity under the SLO, round by round for those who may still win
final   open loop at one common rate, where latencies are compared, and for finalists at the capacity found, to confirm it
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.capacity import Confirmation, next_confirmation
from harness.capacity.search import HIGHEST
from harness.depth import Depth
from harness.nouns import SLO, Estimate
from harness.statistics import clopper_pearson

SCREEN, SEARCH, FINAL = "screen", "search", "final"

REFERENCE_SHARE = 0.7
"""The reference rate as a share of the best capacity: about where a scaling target puts an instance."""

CONFIRM_STARTS = 2
"""Server starts that must see a rate before it counts as confirmed or refuted."""
_SLICE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitPlan:
    """One visit to be made. `step_load_s` is a search visit's share of its round; the last four are a final visit's."""

    id: str
    block: int
    ordinal: int
    candidate: str
    purpose: str
    round: int | None = None
    contending: int | None = None
    rate_per_s: float | None = None
    duration_s: float | None = None
    confirm_rate_per_s: float | None = None
    confirm_s: float | None = None


def block(purpose: str, number: int, candidates: Sequence[str], seed: int) -> tuple[VisitPlan, ...]:
    """One block: `candidates` once each, in an order drawn from the bench's seed and the block's number."""
    order = np.random.default_rng([seed, number]).permutation(len(candidates))
    return tuple(
        VisitPlan(
            id=f"b{number}-{candidates[index]}-{purpose}",
            block=number,
            ordinal=ordinal,
            candidate=candidates[index],
            purpose=purpose,
        )
        for ordinal, index in enumerate(order)
    )


def search_block(number: int, index: int, candidates: Sequence[str], seed: int) -> tuple[VisitPlan, ...]:
    """The block of round `index` of the search, for `candidates`, who share its load."""
    return tuple(replace(plan, round=index, contending=len(candidates)) for plan in block(SEARCH, number, candidates, seed))


def final_block(
    number: int,
    candidates: Sequence[str],
    seed: int,
    *,
    rate_per_s: float,
    durations_s: Mapping[str, float],
    confirm: Mapping[str, float],
    confirm_s: float,
) -> tuple[VisitPlan, ...]:
    """One block at the end: `rate_per_s` for `durations_s` of each, then `confirm_s` at the rate in `confirm`, if any."""
    return tuple(
        replace(
            plan,
            rate_per_s=rate_per_s,
            duration_s=durations_s[plan.candidate],
            confirm_rate_per_s=confirm.get(plan.candidate),
            confirm_s=confirm_s if plan.candidate in confirm else None,
        )
        for plan in block(FINAL, number, candidates, seed)
    )


def hopeless(n: int, slower: Sequence[int], slo: SLO) -> str | None:
    """Why a candidate cannot meet the SLO even with one user at a time, None when it may.

    `slower`, limit by limit, of `n` unqueued requests exceeded it; hopeless when for one of them the lower 95 %
    Clopper–Pearson bound of that share is above what the SLO allows, since queueing can only add to it.
    """
    for count, limit in zip(slower, slo.limits, strict=True):
        if n and clopper_pearson(count, n)[0] > limit.allowed:
            return f"{count} of {n} requests were slower than {limit.limit_ms:g} ms with a single user, without any queue"
    return None


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


def confirm_rate(made: Sequence[Confirmation], estimate_per_s: float) -> float:
    """The rate that a finalist's next visit confirms: the same until two server starts have seen it, then less if refuted."""
    if made and made[-1].starts < CONFIRM_STARTS:
        return made[-1].rate_per_s
    following = next_confirmation(made, estimate_per_s)
    return made[-1].rate_per_s if following is None else following


def slices_s(duration_s: float) -> tuple[float, ...]:
    """A long run as equal runs of at most 20 s each: a bad moment of the machine then costs one of them."""
    count = max(1, math.ceil(round(duration_s / _SLICE_S, 6)))
    return (duration_s / count,) * count


def reference_durations(names: Sequence[str], final: frozenset[str], rate_per_s: float, depth: Depth) -> dict[str, float]:
    """Seconds at the reference rate for each candidate and visit: finalists as many as their n needs over all their visits,
    the others a fixed look."""
    wanted = min(depth.finalist_max_s, 1.1 * depth.finalist_n / rate_per_s) / depth.final_visits
    return {name: max(wanted, depth.reference_s) if name in final else depth.reference_s for name in names}


def expected_s(depth: Depth, purpose: str, candidates: int, start_s: float = 4.0) -> float:
    """About how long all visits of one purpose to one candidate will take, for the display only."""
    warm_s = start_s + 0.7 * depth.warmup_max_s
    if purpose == SCREEN:
        return warm_s + depth.probe_s * len(depth.probe_users)
    if purpose == SEARCH:
        return sum(warm_s + min(round_.load_s / candidates, round_.steps * round_.step_max_s) for round_ in depth.rounds)
    finalists = min(candidates, depth.finalists)
    load_s = finalists * depth.final_visits * (depth.finalist_max_s / depth.final_visits + depth.confirm_s + warm_s)
    return (load_s + (candidates - finalists) * (warm_s + depth.reference_s)) / candidates


def _value(estimate: Estimate) -> float:
    return estimate.value or 0.0
