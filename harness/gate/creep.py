"""Slow worsening over many nights, each step of it too small for any one of them: change points over the history.

It warns and never blocks. Steps are looked for as in a warm-up (`harness.steady`); two levels differ when Welch's t test (1947)
is sure of it and the difference is worth a word.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness import steady

FEWEST_NIGHTS = 12
SMALLEST = 0.01
"""The worsening from which on it is said."""
LEVEL_NIGHTS = 5
"""A level that lasted for fewer nights is no ground for a comparison."""
ALPHA = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Creep:
    """The last level is worse by the share `worse` than the one that ended before night `since` (0-based)."""

    worse: float
    since: int


def look(values: ArrayLike, *, higher_is_better: bool) -> Creep | None:
    """The largest lasting worsening of a series, one figure a night; None when there is none or the series is too short."""
    logs = (-1 if higher_is_better else 1) * np.log(np.asarray(values, dtype=float))
    if logs.size < FEWEST_NIGHTS:
        return None
    _, changes = steady.levels(logs)
    starts = [0, *(change.at for change in changes)]
    parts = [logs[begin:end] for begin, end in zip(starts, [*starts[1:], logs.size], strict=True)]
    last, worst = parts[-1], None
    for number, part in enumerate(parts[:-1]):
        worse = float(np.median(last) - np.median(part))
        if part.size < LEVEL_NIGHTS or last.size < LEVEL_NIGHTS or worse < math.log1p(SMALLEST):
            continue
        if _p_worse(part, last) < ALPHA and (worst is None or worse > worst[0]):
            worst = worse, starts[number + 1]
    return None if worst is None else Creep(worse=math.expm1(worst[0]), since=worst[1])


def _p_worse(before: np.ndarray, after: np.ndarray) -> float:
    """One-sided; series without any spread are told apart by the change point alone."""
    if np.ptp(before) == 0 and np.ptp(after) == 0:
        return 0.0
    return float(stats.ttest_ind(after, before, equal_var=False, alternative="greater").pvalue)
