"""The statistics against published values, brute force and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness import statistics


@pytest.mark.parametrize(
    ("n", "p", "rank"), [(100, 0.99, 99), (100, 0.07, 7), (20, 0.95, 19), (3, 0.5, 2), (1, 0.99, 1), (1000, 0.999, 999)]
)
def test_nearest_rank_is_the_ceiling_of_p_n(n: int, p: float, rank: int) -> None:
    assert statistics.nearest_rank(n, p) == rank


@given(st.lists(st.floats(0, 1e6), min_size=30, max_size=400), st.sampled_from([0.5, 0.75]))
def test_quantile_is_numpys_inverted_cdf(values: list[float], p: float) -> None:
    got = statistics.quantile(values, p)
    if got.value is None:
        assert len(values) < statistics.samples_needed(p)
        return
    assert got.value == np.quantile(values, p, method="inverted_cdf")
    assert got.low is not None
    assert got.high is not None
    assert got.low <= got.value <= got.high


@pytest.mark.parametrize(("p", "smallest"), [(0.99, 368), (0.999, 3688), (0.5, 6)])
def test_order_interval_exists_from_the_known_sample_size(p: float, smallest: int) -> None:
    assert statistics.order_interval(smallest - 1, p) is None
    assert statistics.order_interval(smallest, p) is not None


@pytest.mark.parametrize(("n", "p"), [(60, 0.5), (400, 0.9), (1000, 0.99), (5000, 0.95)])
def test_order_interval_is_exact_and_as_narrow_as_the_binomial_allows(n: int, p: float) -> None:
    ranks = statistics.order_interval(n, p)
    assert ranks is not None
    low, high = ranks
    below, above = stats.binom.cdf(low - 1, n, p), stats.binom.sf(high - 1, n, p)
    assert below <= 0.025
    assert above <= 0.025
    assert stats.binom.cdf(low, n, p) > 0.025
    assert stats.binom.sf(high - 2, n, p) > 0.025


def test_interval_covers_the_true_quantile_in_simulation() -> None:
    rng, law = np.random.default_rng(1), stats.lognorm(0.5)
    hits = 0
    for _ in range(1000):
        got = statistics.quantile(law.rvs(1200, random_state=rng), 0.99)
        assert got.low is not None
        assert got.high is not None
        hits += got.low <= law.ppf(0.99) <= got.high
    assert 935 <= hits <= 985


@pytest.mark.parametrize(("p", "needed"), [(0.5, 20), (0.9, 100), (0.95, 200), (0.99, 1000), (0.999, 10_000)])
def test_quantile_is_withheld_until_ten_samples_lie_beyond(p: float, needed: int) -> None:
    assert statistics.samples_needed(p) == needed
    short = statistics.quantile(np.arange(needed - 1.0), p)
    assert (short.value, short.low, short.high, short.n) == (None, None, None, needed - 1)
    assert short.reason == f"n={needed - 1}: p{p * 100:g} needs {needed}"
    enough = statistics.quantile(np.arange(float(needed)), p)
    assert enough.value is not None
    assert enough.high is not None
    assert enough.reason is None


def test_failures_are_the_slowest_requests() -> None:
    values = np.arange(1.0, 971.0)
    assert statistics.quantile(values, 0.5, failures=30).value == 500.0
    lost = statistics.quantile(values, 0.99, failures=30)
    assert (lost.value, lost.high, lost.n) == (None, None, 1000)
    assert lost.reason == "3 % of requests failed"
    unbounded = statistics.quantile(np.arange(1.0, 993.0), 0.99, failures=8)
    assert unbounded.value == 990.0
    assert unbounded.high is None
    assert unbounded.reason == "0.8 % of requests failed, so p99 has no upper bound"


def test_quantile_of_nothing_and_of_failures_alone() -> None:
    assert statistics.quantile([], 0.5).reason == "n=0: p50 needs 20"
    every = statistics.quantile([], 0.5, failures=40)
    assert (every.value, every.low, every.high) == (None, None, None)
    assert every.reason == "100 % of requests failed"


@pytest.mark.parametrize(
    ("p", "confidence", "row"),
    [
        (0.95, 0.95, [59, 93, 124, 208, 336, 577, 1260]),
        (0.99, 0.95, [299, 473, 628, 1049, 1693, 2902, 6323]),
        (0.99, 0.99, [459, 662, 838, 1307, 2010, 3304, 6898]),
        (0.999, 0.95, [2995, 4742, 6294, 10511, 16959, 29058, 63281]),
    ],
)
def test_samples_to_prove_matches_the_published_early_stopping_table(p: float, confidence: float, row: list[int]) -> None:
    assert [statistics.samples_to_prove(p, events, confidence) for events in (0, 1, 2, 5, 10, 20, 50)] == row


@given(st.integers(1, 400), st.floats(0, 1))
def test_clopper_pearson_agrees_with_scipy(n: int, share: float) -> None:
    events = round(share * n)
    got = statistics.clopper_pearson(events, n)
    expected = stats.binomtest(events, n).proportion_ci(0.95, "exact")
    assert got == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 400), st.floats(0, 1))
def test_wilson_agrees_with_scipy(n: int, share: float) -> None:
    events = round(share * n)
    expected = stats.binomtest(events, n).proportion_ci(0.95, "wilson")
    assert statistics.wilson(events, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_mser5_finds_the_end_of_a_warm_up() -> None:
    rng = np.random.default_rng(2)
    series = rng.normal(10, 1, 500)
    series[:60] += np.linspace(30, 3, 60)
    cut = statistics.mser5(series)
    assert cut is not None
    assert 55 <= cut <= 80


def test_mser5_keeps_a_steady_series_and_refuses_a_drifting_or_short_one() -> None:
    steady = statistics.mser5(np.random.default_rng(3).normal(10, 1, 500))
    assert steady is not None
    assert steady <= 125
    assert statistics.mser5(np.linspace(100, 0, 500) + np.random.default_rng(4).normal(0, 1, 500)) is None
    assert statistics.mser5(np.ones(49)) is None
    assert statistics.mser5(np.ones(100)) == 0


def test_block_indices_keep_neighbours_together() -> None:
    got = statistics.block_indices(100, 10, 50, np.random.default_rng(5))
    assert got.shape == (50, 100)
    assert got.min() >= 0
    assert got.max() <= 99
    steps = np.diff(got.reshape(50, 10, 10), axis=2)
    assert (steps == 1).all()
    with pytest.raises(ValueError, match="does not fit"):
        statistics.block_indices(5, 6, 1, np.random.default_rng(5))


def _ar1(rho: float, n: int, rng: np.random.Generator) -> np.ndarray:
    noise, out = rng.normal(size=n), np.empty(n)
    out[0] = noise[0] / np.sqrt(1 - rho**2)
    for i in range(1, n):
        out[i] = rho * out[i - 1] + noise[i]
    return out


def test_block_bootstrap_sees_the_correlation_that_single_draws_miss() -> None:
    rng = np.random.default_rng(6)
    series = _ar1(0.8, 4000, rng)
    blocks = series[statistics.block_indices(4000, 100, 300, rng)].mean(axis=1).std()
    singles = series[statistics.block_indices(4000, 1, 300, rng)].mean(axis=1).std()
    # The theoretical ratio is sqrt((1 + 0.8) / (1 - 0.8)) = 3.
    assert 2.2 <= blocks / singles <= 3.8


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_effective_n_matches_the_theory_of_an_autoregressive_series(rho: float) -> None:
    series = _ar1(rho, 20_000, np.random.default_rng(7))
    assert statistics.lag1(series) == pytest.approx(rho, abs=0.03)
    assert statistics.effective_n(series) == pytest.approx(20_000 * (1 - rho) / (1 + rho), rel=0.15)


def test_effective_n_of_constant_and_tiny_series() -> None:
    assert statistics.effective_n(np.zeros(300)) == 300
    assert statistics.effective_n([4.0]) == 1
    assert statistics.lag1(np.full(10, 0.1)) is None


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_effective_n_never_exceeds_n(flags: list[bool]) -> None:
    assert 1 <= statistics.effective_n(flags) <= len(flags)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 99.0])
def test_shares_outside_zero_to_one_are_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.nearest_rank(10, p)
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.quantile([1.0], p)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="5 events among 4"):
        statistics.clopper_pearson(5, 4)
    with pytest.raises(ValueError, match="0 events among 0"):
        statistics.wilson(0, 0)
