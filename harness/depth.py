"""How deep a bench looks: what `--profile smoke|quick|full` spends, and what that buys."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of the capacity search: one server start for each candidate still in the race, and `steps` open-loop runs
    on it. `load_s` is shared by the candidates of the round, so that fewer of them are looked at longer."""

    load_s: float
    steps: int
    step_min_s: float
    step_max_s: float
    step_requests: int = 40
    """A step is stretched, up to `step_max_s`, so that it sees this many requests of a slow model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """The budget of a bench; durations are of load, without server starts."""

    name: str
    answers: str
    warmup_window_s: float
    warmup_max_s: float
    probe_s: float
    """Closed loop, for each number of users: service time, and the throughput nothing can exceed."""
    probe_users: tuple[int, ...]
    """Users per worker of the closed probe; four or more let scaling with concurrency be fitted."""
    rounds: tuple[Round, ...]
    final_visits: int
    """Server starts at the end, each with a look at the common reference rate and, for finalists, at their own capacity."""
    reference_s: float
    """Open loop at the common reference rate, a visit, for candidates that can no longer win."""
    finalist_n: int
    """Requests wanted at the reference rate, over all visits, for candidates that can: 1,000 support a p99."""
    finalist_max_s: float
    finalists: int
    confirm_s: float
    """Open loop at the capacity found, a visit of a finalist; 0 leaves the capacity unconfirmed."""
    repeats: int
    """How often an invalid run is repeated before it stands as invalid."""
    repeat_s: float
    """Seconds of load the whole bench may spend on repeating, so that a noisy machine cannot make it endless."""
    twin: bool
    """Whether one candidate is measured twice under two names, to show what difference this bench could see."""


DEPTHS: dict[str, Depth] = {
    depth.name: depth
    for depth in (
        Depth(
            name="smoke",
            answers="does everything work? (at most 2 minutes for five candidates; intervals are wide)",
            warmup_window_s=0.5,
            warmup_max_s=0.5,
            probe_s=2.0,
            probe_users=(1,),
            rounds=(Round(load_s=15.0, steps=1, step_min_s=3.0, step_max_s=3.0),),
            final_visits=1,
            reference_s=3.0,
            finalist_n=200,
            finalist_max_s=4.0,
            finalists=2,
            confirm_s=0.0,
            repeats=1,
            repeat_s=6.0,
            twin=False,
        ),
        Depth(
            name="quick",
            answers="what should serve this model? (at most 10 minutes for five candidates; time goes to those that can win)",
            warmup_window_s=1.0,
            warmup_max_s=5.0,
            probe_s=5.0,
            probe_users=(1,),
            rounds=(
                Round(load_s=55.0, steps=1, step_min_s=6.0, step_max_s=14.0),
                Round(load_s=50.0, steps=2, step_min_s=6.0, step_max_s=13.0),
            ),
            final_visits=2,
            reference_s=8.0,
            finalist_n=1000,
            finalist_max_s=40.0,
            finalists=2,
            confirm_s=14.0,
            repeats=2,
            repeat_s=40.0,
            twin=False,
        ),
        Depth(
            name="full",
            answers="how sure are we? (about 12 minutes of load a candidate over nine server starts, and a hidden A/A twin)",
            warmup_window_s=1.0,
            warmup_max_s=60.0,
            probe_s=6.0,
            probe_users=(1, 2, 4, 8, 16),
            rounds=(
                Round(load_s=300.0, steps=2, step_min_s=15.0, step_max_s=60.0, step_requests=200),
                Round(load_s=300.0, steps=2, step_min_s=15.0, step_max_s=60.0, step_requests=200),
                Round(load_s=300.0, steps=2, step_min_s=15.0, step_max_s=60.0, step_requests=200),
            ),
            final_visits=5,
            reference_s=30.0,
            finalist_n=5000,
            finalist_max_s=300.0,
            finalists=99,
            confirm_s=40.0,
            repeats=2,
            repeat_s=900.0,
            twin=True,
        ),
    )
}


def depth(name: str) -> Depth:
    """The depth of that name; UsageError with the nearest names otherwise."""
    if name not in DEPTHS:
        near = difflib.get_close_matches(name, DEPTHS, n=3) or list(DEPTHS)
        raise UsageError(f"unknown profile {name!r}; nearest: {', '.join(near)}")
    return DEPTHS[name]
