"""When a request is answered, worked out on paper from when it arrived. Pure: the server keeps to it, tests recompute it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


class Line:
    """Parallel servers behind one first-come-first-served queue; None for as many as there are requests, so no queue at all.

    Kiefer and Wolfowitz (1955): a request starts when it has arrived and the earliest server is free, and keeps that server
    for its service time. For one server this is Lindley's recursion (1952).
    """

    def __init__(self, servers: int | None) -> None:
        self._free_ns = None if servers is None else [0] * servers

    def admit(self, arrival_ns: int, service_ns: int) -> int:
        """When its service starts, in ns of the clock of `arrival_ns`. Arrivals are to come in order."""
        free = self._free_ns
        if free is None:
            return arrival_ns
        start_ns = max(arrival_ns, free[0])
        heapq.heapreplace(free, start_ns + service_ns)
        return start_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Nothing is answered for the last `length_s` of every `period_s`, counted from the server's start; what is held is
    answered together when that is over."""

    length_s: float
    period_s: float

    def release_ns(self, instant_ns: int) -> int:
        """When an answer that is ready `instant_ns` after the start goes out."""
        period_ns = round(self.period_s * 1e9)
        phase_ns = instant_ns % period_ns
        return instant_ns if phase_ns < period_ns - round(self.length_s * 1e9) else instant_ns - phase_ns + period_ns


def sojourns_ns(arrivals_ns: Sequence[int], services_ns: Sequence[int], servers: int | None, stall: Stall | None) -> list[int]:
    """From arrival to answer, of every request; arrivals in order, in ns since the server's start."""
    line = Line(servers)
    sojourns = []
    for arrival_ns, service_ns in zip(arrivals_ns, services_ns, strict=True):
        done_ns = line.admit(arrival_ns, service_ns) + service_ns
        sojourns.append((done_ns if stall is None else stall.release_ns(done_ns)) - arrival_ns)
    return sojourns
