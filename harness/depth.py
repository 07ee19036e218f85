"""How deep a bench looks: what `--profile smoke|quick|full` spends, and what that buys."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The budget of a bench; durations are of load, per candidate, without server starts."""

    name: str
    answers: str
    warmup_window_s: float
    warmup_max_s: float
    probe_s: float
    """Closed loop, one user: service time and the throughput nothing can exceed."""
    search_visits: int
    """Server starts over which the capacity search is repeated; each start is one replicate."""
    search_steps: int
    step_s: float
    step_max_s: float
    """A step is stretched up to this for slow models, so that it sees some 40 requests."""
    reference_visits: int
    reference_s: float
    """Open loop at the common reference rate, for candidates that can no longer win."""
    finalist_n: int
    """Requests wanted at the reference rate for candidates that can: 1,000 support a p99."""
    finalist_max_s: float
    finalists: int
    repeats: int
    """How many invalid runs of a visit are repeated before they stand as invalid."""


DEPTHS: dict[str, Depth] = {
    depth.name: depth
    for depth in (
        Depth(
            name="smoke",
            answers="does everything work? (at most 2 minutes for five candidates; intervals are wide)",
            warmup_window_s=0.5,
            warmup_max_s=0.5,
            probe_s=2.0,
            search_visits=1,
            search_steps=1,
            step_s=3.0,
            step_max_s=3.0,
            reference_visits=1,
            reference_s=3.0,
            finalist_n=200,
            finalist_max_s=4.0,
            finalists=2,
            repeats=2,
        ),
        Depth(
            name="quick",
            answers="what should serve this model? (at most 10 minutes for five candidates; time goes to those that can win)",
            warmup_window_s=1.0,
            warmup_max_s=5.0,
            probe_s=6.0,
            search_visits=1,
            search_steps=4,
            step_s=9.0,
            step_max_s=14.0,
            reference_visits=1,
            reference_s=16.0,
            finalist_n=1000,
            finalist_max_s=48.0,
            finalists=2,
            repeats=2,
        ),
        Depth(
            name="full",
            answers="how sure are we? (about 10 minutes of load a candidate; six server starts each)",
            warmup_window_s=1.0,
            warmup_max_s=20.0,
            probe_s=15.0,
            search_visits=3,
            search_steps=5,
            step_s=20.0,
            step_max_s=80.0,
            reference_visits=2,
            reference_s=100.0,
            finalist_n=1000,
            finalist_max_s=120.0,
            finalists=99,
            repeats=2,
        ),
    )
}


def depth(name: str) -> Depth:
    """The depth of that name; UsageError with the nearest names otherwise."""
    if name not in DEPTHS:
        near = difflib.get_close_matches(name, DEPTHS, n=3) or list(DEPTHS)
        raise UsageError(f"unknown profile {name!r}; nearest: {', '.join(near)}")
    return DEPTHS[name]
