"""The tail of two versions: one quantile over all slices of each, compared by the same exchange of slices as `paired`.

A slice is too short for a p99 of its own, so all slices of a version are pooled. If nothing changed, the two slices of a pair
could as well bear each other's names: the statistic is recomputed with the names of each pair exchanged or not. A worsening of
a given size is tested by taking it off tonight's latencies first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness.gate.paired import Comparison, Gaps, patterns, reach
from harness.statistics import nearest_rank

BOUND_PATTERNS = 999
_TAIL = 4
"""The first look takes so many times as many of the slowest requests as lie beyond the quantile."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pooled:
    """Latencies in ms of every slice, pair by pair; a lost request is infinitely slow."""

    baseline: tuple[NDArray[np.float64], ...]
    tonight: tuple[NDArray[np.float64], ...]
    quantile: float = 0.99

    @property
    def size(self) -> int:
        """Pairs."""
        return len(self.baseline)

    @property
    def n(self) -> int:
        """Requests of the version that has fewer."""
        return min(sum(map(len, self.baseline)), sum(map(len, self.tonight)))

    def joined(self, other: Pooled) -> Pooled:
        """The pairs of both."""
        return replace(self, baseline=self.baseline + other.baseline, tonight=self.tonight + other.tonight)

    def values(self) -> tuple[float, float]:
        """The quantile itself, of the baseline and of tonight."""
        before, after = (np.sort(np.concatenate(slices)) for slices in (self.baseline, self.tonight))
        return tuple(float(each[nearest_rank(each.size, self.quantile) - 1]) for each in (before, after))  # type: ignore[return-value]

    def compare(self, rng: np.random.Generator) -> Comparison:
        """Everything about the ratio tonight / baseline. Raises ValueError when a quantile falls among lost requests."""
        signs = patterns(self.size, rng)
        null = self._gaps(signs, 0.0)
        gap = self._observed()
        few = signs if len(signs) <= BOUND_PATTERNS else signs[rng.choice(len(signs), BOUND_PATTERNS, replace=False)]
        return Comparison(
            pairs=self.size,
            gap=gap,
            low=self._bound(few, gap, -1),
            high=self._bound(few, gap, 1),
            p_worse=float((null >= gap - 1e-12).mean()),
            # What a single pair would scatter by if the whole were a mean of pairs.
            spread=float(np.std(null)) * math.sqrt(self.size),
        )

    def p_below(self, threshold: float, rng: np.random.Generator) -> float:
        """One-sided probability of a ratio so far below exp(threshold) if that were the true one."""
        return self._p(patterns(self.size, rng), threshold, -1)

    def _p(self, signs: Gaps, true: float, side: int) -> float:
        """Share of exchanges at least as far above (side 1) or below (side -1) the true log ratio as what was seen."""
        seen = side * (self._observed() - true)
        return float((side * self._gaps(signs, true) >= seen - 1e-12).mean())

    def _observed(self) -> float:
        return float(self._gaps(np.ones((1, self.size)), 0.0)[0])

    def _gaps(self, signs: Gaps, shift: float) -> Gaps:
        """ln(tonight's quantile / baseline's) for each row of signs, -1 where the names of a pair are exchanged, with
        exp(shift) taken off tonight's latencies."""
        values = np.concatenate([*self.baseline, *(each * math.exp(-shift) for each in self.tonight)])
        pair = np.concatenate([np.full(len(each), at) for at, each in enumerate((*self.baseline, *self.tonight))]) % self.size
        turn = np.repeat([-1.0, 1.0], [sum(map(len, self.baseline)), sum(map(len, self.tonight))])
        counts = np.array([[len(slices[at]) for at in range(self.size)] for slices in (self.baseline, self.tonight)])
        own = np.where(signs > 0, counts[1], counts[0]).sum(axis=1)
        beyond = [np.array([int(n) - nearest_rank(int(n), self.quantile) + 1 for n in of]) for of in (own, counts.sum() - own)]
        order = np.argsort(values)[::-1]
        most = _TAIL * int(max(each.max() for each in beyond))
        while True:
            top = order[:most]
            tonight = signs[:, pair[top]] * turn[top] > 0
            after = _reached(tonight, beyond[0], values[top])
            before = _reached(~tonight, beyond[1], values[top])
            if after is not None and before is not None:
                break
            most *= 2
        if not (np.isfinite(after).all() and np.isfinite(before).all() and (before > 0).all() and (after > 0).all()):
            raise ValueError(f"p{100 * self.quantile:g} falls among requests without an answer")
        return np.asarray(np.log(after / before), dtype=np.float64)

    def _bound(self, signs: Gaps, gap: float, side: int) -> float:
        wide = max(0.05, 4 * float(np.std(self._gaps(signs[:199], gap))))
        return reach(lambda true: self._p(signs, true, -side), gap, wide, side, len(signs))


def _reached(member: NDArray[np.bool_], count: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """For each row the value of its `count`-th member from the top; None when a row has too few."""
    seen: NDArray[np.int32] = np.cumsum(member, axis=1, dtype=np.int32)
    if bool(np.any(seen[:, -1] < count)):
        return None
    return np.asarray(values[np.argmax(seen >= count[:, None], axis=1)], dtype=np.float64)


def pool(baseline: Sequence[NDArray[np.float64]], tonight: Sequence[NDArray[np.float64]], quantile: float = 0.99) -> Pooled:
    return Pooled(baseline=tuple(baseline), tonight=tuple(tonight), quantile=quantile)
