"""When the next answer may come, going by how long the last ones took.

A closed loop goes on with an answer, so that one noticed late is load that was not put on. But a generator that polls all the
time leaves its core's other tasks (a kernel thread, an agent) no moment but its own. One that sleeps until an answer may come
leaves them gaps.
"""

from __future__ import annotations

_SHORT_NS = 20_000_000
"""Answers that take longer are waited for asleep: noticing them late by 0.1 ms is then half a percent."""

_TYPICAL, _EARLIEST = 8, 256
"""How many answers it takes to move the estimates: the typical time follows soon, the earliest creeps up and drops at once."""


class Outlook:
    """Times between sending a request and its answer, in ns: a running mean, and the shortest of late."""

    __slots__ = ("_typical_ns", "earliest_ns")

    def __init__(self) -> None:
        self._typical_ns = self.earliest_ns = 0

    def took(self, ns: int) -> None:
        """Take note of one answer."""
        self._typical_ns += (ns - self._typical_ns) // _TYPICAL
        self.earliest_ns = min(ns, self.earliest_ns + (ns - self.earliest_ns) // _EARLIEST)

    @property
    def short(self) -> bool:
        """Whether answers are so short that noticing one late would show."""
        return self._typical_ns < _SHORT_NS
