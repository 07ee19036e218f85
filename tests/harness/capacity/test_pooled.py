"""The capacity search on queues whose true capacity is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capacity import pooled, search
from harness.nouns import SLO, Estimate, LatencyLimit, Step
from harness.slo import md1_utilisation, parse
from harness.statistics import effective_n

C = 100.0
"""Closed-loop throughput of the simulated server, 1/s: services of 10 ms."""
SLO_50 = parse("p99<50ms")

Server = Callable[[float, int, float], np.ndarray]


def _queue(kind: str, rng: np.random.Generator) -> Server:
    """A single server with Poisson arrivals by Lindley's recursion, starting idle: (rate, n, limit in ms) to violations."""

    def run(rate_per_s: float, n: int, limit_ms: float) -> np.ndarray:
        gaps = rng.exponential(1e3 / rate_per_s, n)
        services = np.full(n, 1e3 / C) if kind == "M/D/1" else rng.exponential(1e3 / C, n)
        walk = np.cumsum(np.concatenate([[0.0], services[:-1] - gaps[1:]]))
        wait = walk - np.minimum.accumulate(np.minimum(walk, 0))
        return np.asarray(wait + services > limit_ms)

    return run


def _p99(limit_ms: float) -> SLO:
    return SLO(limits=(LatencyLimit(quantile=0.99, limit_ms=limit_ms),))


def _step(rate_per_s: float, violations: int, n: int = 300) -> Step:
    return Step(rate_per_s=rate_per_s, n=n, violations=(violations,), lost=0, duration_s=n / rate_per_s, block=0)


def _search(server: Server, slo: SLO, budget: int = 5, n: int = 300) -> tuple[list[Step], list[tuple[float]]]:
    steps: list[Step] = []
    worth: list[tuple[float]] = []
    while (probe := search.next_rate(steps, slo, C, budget=budget)).rate_per_s is not None:
        broken = server(probe.rate_per_s, n, slo.tail.limit_ms)
        steps.append(_step(probe.rate_per_s, int(broken.sum()), n))
        worth.append((effective_n(broken),))
    return steps, worth


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.value, estimate.low, estimate.high


@pytest.mark.parametrize(
    ("kind", "services", "typical_error"),
    [("M/D/1", 5.0, 0.10), ("M/D/1", 10.0, 0.12), ("M/M/1", 10.0, 0.16)],
)
def test_search_finds_the_capacity_of_a_known_queue(kind: str, services: float, typical_error: float) -> None:
    # For M/M/1 the sojourn is exponential with rate mu - lambda, so p99 = ln(100) / (mu - lambda).
    truth = C * (md1_utilisation(0.99, services) if kind == "M/D/1" else 1 - np.log(100) / services)
    slo, server = _p99(services * 1e3 / C), _queue(kind, np.random.default_rng(21))
    found = []
    for _ in range(100):
        steps, worth = _search(server, slo)
        found.append(_numbers(pooled.estimate(steps, slo, C, effective=worth)))
    value, low, high = np.array(found).T
    assert np.median(np.abs(value / truth - 1)) <= typical_error
    assert 0.90 <= np.mean((low <= truth) & (truth <= high)) <= 1.0
    # An interval that always covers by being endless would be worthless.
    assert np.median(high / low) <= 2.5


def test_more_requests_make_the_estimate_better_and_the_interval_narrower() -> None:
    server, truth = _queue("M/D/1", np.random.default_rng(22)), C * md1_utilisation(0.99, 5)
    errors, widths = [], []
    for n in (300, 3000):
        found = []
        for _ in range(40):
            steps, worth = _search(server, SLO_50, n=n)
            found.append(_numbers(pooled.estimate(steps, SLO_50, C, effective=worth)))
        value, low, high = np.array(found).T
        errors.append(np.median(np.abs(value / truth - 1)))
        widths.append(np.median(high / low))
    assert errors[1] < min(0.04, errors[0])
    assert widths[1] < min(1.25, widths[0])


def test_first_probe_is_where_an_md1_queue_meets_the_limit() -> None:
    first = search.next_rate([], SLO_50, C, budget=5)
    assert first.rate_per_s == pytest.approx(C * md1_utilisation(0.99, 5))
    # Three workers: a service takes three turns, so less of the limit is left to wait in.
    parallel = search.next_rate([], SLO_50, C, budget=5, service_ms=30.0)
    assert parallel.rate_per_s == pytest.approx(C * md1_utilisation(0.99, 3))


def test_first_probe_stays_off_the_ends() -> None:
    tight, loose = _p99(1.0), _p99(1e5)
    assert search.next_rate([], tight, C, budget=5).rate_per_s == pytest.approx(15.0)
    assert search.next_rate([], loose, C, budget=5).rate_per_s == pytest.approx(90.0)


def test_search_halves_the_bracket_geometrically() -> None:
    assert search.next_rate([_step(40, 0)], SLO_50, C, budget=5).rate_per_s == pytest.approx(np.sqrt(40 * 95))
    assert search.next_rate([_step(40, 9)], SLO_50, C, budget=5).rate_per_s == pytest.approx(np.sqrt(40 * 10))
    both = search.next_rate([_step(80, 100), _step(40, 0)], SLO_50, C, budget=5)
    assert both.rate_per_s == pytest.approx(np.sqrt(80 * 40))
    assert "40/s, which met the SLO, and 80/s" in both.reason


def test_a_share_of_exactly_the_allowed_violations_passes() -> None:
    assert search.next_rate([_step(40, 3)], SLO_50, C, budget=5).reason == "every rate so far met the SLO"
    assert search.next_rate([_step(40, 4)], SLO_50, C, budget=5).reason == "every rate so far broke the SLO"


def test_search_reaches_both_ends_and_says_why_it_stops() -> None:
    steps = [_step(40, 0)]
    while (probe := search.next_rate(steps, SLO_50, C, budget=10)).rate_per_s is not None:
        steps.append(_step(probe.rate_per_s, 0))
    assert steps[-1].rate_per_s == pytest.approx(95.0)
    assert "highest rate" in probe.reason
    steps = [_step(40, 300)]
    while (probe := search.next_rate(steps, SLO_50, C, budget=10)).rate_per_s is not None:
        steps.append(_step(probe.rate_per_s, 300))
    assert steps[-1].rate_per_s == pytest.approx(10.0)
    assert "lowest rate" in probe.reason
    assert "budget" in search.next_rate([_step(40, 0)] * 5, SLO_50, C, budget=5).reason


def test_contradicting_steps_are_pooled() -> None:
    # 50/s broke the SLO and 55/s met it; pooled they met it.
    probe = search.next_rate([_step(50, 4), _step(55, 0, 900), _step(80, 90)], SLO_50, C, budget=9)
    assert probe.rate_per_s == pytest.approx(np.sqrt(55 * 80))


def test_a_tight_bracket_is_measured_on_until_the_interval_is_tight_too() -> None:
    few = [_step(54, 0), _step(56, 6)]
    more = search.next_rate(few, SLO_50, C, budget=9)
    assert more.rate_per_s == pytest.approx(np.sqrt(54 * 56))
    assert "more samples" in more.reason
    many = [_step(54, 600, 100_000), _step(56, 1200, 100_000)]
    assert "interval" in search.next_rate(many, SLO_50, C, budget=9).reason


def test_nothing_met_the_slo() -> None:
    got = pooled.estimate([_step(0.9, 36), _step(2.0, 200)], SLO_50, 9.0)
    assert got.value is None
    assert got.low == 0.0
    assert got.high is not None
    assert 0 < got.high <= 0.9
    assert got.reason == "no tested rate met p99<50ms; at the lowest, 0.9/s, 12 % were slower or failed"


def test_a_lowest_rate_that_may_just_have_been_unlucky_is_no_upper_bound() -> None:
    # 5 of 119 at the lowest rate and none at two higher ones: pooled, none met 1 %, but none is proved to break it.
    steps = [_step(5.0, 5, 119), _step(5.61, 0, 101), _step(6.09, 0, 101)]
    got = pooled.estimate(steps, SLO_50, 10.0, effective=[(12.0,), (101.0,), (101.0,)])
    assert got.value is None
    assert got.high is not None
    assert got.high > 5.0


def test_everything_met_the_slo() -> None:
    got = pooled.estimate([_step(60, 0), _step(95, 0)], SLO_50, C)
    assert got.value == 95
    assert got.high == C
    assert got.low is not None
    assert 0 < got.low <= 95
    assert got.reason is not None
    assert "every tested rate met p99<50ms, the highest was 95/s" in got.reason


def test_nothing_tested_or_no_throughput() -> None:
    assert pooled.estimate([], SLO_50, C).reason == "no rate was tested under open-loop load"
    assert pooled.estimate([_step(5, 0, 1), replace(_step(5, 0, 1), n=0)], SLO_50, float("nan")).value is None
    assert pooled.estimate([_step(5, 0)], SLO_50, 0.0).reason == "the closed-loop throughput was not measured"


def test_perfect_separation_gives_a_finite_answer_between_the_steps() -> None:
    value, low, high = _numbers(pooled.estimate([_step(30, 0, 3000), _step(90, 3000, 3000)], SLO_50, C))
    assert 25 < value < 90
    assert low < value < high <= C


def test_correlated_violations_widen_the_interval() -> None:
    steps = [_step(45, 1), _step(55, 3), _step(70, 30)]
    _, low, high = _numbers(pooled.estimate(steps, SLO_50, C, effective=[(300.0,), (300.0,), (300.0,)]))
    _, wide_low, wide_high = _numbers(pooled.estimate(steps, SLO_50, C, effective=[(300.0,), (15.0,), (15.0,)]))
    assert wide_high / wide_low > high / low


@given(
    st.lists(st.tuples(st.floats(1, 110), st.integers(20, 2000), st.floats(0, 1)), min_size=1, max_size=8),
    st.sampled_from([0.5, 0.95, 0.99, 0.999]),
)
def test_any_evidence_gives_an_ordered_bounded_answer(raw: list[tuple[float, int, float]], quantile: float) -> None:
    steps = [_step(rate, round(share * n), n) for rate, n, share in raw]
    got = pooled.estimate(steps, SLO(limits=(LatencyLimit(quantile=quantile, limit_ms=50.0),)), C)
    assert got.low is not None
    assert got.high is not None
    assert 0 <= got.low <= got.high <= max(C, *(step.rate_per_s for step in steps))
    assert (got.value is None) <= (got.reason is not None)
    if got.value is not None:
        assert got.low <= got.value <= got.high


@given(st.lists(st.tuples(st.floats(10, 95), st.floats(0, 1)), min_size=1, max_size=6))
def test_probes_stay_in_the_searched_range(raw: list[tuple[float, float]]) -> None:
    steps = [_step(rate, round(share * 300)) for rate, share in raw]
    probe = search.next_rate(steps, SLO_50, C, budget=20)
    assert probe.reason
    if probe.rate_per_s is not None:
        assert 0.1 * C * (1 - 1e-9) <= probe.rate_per_s <= 0.95 * C * (1 + 1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_isotonic_is_monotone_keeps_the_mean_and_leaves_monotone_data_alone(raw: list[tuple[float, float]]) -> None:
    values, weights = [v for v, _ in raw], [w for _, w in raw]
    fitted = pooled.isotonic(values, weights)
    assert all(a <= b for a, b in pairwise(fitted))
    assert np.dot(fitted, weights) == pytest.approx(np.dot(values, weights), abs=1e-9)
    assert pooled.isotonic(fitted, weights) == pytest.approx(fitted)


def test_a_server_that_slowed_down_in_one_run_is_not_called_far_slower_than_it_was_seen_to_be() -> None:
    slo = _p99(410.0)
    steps = [
        Step(rate_per_s=rate, n=n, violations=(violations,), lost=0, duration_s=9.0, block=1)
        for rate, n, violations in ((6.11, 55, 0), (8.11, 73, 25), (7.0, 63, 15), (6.56, 59, 36), (2.47, 49, 0))
    ]
    found = pooled.estimate(steps, slo, 11.43, effective=[(55.0,), (6.0,), (5.0,), (4.0,), (49.0,)])
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert 0.7 * 6.11 < found.value < 6.56
    assert found.low < found.value < found.high


def test_the_tightest_of_several_limits_is_the_capacity() -> None:
    # 30/s meets both limits, 50/s breaks the second, 80/s breaks both.
    slo = parse("p99<50ms,p50<15ms")
    steps = [replace(_step(rate, 0), violations=seen) for rate, seen in ((30, (0, 60)), (50, (1, 180)), (80, (150, 290)))]
    tail, middle = pooled.estimate_limits(steps, slo, C)
    assert pooled.bracket(steps, slo) == (30, 50)
    place, both = pooled.binding([tail, middle])
    assert place == 1
    assert both.value == middle.value
    assert tail.value is not None
    assert middle.value is not None
    assert 30 < middle.value < 50 < tail.value < 80
    alone = pooled.estimate_limits([replace(step, violations=step.violations[1:]) for step in steps], parse("p50<15ms"), C)
    assert alone == (middle,)


def test_a_limit_that_no_rate_met_binds() -> None:
    steps = [replace(_step(30, 0), violations=(0, 290))]
    place, found = pooled.binding(pooled.estimate_limits(steps, parse("p99<50ms,p50<15ms"), C))
    assert place == 1
    assert found.value is None
    assert "p50<15ms" in str(found.reason)
