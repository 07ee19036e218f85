"""How late and how busy the generator itself is, measured from inside its loop while the load runs."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.timeline import Timeline, Value
from loadprofiles.timer import Loop, Timer

TICK_NS = 5_000_000
"""Short, for p99 of the lag is a share of time: seldom ticks would meet a neighbour's every visit or none."""
_TICKS_A_CALL = 4
_SLACK_S = 0.02
"""An interval may be so much shorter than a second and still count as one."""
_NS_PER_S = 1_000_000_000
_SHORTEST_NS = 200_000_000
"""A last interval shorter than this is not kept."""


class Monitor:
    """A timer of 200 Hz from `start_ns` on that notes how late it ran, and calls `each_tick(now_ns)` at 50 Hz.

    About once a second, by the schedule's own seconds, it closes an interval of the timeline and calls `each_second()`.
    """

    def __init__(
        self,
        loop: Loop,
        start_ns: int,
        each_tick: Callable[[int], None],
        each_second: Callable[[], None],
        polled_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`polled_s()` is the CPU time so far that was no work."""
        self._each_tick, self._each_second, self._polled_s = each_tick, each_second, polled_s
        self._lags_ns = array("q")
        self._next_call = _TICKS_A_CALL
        self._due_ns = start_ns + TICK_NS
        self._start_ns = start_ns
        self._edges_ns = [start_ns]
        self._rows: list[dict[str, Value]] = []
        self._lags_closed = 0
        self._waited_at_start_s = self._waited_mark_s = run_queue_wait_s()
        self.waited_s: float | None = None
        self._cpu_at_start_s = self._cpu_mark_s = self._worked_s()
        self.cpu_s = 0.0
        self.cpu_peak: float | None = None
        self._timer = Timer(loop, self._tick)
        self._timer.at(self._due_ns, TICK_NS)

    def _tick(self) -> None:
        now = time.monotonic_ns()
        for _ in range(self._timer.expirations()):
            self._lags_ns.append(now - self._due_ns)
            self._due_ns += TICK_NS
        if len(self._lags_ns) < self._next_call:
            return
        self._next_call = len(self._lags_ns) + _TICKS_A_CALL
        if (now - self._start_ns) // _NS_PER_S > (self._edges_ns[-1] - self._start_ns) // _NS_PER_S:
            self._close_interval(now)
            self._each_second()
        self._each_tick(now)  # last: it may end the run and close this timer

    def _close_interval(self, now: int) -> None:
        """`loop_lag_ms` is the longest of the interval; the shares are of one core, and of the main thread's wait for one."""
        length_s = (now - self._edges_ns[-1]) / _NS_PER_S
        cpu_s, waited_s = self._worked_s(), run_queue_wait_s()
        share = (cpu_s - self._cpu_mark_s) / length_s
        if length_s > 1 - _SLACK_S:
            self.cpu_peak = max(self.cpu_peak or 0.0, share)
        lags = self._lags_ns[self._lags_closed :]
        self._rows.append(
            {
                "loop_lag_ms": max(lags) / 1e6 if lags else None,
                "generator_cpu": share,
                "run_queue_wait": None
                if waited_s is None or self._waited_mark_s is None
                else (waited_s - self._waited_mark_s) / length_s,
            }
        )
        self._edges_ns.append(now)
        self._cpu_mark_s, self._waited_mark_s, self._lags_closed = cpu_s, waited_s, len(self._lags_ns)

    def _worked_s(self) -> float:
        return time.process_time() - self._polled_s()

    def close(self) -> None:
        """Stop; `cpu_s` is then the user and system time of all threads since the start, `waited_s` the main thread's wait."""
        now = time.monotonic_ns()
        if now - self._edges_ns[-1] >= _SHORTEST_NS:
            self._close_interval(now)
        self.cpu_s = self._worked_s() - self._cpu_at_start_s
        waited_s = run_queue_wait_s()
        if waited_s is not None and self._waited_at_start_s is not None:
            self.waited_s = waited_s - self._waited_at_start_s
        self._timer.close()

    def lag_p99_ms(self) -> float | None:
        return p99_ms(self._lags_ns)

    def seconds(self) -> Timeline:
        """What was seen, second by second."""
        return Timeline.of(self._edges_ns, self._rows)


def run_queue_wait_s() -> float | None:
    """How long this process's main thread was ready to run and had no CPU, so far: /proc/self/schedstat, second field
    (Linux, Documentation/scheduler/sched-stats). None where the kernel does not tell.
    """
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / _NS_PER_S
    except (OSError, IndexError, ValueError):
        return None


def p99_ms(values_ns: Sequence[int]) -> float | None:
    """The 99th percentile by nearest rank, rank ceil(0.99 n), in ms; None of nothing."""
    if not values_ns:
        return None
    return sorted(values_ns)[math.ceil(0.99 * len(values_ns)) - 1] / 1e6
