"""Paired comparison of two versions: what the log ratios of neighbouring slices say, without assuming a distribution.

A pair is one slice of the baseline and one of tonight's version, measured one after the other on the same host. Its gap is
ln(tonight / baseline), turned so that a positive gap is worse. If nothing changed, the sign of each gap is a coin toss, which
gives an exact test (Fisher, 1935); the statistic is a trimmed mean, so that one disturbed slice cannot decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EXACT_PAIRS = 13
"""Up to so many pairs every sign pattern is tried (8,192); above, `DRAWS` random ones."""
DRAWS = 9_999
BOUND_DRAWS = 1_999
TRIM = 0.1
"""Share of the gaps left out at either end of the mean."""

Gaps = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`gap` is the trimmed mean of the log ratios, `low` and `high` its two-sided 95 % bounds, `p_worse` the one-sided
    probability of so large a gap if nothing had changed, `spread` the standard deviation of a single gap."""

    pairs: int
    gap: float
    low: float
    high: float
    p_worse: float
    spread: float


def trimmed_mean(gaps: Gaps) -> Gaps:
    """Mean over the last axis without the `TRIM` smallest and largest."""
    left_out = int(TRIM * gaps.shape[-1])
    kept = np.sort(gaps, axis=-1)[..., left_out : gaps.shape[-1] - left_out]
    return np.asarray(kept.mean(axis=-1), dtype=np.float64)


def compare(gaps: Gaps, rng: np.random.Generator) -> Comparison:
    """Everything about one metric's gaps, shape (pairs,), at least 2 and finite."""
    if gaps.ndim != 1 or gaps.size < 2 or not np.isfinite(gaps).all():
        raise ValueError(f"a comparison needs at least two finite gaps, got {gaps.size}")
    signs = patterns(gaps.size, rng)
    # The bounds try a dozen true gaps each; a fifth of the patterns places them to a small share of their width.
    few = signs if len(signs) <= BOUND_DRAWS else signs[rng.choice(len(signs), BOUND_DRAWS, replace=False)]
    return Comparison(
        pairs=gaps.size,
        gap=float(trimmed_mean(gaps)),
        low=_bound(gaps, few, -1),
        high=_bound(gaps, few, 1),
        p_worse=_p_above(gaps, signs),
        spread=float(np.std(gaps, ddof=1)),
    )


def p_below(gaps: Gaps, threshold: float, rng: np.random.Generator) -> float:
    """One-sided probability of gaps so far below `threshold` if the true gap were `threshold`: small shows non-inferiority."""
    return _p_above(threshold - gaps, patterns(gaps.size, rng))


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """The p-values adjusted for being looked at together (Holm, 1979): the family errs no more often than each would alone."""
    adjusted: dict[str, float] = {}
    highest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = highest
    return adjusted


def patterns(pairs: int, rng: np.random.Generator) -> Gaps:
    """Sign patterns, shape (patterns, pairs), the observed one among them: every pattern once, or random ones."""
    if pairs <= EXACT_PAIRS:
        bits = np.arange(2**pairs)[:, None] >> np.arange(pairs) & 1
        return np.asarray(1.0 - 2.0 * bits)
    drawn = rng.integers(0, 2, size=(DRAWS, pairs))
    return np.vstack([np.ones(pairs), 1.0 - 2.0 * drawn])


def _p_above(gaps: Gaps, signs: Gaps) -> float:
    """Share of sign patterns whose statistic is at least the observed one; rounding must not lose the observed one itself."""
    observed = float(trimmed_mean(gaps))
    slack = 1e-12 * max(1.0, abs(observed))
    return float((trimmed_mean(signs * gaps) >= observed - slack).mean())


def _bound(gaps: Gaps, signs: Gaps, side: int) -> float:
    """The upper (side 1) or lower (side -1) end of the two-sided 95 % interval of the gap."""
    turned = side * gaps
    inside = float(trimmed_mean(turned))
    return reach(
        lambda true: _p_above(side * true - turned, signs), side * inside, float(np.ptp(gaps)) + 1e-12, side, len(signs)
    )


def reach(p_value: Callable[[float], float], inside: float, width: float, side: int, tried: int) -> float:
    """An end of the two-sided 95 % interval, by turning a test round: the farthest true gap on that `side` of `inside` that the
    data do not contradict (`p_value` of it above 2.5 %), to a small share of `width`, within which it lies. With too few sign
    patterns `tried` to contradict anything it is infinite."""
    if 1 / tried > 0.025:
        return side * math.inf
    outside = inside + side * width
    for _ in range(14):
        middle = (inside + outside) / 2
        if p_value(middle) > 0.025:
            inside = middle
        else:
            outside = middle
    return outside
