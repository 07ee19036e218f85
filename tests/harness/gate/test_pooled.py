"""The pooled tail: its test keeps its level, finds what is there, and counts lost requests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.gate.pooled import Pooled, pool


def night(seed: int, shift: float = 0.0, pairs: int = 12, n: int = 150, block: float = 0.02) -> Pooled:
    """Slices with a common disturbance of each pair, exponential tails, tonight slower by `shift`."""
    rng = np.random.default_rng(seed)
    baseline: list[np.ndarray] = []
    tonight: list[np.ndarray] = []
    for _ in range(pairs):
        common = math.exp(rng.normal(0, 0.1))
        for slices, factor in ((baseline, 1.0), (tonight, 1.0 + shift)):
            slices.append(factor * common * math.exp(rng.normal(0, block)) * (5 + rng.exponential(2.0, n)))
    return pool(baseline, tonight)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_statistic_is_the_ratio_of_nearest_rank_quantiles() -> None:
    found = night(1)
    before, after = found.values()
    assert found.compare(rng()).gap == pytest.approx(math.log(after / before))
    assert found.n == 1800


def test_equals_are_seldom_told_apart() -> None:
    p = [night(seed).compare(rng()).p_worse for seed in range(100)]
    assert np.mean(np.array(p) < 0.05) <= 0.12


def test_a_worse_tail_is_found_and_a_large_one_excluded_for_equals() -> None:
    assert night(2, shift=0.3).compare(rng()).p_worse < 0.01
    assert night(2).p_below(math.log1p(0.3), rng()) < 0.01
    assert night(2, shift=0.3).p_below(math.log1p(0.3), rng()) > 0.05


def test_the_interval_holds_the_true_shift() -> None:
    found = [night(seed, shift=0.1).compare(rng()) for seed in range(30)]
    inside = np.mean([each.low <= math.log1p(0.1) <= each.high for each in found])
    assert inside >= 0.83
    assert all(each.low < each.gap < each.high for each in found)


def test_better_and_worse_are_mirror_images() -> None:
    found = night(4, shift=0.2)
    turned = pool(found.tonight, found.baseline)
    assert turned.compare(rng()).gap == pytest.approx(-found.compare(rng()).gap)


def test_lost_requests_are_infinitely_slow() -> None:
    found = night(5)
    few = [each.copy() for each in found.tonight]
    few[0][0] = math.inf
    assert math.isfinite(pool(found.baseline, few).compare(rng()).gap)
    for each in few:
        each[:3] = math.inf
    with pytest.raises(ValueError, match="without an answer"):
        pool(found.baseline, few).compare(rng())


def test_two_runs_join() -> None:
    both = night(6).joined(night(7))
    assert both.size == 24
    assert both.compare(rng()).pairs == 24
