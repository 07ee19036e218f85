"""Open-loop runs as the capacity sees them, and the service times that FIFO servers must have taken to answer so."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.nouns import SLO, Step
from harness.statistics import effective_n

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_INSTANT = 0.005
"""A service shorter than this share of the median was none: the answer came together with another one."""
_SHORT = 0.5
"""A request that was overtaken and then seems to take less than this share of the median was served beside the other."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenRun:
    """One open-loop run. Arrays have shape (n,), in the order due; `done_ms` is NaN where no answer came.

    `start` names the server start it ran on: runs on one start share whatever that start drew (memory layout, neighbours).
    """

    start: str
    rate_per_s: float
    due_ms: Floats
    done_ms: Floats
    good: Bools
    duration_s: float
    ended_early: str | None = None
    """The rule that cut it short, None when its time was over."""

    def __post_init__(self) -> None:
        if not self.due_ms.shape == self.done_ms.shape == self.good.shape or self.due_ms.ndim != 1:
            raise ValueError("a run needs as many answers and outcomes as requests due")
        if not (self.rate_per_s > 0 and self.duration_s > 0 and np.isfinite(self.due_ms).all()):
            raise ValueError("a run needs a rate and a duration above 0, and to know when each request was due")
        if (np.diff(self.due_ms) < 0).any():
            raise ValueError("a run's requests must be in the order due")

    @property
    def n(self) -> int:
        return self.due_ms.size

    @property
    def answered(self) -> Bools:
        """Requests with a good answer."""
        return np.asarray(self.good & np.isfinite(self.done_ms), dtype=np.bool_)

    @property
    def latency_ms(self) -> Floats:
        """done - due, infinite for lost requests; shape (n,)."""
        return np.where(self.answered, self.done_ms - self.due_ms, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Services:
    """The services behind the answered requests of one run, ms, in the order due; `busy` marks those that found others there.

    `impossible` is the share of them that no such servers could have given: shorter than nothing, or no time at all.
    """

    start: str
    rate_per_s: float
    service_ms: Floats
    busy: Bools
    impossible: float


def reconstruct(run: OpenRun, servers: int) -> Services:
    """The services of `servers` FIFO servers that explain when each answer came.

    A request starts when it arrives, or when fewer than `servers` of the earlier ones remain, that is, at the `servers`-th
    largest of their ends. A single server is followed in the order in which it answered: neighbours that swapped places while
    they waited leave its services as they were. Lost requests are left out, as if they had never taken a server's time.
    """
    if servers < 1:
        raise ValueError(f"a queue needs at least one server, got {servers}")
    arrived, done = run.due_ms[run.answered], run.done_ms[run.answered]
    if servers == 1:
        order = np.argsort(done, kind="stable")
        arrived, done = arrived[order], done[order]
    free, last = _free_ms(done, servers), _last_ms(done)
    service = done - np.maximum(arrived, free)
    median = max(0.0, float(np.median(service))) if service.size else 0.0
    # Who was overtaken while waiting is served in full afterwards; who was overtaken in service had a server of its own.
    overtaken = arrived < _last_ms(arrived)
    strange = (service <= _INSTANT * median) | (overtaken & (service < _SHORT * median))
    impossible = float(strange.mean()) if service.size else 0.0
    # Answers that came together still took their share of the server; a service of nothing would break the model's arithmetic.
    return Services(
        start=run.start,
        rate_per_s=run.rate_per_s,
        service_ms=np.maximum(service, 1e-6),
        busy=np.asarray(arrived < last, dtype=np.bool_),
        impossible=impossible,
    )


def violated(run: OpenRun, slo: SLO) -> Bools:
    """Whether each request broke each limit, shape (n, limits); lost requests break all."""
    return np.asarray(run.latency_ms[:, None] > np.array([limit.limit_ms for limit in slo.limits]), dtype=np.bool_)


def as_step(run: OpenRun, slo: SLO, block: int = 0) -> Step:
    """A run as counts under every limit."""
    return Step(
        rate_per_s=run.rate_per_s,
        n=run.n,
        violations=tuple(int(count) for count in violated(run, slo).sum(axis=0)),
        lost=int((~run.answered).sum()),
        duration_s=run.duration_s,
        block=block,
    )


def worth(run: OpenRun, slo: SLO) -> tuple[float, ...]:
    """How many independent requests a run's violations are worth, limit by limit."""
    return tuple(effective_n(column) for column in violated(run, slo).T) if run.n else tuple(0.0 for _ in slo.limits)


def starts(runs: Sequence[OpenRun]) -> tuple[str, ...]:
    """The server starts, in the order first seen."""
    return tuple(dict.fromkeys(run.start for run in runs))


def _free_ms(done: Floats, servers: int) -> Floats:
    """When fewer than `servers` of the requests before each one remain; -inf for the first ones."""
    free = np.full(done.size, -np.inf)
    largest: list[float] = []
    for place, end in enumerate(done.tolist()):
        if len(largest) == servers:
            free[place] = largest[0]
            heapq.heappushpop(largest, end)
        else:
            heapq.heappush(largest, end)
    return free


def _last_ms(done: Floats) -> Floats:
    """When the last of the requests before each one ends; -inf for the first."""
    return np.concatenate([[-np.inf], np.maximum.accumulate(done)[:-1]]) if done.size else done
