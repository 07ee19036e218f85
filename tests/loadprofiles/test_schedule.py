"""The arrival schedule against its law: exact for constant, exponential gaps for poisson."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.errors import UsageError
from harness.nouns import LoadProfile
from loadprofiles.schedule import MAX_ARRIVALS, NS_PER_S, arrivals, payload_order

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
