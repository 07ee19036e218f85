"""The history's eye for slow worsening: what it finds, and how often it cries at noise."""

from __future__ import annotations

import numpy as np
import pytest

from harness.gate import creep


def nights(seed: int, count: int, noise: float = 0.008) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(0.0, noise, count))


def test_a_step_too_small_for_any_night_is_found_and_dated() -> None:
    series = nights(1, 60)
    series[30:] *= 1.02
    found = creep.look(series, higher_is_better=False)
    assert found is not None
    assert found.worse == pytest.approx(0.02, abs=0.006)
    assert abs(found.since - 30) <= 3


def test_creep_a_little_every_night_is_found() -> None:
    caught = sum(
        creep.look(nights(seed, 60) * 1.0006 ** np.arange(60), higher_is_better=False) is not None for seed in range(40)
    )
    assert caught >= 36


def test_more_is_better_for_throughput() -> None:
    series = nights(2, 60)
    series[30:] *= 0.97
    assert creep.look(series, higher_is_better=True) is not None
    assert creep.look(series, higher_is_better=False) is None


def test_noise_alone_is_seldom_taken_for_creep() -> None:
    cried = sum(creep.look(nights(seed, 60), higher_is_better=False) is not None for seed in range(300))
    assert cried <= 6


def test_what_came_back_is_no_creep_and_few_nights_show_nothing() -> None:
    series = nights(3, 60)
    series[20:40] *= 1.05
    assert creep.look(series, higher_is_better=False) is None
    assert creep.look([1.0, 1.1] * 5, higher_is_better=False) is None
    assert creep.look([1.0] * 50, higher_is_better=False) is None
