"""The arrival schedule against its law: exact for constant, exponential gaps for poisson."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.errors import UsageError
from harness.nouns import LoadProfile, Segment
from loadprofiles.schedule import MAX_ARRIVALS, NS_PER_S, arrivals, of_trace, payload_order, user_changes
from loadprofiles.traces import Trace

RATES = st.floats(min_value=0.5, max_value=5000)
DURATIONS = st.floats(min_value=0.01, max_value=5)
SEEDS = st.integers(min_value=0, max_value=2**63)


def profile(kind: str, rate: float, duration: float, seed: int = 0) -> LoadProfile:
    return LoadProfile(arrivals=kind, duration_s=duration, seed=seed, rate_per_s=rate)


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["constant", "poisson"]), rate=RATES, duration=DURATIONS, seed=SEEDS)
def test_sorted_in_range_and_the_same_for_the_same_seed(kind: str, rate: float, duration: float, seed: int) -> None:
    offsets = arrivals(profile(kind, rate, duration, seed))
    assert offsets.dtype == np.int64
    assert np.all(np.diff(offsets) >= 0)
    assert np.all((offsets >= 0) & (offsets < round(duration * NS_PER_S)))
    assert np.array_equal(offsets, arrivals(profile(kind, rate, duration, seed)))


@settings(max_examples=100, deadline=None)
@given(rate=st.integers(min_value=1, max_value=2000), duration=st.integers(min_value=1, max_value=20))
def test_constant_is_exact(rate: int, duration: int) -> None:
    offsets = arrivals(profile("constant", rate, duration))
    assert len(offsets) == rate * duration
    exact = [(2 * i * NS_PER_S + rate) // (2 * rate) for i in (0, len(offsets) // 2, len(offsets) - 1)]
    assert np.all(np.abs(offsets[[0, len(offsets) // 2, -1]] - exact) <= 1)


@pytest.mark.parametrize(("rate", "duration", "n"), [(0.1, 10, 1), (0.3, 10, 3), (2.5, 1, 3), (1, 0.001, 1), (1000, 0.1, 100)])
def test_constant_counts_decimals_as_written(rate: float, duration: float, n: int) -> None:
    assert len(arrivals(profile("constant", rate, duration))) == n


@pytest.mark.parametrize("seed", range(10))
def test_poisson_gaps_are_exponential(seed: int) -> None:
    offsets = arrivals(profile("poisson", 1000, 10.5, seed))[:10_000]
    assert len(offsets) == 10_000
    gaps_s = np.diff(offsets, prepend=0) / NS_PER_S
    assert stats.kstest(gaps_s, "expon", args=(0, 1 / 1000)).statistic < 0.02
    assert abs(np.corrcoef(gaps_s[:-1], gaps_s[1:])[0, 1]) < 0.05


def test_poisson_offers_the_rate_it_claims_and_is_random_inside() -> None:
    runs = [arrivals(profile("poisson", 20, 2, seed)) for seed in range(1000)]
    assert {len(run) for run in runs} == {40}
    # Conditioned on 40 arrivals, those in the first quarter are binomial(40, 1/4).
    first = np.array([(run < NS_PER_S // 2).sum() for run in runs])
    assert abs(first.mean() - 10) < 4 * math.sqrt(7.5 / 1000)
    assert first.var() == pytest.approx(7.5, rel=0.2)
    assert len(arrivals(profile("poisson", 0.01, 1))) == 1


def test_poisson_seeds_differ_and_rates_share_their_gaps() -> None:
    zero, one = (arrivals(profile("poisson", 100, 10, seed)) for seed in (0, 1))
    assert not np.array_equal(zero, one)
    twice = arrivals(profile("poisson", 200, 5, 0))
    assert len(twice) == len(zero)
    assert np.all(np.abs(zero - 2 * twice) <= 2)


def test_what_has_no_schedule_is_refused() -> None:
    with pytest.raises(UsageError, match="no arrival schedule"):
        arrivals(LoadProfile(arrivals="closed", duration_s=1, seed=0, users=1))
    with pytest.raises(UsageError, match="shorten the run"):
        arrivals(profile("constant", 1e6, MAX_ARRIVALS / 1e6 + 1))
    with pytest.raises(UsageError, match="negative"):
        arrivals(profile("poisson", 1, 1, -1))
    with pytest.raises(UsageError, match="unknown arrival process"):
        arrivals(profile("bursts", 1, 1))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, n=st.integers(min_value=0, max_value=500), payloads=st.integers(min_value=1, max_value=40))
def test_payload_order_is_even_over_every_block(seed: int, n: int, payloads: int) -> None:
    order = payload_order(seed, n, payloads)
    assert order.dtype == np.uint16
    assert len(order) == n
    for start in range(0, n - payloads + 1, payloads):
        assert sorted(order[start : start + payloads]) == list(range(payloads))
    assert np.array_equal(order, payload_order(seed, n, payloads))


def test_payload_order_depends_on_the_seed_and_needs_payloads() -> None:
    assert not np.array_equal(payload_order(0, 100, 10), payload_order(1, 100, 10))
    with pytest.raises(UsageError):
        payload_order(0, 10, 0)
    with pytest.raises(UsageError):
        payload_order(0, 10, 70_000)


LEVELS = st.floats(min_value=0, max_value=300)
SEGMENTS = st.lists(
    st.builds(lambda d, a, b: Segment(duration_s=d, start=a, end=b), st.floats(min_value=0.05, max_value=5), LEVELS, LEVELS),
    min_size=1,
    max_size=6,
).filter(lambda found: any(each.start + each.end > 0.5 for each in found))


def shaped(kind: str, segments: list[Segment], seed: int = 0, users: int | None = None) -> LoadProfile:
    whole_s = sum(each.duration_s for each in segments)
    return LoadProfile(arrivals=kind, duration_s=whole_s, seed=seed, segments=tuple(segments), users=users)


def cumulative(segments: list[Segment], at_s: np.ndarray) -> np.ndarray:
    """The expected number of requests until each instant: the trapezes of the segments, in full or cut."""
    total, begins = np.zeros_like(at_s), 0.0
    for each in segments:
        t = np.clip(at_s - begins, 0, each.duration_s)
        total += each.start * t + (each.end - each.start) * t * t / (2 * each.duration_s)
        begins += each.duration_s
    return total


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["constant", "poisson"]), segments=SEGMENTS, seed=SEEDS)
def test_arrivals_follow_the_cumulative_rate(kind: str, segments: list[Segment], seed: int) -> None:
    load = shaped(kind, segments, seed)
    offsets = arrivals(load)
    assert np.all(np.diff(offsets) >= 0)
    assert np.all((offsets >= 0) & (offsets < round(load.duration_s * NS_PER_S)))
    total = float(cumulative(segments, np.array([load.duration_s]))[0])
    reached = cumulative(segments, offsets / NS_PER_S)
    if kind == "constant":
        assert abs(len(offsets) - total) <= 1 + 1e-6
        assert np.abs(reached - np.arange(len(offsets))).max() < 1e-3 * max(1.0, total)
    else:
        assert len(offsets) == max(1, round(total))
        # By the cumulative rate they are the same Poisson arrivals that a constant rate has.
        flat = arrivals(profile("poisson", len(offsets), 1, seed)) / NS_PER_S
        assert np.abs(reached / total - flat).max() < 1e-6


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["constant", "poisson"]), rate=st.integers(1, 500), cuts=st.lists(st.integers(1, 9), max_size=4))
def test_segments_of_one_rate_are_a_constant_rate(kind: str, rate: int, cuts: list[int]) -> None:
    lengths = [*cuts, 1]
    flat = arrivals(profile(kind, rate, sum(lengths), 3))
    parts = arrivals(shaped(kind, [Segment(duration_s=length, start=rate, end=rate) for length in lengths], 3))
    assert len(parts) == len(flat)
    assert np.abs(parts - flat).max() <= 100


def test_a_ramp_of_poisson_arrivals_has_the_law_of_its_rate() -> None:
    ramp = [Segment(duration_s=10, start=0, end=200)]
    seconds = np.concatenate([arrivals(shaped("poisson", ramp, seed)) for seed in range(20)]) / NS_PER_S
    assert len(seconds) == 20_000
    assert stats.kstest(seconds, lambda t: (t / 10) ** 2).pvalue > 1e-3


@settings(max_examples=100, deadline=None)
@given(segments=SEGMENTS)
def test_users_are_the_whole_part_of_the_level(segments: list[Segment]) -> None:
    load = shaped("closed", segments, users=300)
    changes = user_changes(load)
    assert np.all(np.diff(changes[:, 0]) >= 0)
    present = np.cumsum(changes[:, 1])
    assert present.min(initial=0) >= 0
    begins = 0.0
    for each in segments:
        for share in (0.25, 0.5, 0.75):
            level = each.start + share * (each.end - each.start)
            if abs(level - round(level)) < 1e-3:
                continue
            at = (begins + share * each.duration_s) * NS_PER_S
            users = int(changes[changes[:, 0] <= at, 1].sum())
            assert users == (math.floor(level) if each.end >= each.start else math.ceil(level))
        begins += each.duration_s


def test_users_join_and_leave_when_said() -> None:
    up_and_down = [
        Segment(duration_s=2, start=1, end=3),
        Segment(duration_s=1, start=1, end=1),
        Segment(duration_s=2, start=2, end=0),
    ]
    s = NS_PER_S
    assert user_changes(shaped("closed", up_and_down, users=3)).tolist() == [
        [0, 1], [s, 1], [2 * s, 1], [2 * s, -2], [3 * s, 1], [4 * s, -1], [5 * s, -1],
    ]  # fmt: skip
    assert user_changes(LoadProfile(arrivals="closed", duration_s=1, seed=0, users=4)).tolist() == [[0, 4]]
    with pytest.raises(UsageError, match="no users"):
        user_changes(profile("poisson", 1, 1))


def test_recorded_arrivals_are_replayed_as_they_are() -> None:
    trace = Trace(name="t", span_ns=2 * NS_PER_S + 1, offsets_ns=np.array([0, 1, NS_PER_S, 2 * NS_PER_S]))
    assert of_trace(trace, 1, 3, 0).tolist() == [0, 1, NS_PER_S, 2 * NS_PER_S]
    assert of_trace(trace, 4, 3, 0).tolist() == [0, 0, NS_PER_S // 4, NS_PER_S // 2]
    assert of_trace(trace, 1, 1.5, 0).tolist() == [0, 1, NS_PER_S]


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 40), min_size=2, max_size=20), compress=st.sampled_from([1.0, 2.5, 60.0]), seed=SEEDS)
def test_counts_per_interval_are_kept_exactly(counts: list[int], compress: float, seed: int) -> None:
    trace = Trace(name="t", span_ns=60 * NS_PER_S * len(counts), counts=np.array(counts), interval_ns=60 * NS_PER_S)
    whole_s = 60 * len(counts) / compress
    offsets = of_trace(trace, compress, whole_s, seed)
    edges = np.arange(len(counts) + 1) * 60 * NS_PER_S / compress
    assert np.histogram(offsets, edges)[0].tolist() == counts
    assert np.all(np.diff(offsets) >= 0)
    half = of_trace(trace, compress, whole_s / 2, seed)
    assert np.array_equal(half, offsets[: len(half)])  # a cut changes nothing before it


def test_counts_are_placed_uniformly_and_a_huge_trace_is_refused_before_it_is_made() -> None:
    trace = Trace(name="t", span_ns=2 * NS_PER_S, counts=np.array([5000, 0]), interval_ns=NS_PER_S)
    seconds = of_trace(trace, 1, 2, 0) / NS_PER_S
    assert stats.kstest(seconds, "uniform").pvalue > 1e-3
    huge = Trace(name="t", span_ns=2 * NS_PER_S, counts=np.array([10**9, 10**9]), interval_ns=NS_PER_S)
    with pytest.raises(UsageError, match="over 20,000,000 requests"):
        of_trace(huge, 1, 2, 0)
