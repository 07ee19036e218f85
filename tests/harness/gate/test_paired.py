from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.gate import paired


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_the_p_value_is_that_of_the_exact_permutation_test() -> None:
    gaps = np.array([0.02, -0.01, 0.03, 0.015, -0.004, 0.01, 0.022, 0.001])
    exact = stats.permutation_test((gaps,), np.mean, permutation_type="samples", alternative="greater", n_resamples=300).pvalue
    assert paired.compare(gaps, rng()).p_worse == pytest.approx(exact)


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=12))
def test_worse_and_better_are_mirror_images(values: list[float]) -> None:
    gaps = np.array(values)
    one, other = paired.compare(gaps, rng()), paired.compare(-gaps, rng())
    assert one.gap == pytest.approx(-other.gap)
    assert one.low == pytest.approx(-other.high)


@pytest.mark.parametrize("pairs", [12, 24])
def test_the_interval_covers_the_true_gap_in_about_95_of_100_nights(pairs: int) -> None:
    draws = np.random.default_rng(8).normal(0.03, 0.02, (100, pairs))
    found = [paired.compare(gaps, rng()) for gaps in draws]
    assert 0.89 <= np.mean([each.low <= 0.03 <= each.high for each in found]) <= 0.99


def test_one_disturbed_slice_does_not_decide() -> None:
    gaps = np.random.default_rng(3).normal(0.0, 0.01, 12)
    gaps[4] = 2.0
    assert abs(paired.compare(gaps, rng()).gap) < 0.02


def test_few_pairs_contradict_nothing() -> None:
    found = paired.compare(np.array([0.01, 0.02, 0.03]), rng())
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("gaps", [[], [0.1], [0.1, math.nan], [0.1, math.inf]])
def test_what_cannot_be_compared_is_refused(gaps: list[float]) -> None:
    with pytest.raises(ValueError, match="two finite gaps"):
        paired.compare(np.array(gaps), rng())


def test_holm_agrees_with_its_definition() -> None:
    assert paired.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert paired.holm({}) == {}


def test_non_inferiority_is_shown_for_equals_and_not_for_the_threshold_itself() -> None:
    draws = np.random.default_rng(4)
    assert paired.p_below(draws.normal(0.0, 0.01, 12), 0.03, rng()) < 0.01
    assert paired.p_below(draws.normal(0.03, 0.01, 12), 0.03, rng()) > 0.05
