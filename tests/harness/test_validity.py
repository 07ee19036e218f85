"""Each broken rule makes a run invalid, and nothing unmeasured passes in silence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.limits import LIMITS
from harness.timeline import Timeline
from harness.validity import Signals, judge

S = 1_000_000_000
QUIET: dict[str, float] = {limit.signal: 0.0 for limit in LIMITS} | {"lateness_ms": 0.3}


def seconds(n: int = 10, **changed: float | None) -> Timeline:
    """So many seconds in which nothing happened, but for what is `changed`."""
    return Timeline(
        edges_ns=tuple(second * S for second in range(n + 1)),
        values={name: (value,) * n for name, value in {**QUIET, **changed}.items()},
    )


GOOD = Signals(
    open_loop=True,
    planned=1000,
    sent=1000,
    lost_after_sending=0,
    dropped=0,
    contradiction=None,
    offered_per_s=100.0,
    latency_p50_ms=10.0,
    lateness_p99_ms=0.3,
    loop_lag_p99_ms=0.4,
    generator_capacity_per_s=2000.0,
    locust_requests=1000,
    locust_failures=0,
    little_ms=10_000.0,
    in_flight_ms=10_050.0,
    connections_opened=0,
    timelines=(seconds(),),
)


def test_a_clean_run_is_valid_without_a_word() -> None:
    got = judge(GOOD)
    assert (got.valid, got.reasons, got.warnings) == (True, (), ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"contradiction": "5 were planned but 4 are recorded"}, "counts disagree: 5 were planned but 4 are recorded"),
        ({"planned": 0, "sent": 0, "locust_requests": 0}, "no request was planned"),
        (
            {"dropped": 3, "sent": 997, "locust_requests": 997},
            "rate not delivered: 3 of 1000 requests were dropped by the generator",
        ),
        ({"lateness_p99_ms": 1.01}, "requests were sent late: p99 1.01 ms, limit 1.00 ms"),
        ({"timelines": (seconds(run_queue_wait=0.03),)}, "the generator waited for its core 3.0% of the time, limit 2.0%"),
        ({"loop_lag_p99_ms": 2.5}, "the generator's loop lagged: p99 2.50 ms, limit 1.00 ms"),
        (
            {"timelines": (seconds(3, generator_cpu=0.71),)},
            "the generator was busy: up to 71.0% of its core in 3 of 3 seconds (1, 2, 3), limit 70.0% in any",
        ),
        (
            {"timelines": (seconds(3, lateness_ms=10.1),)},
            "requests were sent late: p99 up to 10.1 ms in 3 of 3 seconds (1, 2, 3), limit 10 ms in all but 1",
        ),
        ({"unsteady": "it drifts by +7.0% over 60 windows"}, "no steady state: it drifts by +7.0% over 60 windows"),
        ({"offered_per_s": 1001.0}, "the rate of 1001/s is above 50% of the 2000/s the generator can do"),
        ({"locust_requests": 999}, "counts disagree: 1000 requests were sent but Locust counted 999"),
        ({"locust_failures": 1}, "counts disagree: 0 requests went wrong but Locust counted 1"),
        (
            {"in_flight_ms": 10_300.0},
            "Little's law fails: service times add up to 10000 ms, requests in flight to 10300 ms, allowed difference 103 ms",
        ),
        ({"connections_opened": 11}, "11 connections were opened in the window, limit 1% of 1000 requests"),
        ({"timelines": (seconds(steal=0.051),)}, "the hypervisor took 5.1% of the CPU time (steal), limit 5.0%"),
        ({"timelines": (seconds(server_foreign=0.051),)}, "others used 5.1% of the server's cores, limit 5.0%"),
    ],
)
def test_one_broken_rule_is_one_reason_with_figure_and_limit(change: dict[str, object], reason: str) -> None:
    got = judge(replace(GOOD, **change))  # type: ignore[arg-type]
    assert not got.valid
    assert got.reasons == (reason,)
    assert got.warnings == ()


@pytest.mark.parametrize(
    "change",
    [
        {"lateness_p99_ms": 4.9, "loop_lag_p99_ms": 4.9, "latency_p50_ms": 100.0},
        {"timelines": (seconds(generator_cpu=0.70),), "offered_per_s": 1000.0},
        {"little_ms": 10_000.0, "in_flight_ms": 10_100.0},
        {"little_ms": 50.0, "in_flight_ms": 90.0},
        {"lost_after_sending": 20, "locust_failures": 20, "connections_opened": 20},
    ],
    ids=["5 % of a slow median", "at the limit", "within 1 %", "too little to judge", "failures reconnect"],
)
def test_what_is_within_a_limit_is_valid(change: dict[str, object]) -> None:
    assert judge(replace(GOOD, **change)).valid  # type: ignore[arg-type]


def test_half_bad_signals_warn() -> None:
    got = judge(
        replace(GOOD, timelines=(seconds(steal=0.01, server_foreign=0.03),), connections_opened=4, unsettled=("moved",))
    )
    assert got.valid
    assert got.warnings == (
        "4 connections were opened in the window",
        "the hypervisor took 1.0% of the CPU time (steal), limit 0.5%",
        "others used 3.0% of the server's cores, limit 1.0%",
        "moved",
    )


OPTIONAL = {
    "lateness_p99_ms": "send lateness",
    "loop_lag_p99_ms": "loop lag",
    "generator_capacity_per_s": "generator capacity",
    "locust_requests": "Locust's request count",
    "locust_failures": "Locust's failure count",
    "little_ms": "total time in service",
    "in_flight_ms": "in-flight integral",
    "connections_opened": "connections opened",
}
WATCHED = [*(limit.name for limit in LIMITS), "send lateness by the second"]


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_unmeasured_signal_is_named(name: str) -> None:
    got = judge(replace(GOOD, **{name: None}))  # type: ignore[arg-type]
    assert got.valid
    assert got.warnings == (f"not measured: {OPTIONAL[name]}",)


def test_every_unmeasured_signal_is_named_on_one_line() -> None:
    got = judge(replace(GOOD, **dict.fromkeys(OPTIONAL), timelines=()))  # type: ignore[arg-type]
    assert got.warnings == (f"not measured: {', '.join([*OPTIONAL.values(), *WATCHED])}",)


def test_figures_of_the_whole_run_stand_in_for_seconds() -> None:
    whole = replace(GOOD, timelines=(), steal_share=0.06, foreign_share=0.0, run_queue_share=0.0, generator_cpu_share=0.8)
    assert judge(whole).reasons == (
        "the hypervisor took 6.0% of the CPU time (steal), limit 5.0%",
        "the generator was busy: 80.0% of its core, limit 70.0%",
    )


def test_a_closed_loop_as_fast_as_its_generator_says_so() -> None:
    closed = replace(GOOD, open_loop=False, offered_per_s=None, achieved_per_s=1001.0)
    assert judge(closed).valid
    (said,) = judge(closed).warnings
    assert said.startswith("the closed loop reached 1001/s, above 50% of the 2000/s the generator can do")
    assert judge(replace(closed, achieved_per_s=1000.0)).warnings == ()


@pytest.mark.parametrize("open_loop", [True, False])
def test_a_generator_that_stood_still_is_found_in_a_run_of_any_length(open_loop: bool) -> None:
    long = seconds(300)
    lags = (*([1.0] * 200), 180.0, *([1.0] * 99))
    stopped = Timeline(edges_ns=long.edges_ns, values={**long.values, "loop_lag_ms": lags})
    assert judge(replace(GOOD, open_loop=open_loop, timelines=(stopped,))).reasons == (
        "the generator stood still for up to 180 ms in 1 of 300 seconds (201), limit 100 ms in any",
    )


def test_late_seconds_are_measured_by_the_median_latency() -> None:
    late = (seconds(lateness_ms=40.0),)
    assert not judge(replace(GOOD, timelines=late)).valid
    assert judge(replace(GOOD, timelines=late, latency_p50_ms=100.0)).valid


def test_a_closed_loop_has_no_lateness_and_no_rate_to_deliver() -> None:
    got = judge(replace(GOOD, open_loop=False, lateness_p99_ms=None, generator_capacity_per_s=None, offered_per_s=None))
    assert (got.valid, got.warnings) == (True, ())


def test_without_a_median_the_strictest_limit_holds() -> None:
    assert not judge(replace(GOOD, latency_p50_ms=None, lateness_p99_ms=1.5)).valid


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 50), st.floats(0, 1))
def test_a_worse_signal_never_turns_an_invalid_run_valid(steal: float, foreign: float, late: float, busy: float) -> None:
    run = replace(GOOD, lateness_p99_ms=late, timelines=(seconds(steal=steal, server_foreign=foreign, generator_cpu=busy),))
    worse = replace(
        run,
        lateness_p99_ms=late + 1,
        timelines=(seconds(steal=steal + 0.01, server_foreign=foreign + 0.01, generator_cpu=busy + 0.1),),
    )
    assert judge(run).valid or not judge(worse).valid
    assert judge(run).valid == (not judge(run).reasons)
