"""Keeps the loop from sleeping while something is about to happen.

A core that sleeps takes some 0.05 ms to notice a timer or an answer, on a virtual machine 0.1 ms and more, and that would be
charged to whoever is measured. A generator with a core of its own polls instead. What it polls for nothing is no work and is
left out of its CPU time, or every generator would look busy.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from loadprofiles.timer import Loop

IDLE_TURN_NS = 10_000
"""A turn of the loop that did nothing takes about a microsecond; one that sent or read a request takes longer than this."""


class Poller:
    """While on, calls `each_turn(now_ns)` whenever the loop has nothing else to do."""

    def __init__(self, loop: Loop, each_turn: Callable[[int], None]) -> None:
        self._each_turn = each_turn
        self._watcher = loop.idle()
        self._on = False
        self._last_ns = self._polled_ns = 0

    @property
    def polled_s(self) -> float:
        """How long the loop has turned for nothing so far."""
        return self._polled_ns / 1e9

    def on(self) -> None:
        if not self._on:
            self._on = True
            self._last_ns = time.monotonic_ns()
            self._watcher.start(self._turn)

    def off(self) -> None:
        if self._on:
            self._on = False
            self._watcher.stop()

    def close(self) -> None:
        self.off()
        self._watcher.close()

    def _turn(self) -> None:
        now = time.monotonic_ns()
        spent = now - self._last_ns
        if spent < IDLE_TURN_NS:
            self._polled_ns += spent
        self._last_ns = now
        self._each_turn(now)
