"""The queue on paper against Lindley's recursion, a brute-force queue, and the rules of a stall."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.truth.discipline import Stall, sojourns_ns
from harness.truth.draws import BLOCK, draws, services_ns
from harness.truth.spec import Kind, parse

JOBS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 80)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(jobs=JOBS, servers=st.integers(1, 5))
def test_a_request_starts_when_enough_of_those_before_it_are_done(jobs: list[tuple[int, int]], servers: int) -> None:
    arrivals = np.cumsum([gap for gap, _ in jobs]).tolist()
    services = [service for _, service in jobs]
    starts, ends = list[int](), list[int]()
    for arrival, service in zip(arrivals, services, strict=True):
        # First come first served: nobody starts before the one in front, and fewer than `servers` may be running.
        start = max([arrival, *starts[-1:]])
        while sum(end > start for end in ends) >= servers:
            start = min(end for end in ends if end > start)
        starts.append(start)
        ends.append(start + service)
    assert sojourns_ns(arrivals, services, servers, None) == [e - a for e, a in zip(ends, arrivals, strict=True)]
    assert sojourns_ns(arrivals, services, None, None) == services


def test_one_server_is_lindleys_recursion() -> None:
    rng = np.random.default_rng(0)
    gaps, services = (rng.integers(1, 1000, 5000) for _ in range(2))
    arrivals = np.cumsum(gaps)
    walk = np.concatenate(([0], np.cumsum(services[:-1] - gaps[1:])))
    waits = walk - np.minimum.accumulate(walk)
    assert sojourns_ns(arrivals.tolist(), services.tolist(), 1, None) == (waits + services).tolist()


def test_a_stall_is_the_end_of_every_period_and_lets_all_go_together() -> None:
    stall = Stall(length_s=1, period_s=10)
    s = 10**9
    assert stall.release_ns(9 * s - 1) == 9 * s - 1
    assert stall.release_ns(9 * s) == stall.release_ns(10 * s - 1) == stall.release_ns(10 * s) == 10 * s
    assert stall.release_ns(29 * s + 5) == 30 * s
    assert sojourns_ns([8 * s, 9 * s], [s // 2, s // 4], None, stall) == [s // 2, s]


def test_draws_follow_their_law_and_their_seed() -> None:
    truth = parse("exponential:10ms;seed=3")
    n = 2 * BLOCK + 17
    services = services_ns(truth, n)
    assert len(services) == n
    assert len(services_ns(truth, 0)) == 0
    drawn = draws(truth)
    assert [next(drawn)[0] for _ in range(n)] == services.tolist()
    np.testing.assert_allclose(services_ns(parse("exponential:20ms;seed=3"), n) / 2, services, atol=1)
    assert not np.array_equal(services_ns(parse("exponential:10ms;seed=4"), n), services)
    assert services_ns(truth, 100_000).mean() == pytest.approx(10e6, rel=0.01)


def test_kinds_come_in_their_shares_and_leave_the_services_alone() -> None:
    plain, faulty = draws(parse("exponential:1ms")), draws(parse("exponential:1ms;errors=0.1:503;errors=0.2:reset;wrong=0.3"))
    n = 20_000
    got = [next(faulty) for _ in range(n)]
    assert [service for service, _ in got] == [next(plain)[0] for _ in range(n)]
    kinds = [kind for _, kind in got]
    shares = {Kind.UNAVAILABLE: 0.1, Kind.RESET: 0.2, Kind.WRONG: 0.3, Kind.GOOD: 0.4}
    for kind, share in shares.items():
        assert kinds.count(kind) / n == pytest.approx(share, abs=0.012)
    always = draws(parse("constant:1ms;wrong=1"))
    assert {next(always)[1] for _ in range(1000)} == {Kind.WRONG}
