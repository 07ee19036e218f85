"""Each signal has its limits: on its mean, and on how many single seconds may pass a higher one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.limits import LIMITS, PER_S, SHARE, Limit, hold
from harness.timeline import Timeline

S = 1_000_000_000
BY_SIGNAL = {limit.signal: limit for limit in LIMITS}


def timeline(**values: Sequence[float | None]) -> Timeline:
    n = len(next(iter(values.values())))
    return Timeline(edges_ns=tuple(i * S for i in range(n + 1)), values={name: tuple(each) for name, each in values.items()})


def told(seconds: Timeline) -> tuple[list[str], list[str]]:
    verdict = hold([seconds])
    return [str(each) for each in verdict.broken], [str(each) for each in verdict.warned]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.signal)
def test_a_mean_above_a_limit_breaks_it_and_one_at_it_does_not(limit: Limit) -> None:
    for allowed, where in ((limit.invalid, 0), (limit.warn, 1)):
        if allowed is None:
            continue
        above = hold([timeline(**{limit.signal: [allowed * 1.001 + 1e-9] * 4})])
        at = hold([timeline(**{limit.signal: [allowed] * 4})])
        assert [each.limit for each in (above.broken, above.warned)[where]] == [limit]
        assert not (at.broken, at.warned)[where]


@pytest.mark.parametrize("limit", [each for each in LIMITS if each.second is not None], ids=lambda limit: limit.signal)
@pytest.mark.parametrize("seconds", [3, 30, 300])
def test_single_seconds_are_forgiven_up_to_their_share(limit: Limit, seconds: int) -> None:
    assert limit.second is not None
    forgiven = limit.seconds_allowed(seconds)
    assert forgiven == (0 if limit.seconds_share == 0 else {3: 1, 30: 3, 300: 30}[seconds])
    if limit.invalid is not None and limit.second * (forgiven + 1) / seconds > limit.invalid:
        return  # the mean decides before the seconds do
    for bad, broken in ((forgiven, 0), (forgiven + 1, 1)):
        values = [limit.second * 1.001] * bad + [0.0] * (seconds - bad)
        assert len(hold([timeline(**{limit.signal: values})]).broken) == broken


def test_a_broken_mean_says_figure_and_limit() -> None:
    assert told(timeline(steal=[0.06, 0.06]))[0] == ["the hypervisor took 6.0% of the CPU time (steal), limit 5.0%"]
    assert told(timeline(throttled=[0.0, 2.0, 0.0]))[0] == [
        "a CPU quota stopped server or generator 0.6667 times a second, limit 0"
    ]


def test_broken_seconds_say_which() -> None:
    assert told(timeline(steal=[0.0, 0.16, 0.16, 0.0, 0.16, *[0.0] * 15]))[0] == [
        "the hypervisor took up to 16.0% of the CPU time (steal) in 3 of 20 seconds (2, 3, 5), limit 15.0% in all but 2"
    ]
    assert told(timeline(loop_lag_ms=[1.0, 181.5, 2.0]))[0] == [
        "the generator stood still for up to 181.5 ms in 1 of 3 seconds (2), limit 100 ms in any"
    ]
    assert "(1, 2, 3, 4, 5, …)" in told(timeline(generator_cpu=[0.9] * 7))[0][0]


def test_a_warning_is_not_a_reason() -> None:
    broken, warned = told(timeline(server_foreign=[0.03] * 3, io_pressure=[0.5] * 3))
    assert broken == []
    assert warned == [
        "others used 3.0% of the server's cores, limit 1.0%",
        "tasks waited for a disk 50.0% of the time, limit 1.0%",
    ]


def test_a_step_of_the_clock_is_a_reason_and_slewing_a_warning() -> None:
    assert told(timeline(clock_drift=[0.0, 3_600e6, 0.0]))[0]
    assert told(timeline(clock_drift=[500.0] * 3)) == (
        [],
        ["the wall clock moved against the monotonic one by 500 ppm, limit 200 ppm"],
    )


def test_what_nobody_measured_is_named_once_and_a_figure_of_the_whole_run_counts() -> None:
    verdict = hold([timeline(steal=[None, None])], means={"run_queue_wait": 0.03})
    assert [each.limit.signal for each in verdict.broken] == ["run_queue_wait"]
    assert verdict.unknown == tuple(limit.name for limit in LIMITS if limit.signal != "run_queue_wait")
    assert len(set(verdict.unknown)) == len(verdict.unknown)


def test_a_peak_of_the_whole_run_is_held_against_the_limit_on_seconds() -> None:
    assert [str(each) for each in hold([], means={"generator_cpu": 0.71}).broken] == [
        "the generator was busy: 71.0% of its core, limit 70.0%"
    ]


def test_the_first_timeline_that_knows_a_signal_decides() -> None:
    quiet, loud = timeline(steal=[0.0]), timeline(steal=[1.0], throttled=[0.0])
    assert not hold([quiet, loud]).broken
    assert hold([loud, quiet]).broken


@given(st.sampled_from(LIMITS), st.lists(st.floats(0, 2), min_size=1, max_size=40), st.integers(0, 39), st.floats(0, 5))
def test_a_worse_second_never_makes_a_run_valid(limit: Limit, values: list[float], at: int, more: float) -> None:
    worse = [value + (more if index == at % len(values) else 0.0) for index, value in enumerate(values)]
    before, after = (hold([timeline(**{limit.signal: list(each)})]).broken for each in (values, worse))
    assert len(after) >= len(before)


def test_the_limits_are_ordered_and_tell_their_source() -> None:
    assert len(BY_SIGNAL) == len(LIMITS)
    for limit in LIMITS:
        levels = [level for level in (limit.warn, limit.invalid, limit.second) if level is not None]
        assert levels == sorted(levels)
        assert levels
        assert limit.source
        assert limit.said.count("{}") == 1
        assert limit.unit in (SHARE, PER_S, "ms", "ppm")
