"""The laws that service times can follow: exact quantiles, moments and the integrals that queues need. Pure.

Times are in seconds. A quantile is taken at a share in 0..1; for a law with jumps it is the smallest time t with P(S <= t) at
least that share. Formulas: Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions (1994), chapters 14, 19 and 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


class Law(Protocol):
    """How long a service takes: a positive random time S, drawn anew and independently for every request."""

    @property
    def mean_s(self) -> float:
        """E[S]; infinite where there is none."""

    @property
    def second_moment_s2(self) -> float:
        """E[S²]; infinite where there is none."""

    def quantiles_s(self, shares: Times) -> Times:
        """The quantile at every share in 0..1 (1 excluded unless the law is bounded), same shape. A share drawn uniformly
        gives a draw of the law."""

    def cdf(self, times_s: Times) -> Times:
        """P(S <= t) at every t, same shape."""

    def limited_mean_s(self, times_s: Times) -> Times:
        """E[min(S, t)], the integral of P(S > x) over x from 0 to t, at every t >= 0, same shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Always `value_s`."""

    value_s: float

    @property
    def mean_s(self) -> float:
        return self.value_s

    @property
    def second_moment_s2(self) -> float:
        return self.value_s**2

    def quantiles_s(self, shares: Times) -> Times:
        return np.full(shares.shape, self.value_s)

    def cdf(self, times_s: Times) -> Times:
        return np.where(times_s >= self.value_s, 1.0, 0.0)

    def limited_mean_s(self, times_s: Times) -> Times:
        return np.minimum(times_s, self.value_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Without memory, mean `mean_s`."""

    mean_s: float

    @property
    def second_moment_s2(self) -> float:
        return 2 * self.mean_s**2

    def quantiles_s(self, shares: Times) -> Times:
        return -self.mean_s * np.log1p(-shares)

    def cdf(self, times_s: Times) -> Times:
        return -np.expm1(-np.maximum(times_s, 0.0) / self.mean_s)

    def limited_mean_s(self, times_s: Times) -> Times:
        return -self.mean_s * np.expm1(-times_s / self.mean_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lognormal:
    """The logarithm is normal around log `median_s` with standard deviation `sigma`."""

    median_s: float
    sigma: float

    @property
    def mean_s(self) -> float:
        return self.median_s * math.exp(self.sigma**2 / 2)

    @property
    def second_moment_s2(self) -> float:
        return self.median_s**2 * math.exp(2 * self.sigma**2)

    def quantiles_s(self, shares: Times) -> Times:
        from scipy import special  # half a second, which servers of other laws need not wait for

        return self.median_s * np.exp(self.sigma * special.ndtri(shares))

    def cdf(self, times_s: Times) -> Times:
        return _normal_cdf(self._score(times_s))

    def limited_mean_s(self, times_s: Times) -> Times:
        score = self._score(times_s)
        return self.mean_s * _normal_cdf(score - self.sigma) + times_s * _normal_cdf(-score)

    def _score(self, times_s: Times) -> Times:
        with np.errstate(divide="ignore"):  # the logarithm of 0 is -inf, which ndtr takes to 0
            return np.log(np.maximum(times_s, 0.0) / self.median_s) / self.sigma


def _normal_cdf(scores: Times) -> Times:
    from scipy import special

    return np.asarray(special.ndtr(scores))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bimodal:
    """`slow_s` with probability `slow_share`, else `fast_s`, which is the shorter."""

    fast_s: float
    slow_s: float
    slow_share: float

    @property
    def mean_s(self) -> float:
        return self._mix(self.fast_s, self.slow_s)

    @property
    def second_moment_s2(self) -> float:
        return self._mix(self.fast_s**2, self.slow_s**2)

    def quantiles_s(self, shares: Times) -> Times:
        return np.where(shares <= 1 - self.slow_share, self.fast_s, self.slow_s)

    def cdf(self, times_s: Times) -> Times:
        return np.where(times_s >= self.slow_s, 1.0, np.where(times_s >= self.fast_s, 1 - self.slow_share, 0.0))

    def limited_mean_s(self, times_s: Times) -> Times:
        fast, slow = np.minimum(times_s, self.fast_s), np.minimum(times_s, self.slow_s)
        return (1 - self.slow_share) * fast + self.slow_share * slow

    def _mix(self, fast: float, slow: float) -> float:
        return (1 - self.slow_share) * fast + self.slow_share * slow


@dataclass(frozen=True, slots=True, kw_only=True)
class Pareto:
    """At least `scale_s`; P(S > t) = (scale / t)^alpha beyond (Pareto of the first kind). No mean for alpha <= 1, no second
    moment for alpha <= 2."""

    scale_s: float
    alpha: float

    @property
    def mean_s(self) -> float:
        return self.alpha * self.scale_s / (self.alpha - 1) if self.alpha > 1 else math.inf

    @property
    def second_moment_s2(self) -> float:
        return self.alpha * self.scale_s**2 / (self.alpha - 2) if self.alpha > 2 else math.inf

    def quantiles_s(self, shares: Times) -> Times:
        return self.scale_s * np.exp(-np.log1p(-shares) / self.alpha)

    def cdf(self, times_s: Times) -> Times:
        beyond = np.maximum(times_s, self.scale_s)
        return 1 - (self.scale_s / beyond) ** self.alpha

    def limited_mean_s(self, times_s: Times) -> Times:
        ratio = np.maximum(times_s / self.scale_s, 1.0)
        # (1 - ratio^(1 - alpha)) / (alpha - 1), whose limit at alpha = 1 is log ratio.
        power = 1 - self.alpha
        tail = np.log(ratio) if power == 0 else np.expm1(power * np.log(ratio)) / power
        return np.minimum(times_s, self.scale_s) + self.scale_s * tail
