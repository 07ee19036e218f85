"""The timer fires at the instant it was set to: not before, and finer than the loop's own whole milliseconds."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from harness.errors import InfrastructureError
from loadprofiles.monitor import Monitor, p99_ms, run_queue_wait_s
from loadprofiles.timer import Timer
from tests.loadprofiles.loop import HandLoop

MS = 1_000_000


def test_fires_once_at_an_absolute_instant_never_early() -> None:
    loop, late = HandLoop(), list[int]()
    due = 0

    def fire() -> None:
        late.append(time.monotonic_ns() - due)
        timer.off()

    timer = Timer(loop, fire)
    for n in range(100):
        due = time.monotonic_ns() + 1_300_000
        timer.at(due)
        while len(late) == n:
            loop.turn()
    timer.close()
    assert min(late) >= 0
    assert np.percentile(late, 25) < MS // 2  # one that rounds up to whole ms is 0.7 ms late every time


def test_the_past_fires_at_once_and_off_means_off() -> None:
    loop, fired = HandLoop(), list[int]()
    timer = Timer(loop, lambda: fired.append(1))
    timer.at(1)
    loop.turn_until(lambda: bool(fired))
    timer.at(time.monotonic_ns() + 5 * MS)
    timer.off()
    fired.clear()
    time.sleep(0.02)
    assert timer.expirations() == 0
    timer.at(time.monotonic_ns() + 5 * MS, every_ns=5 * MS)
    time.sleep(0.022)
    assert 3 <= timer.expirations() <= 5
    timer.close()


def test_a_system_without_timerfd_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(InfrastructureError, match="darwin has no timerfd"):
        Timer(HandLoop(), lambda: None)


def test_the_monitor_sees_a_loop_that_was_held_up() -> None:
    loop, ticks = HandLoop(), list[int]()
    monitor = Monitor(loop, time.monotonic_ns(), ticks.append, lambda: None)
    loop.turn_until(lambda: len(ticks) >= 3)
    time.sleep(0.15)
    loop.turn_until(lambda: len(ticks) >= 5)
    lag_ms = monitor.lag_p99_ms()
    monitor.close()
    assert lag_ms is not None
    assert 100 < lag_ms < 400
    assert monitor.cpu_s > 0
    assert (monitor.waited_s is None) == (run_queue_wait_s() is None)


def test_the_monitor_tells_the_seconds_apart() -> None:
    loop, ticks, seconds = HandLoop(), list[int](), list[int]()
    start = time.monotonic_ns()
    monitor = Monitor(loop, start, ticks.append, lambda: seconds.append(1))
    loop.turn_until(lambda: time.monotonic_ns() - start > 1_100 * MS)
    time.sleep(0.15)
    loop.turn_until(lambda: time.monotonic_ns() - start > 1_500 * MS)
    monitor.close()
    told = monitor.seconds()
    assert len(seconds) == 1
    assert told.edges_ns[0] == start
    assert [0.9 < length < 1.3 for length in told.lengths_s()] == [True, False]
    first, second = told.values["loop_lag_ms"]
    assert second is not None
    assert second > 100
    assert first is not None
    busy = told.mean("generator_cpu")
    assert busy is not None
    assert 0 < busy < 2
    assert monitor.cpu_peak == pytest.approx(told.values["generator_cpu"][0], rel=1e-3)


def test_a_last_moment_is_left_out_of_the_seconds() -> None:
    monitor = Monitor(HandLoop(), time.monotonic_ns(), lambda _: None, lambda: None)
    monitor.close()
    assert len(monitor.seconds()) == 0


def test_p99_is_the_nearest_rank() -> None:
    assert p99_ms([]) is None
    assert p99_ms([5 * MS]) == 5
    values = np.random.default_rng(0).permutation(np.arange(1, 201)) * MS
    assert p99_ms(values.tolist()) == 198
    assert p99_ms(values.tolist()) == np.percentile(values, 99, method="inverted_cdf") / MS
