"""The capacity from counts of violations alone, all tried rates together: what holds whatever the server is like.

Model. At utilisation rho = rate / C, C being the closed-loop throughput, the share v of requests that break the SLO obeys

    -ln v(rho) = L ((1 - rho) / (1 - rho*))^gamma,      L = -ln(1 - quantile)

so that v = 1 - quantile at rho*, the answer sought, and v = 1 at saturation. With gamma = 1 this is the exponential tail of
waiting times, exact for M/M/1 and asymptotic for GI/GI/1 (Kingman, 1964); gamma lets the data bend it. A logistic curve in log
rate knows neither end; in simulated searches of five runs of 300 requests its intervals missed the true rate far more often.

Violations come in busy periods, so n requests are worth n / D independent ones. D is at least that of the Poisson busy period
(Borel, 1942: a busy period serves N requests with E N²/E N = 1/(1 - rho) + rho/(1 - rho)²), and larger when the runs say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.nouns import SLO, Estimate, LatencyLimit, Step
from harness.statistics import clopper_pearson

_BEND_LOG_SD = 0.4
"""Prior standard deviation of ln gamma; M/D/1 curves lie within one of it for limits of 3 to 30 services."""
_DROP_95 = 1.92
"""Half the 95 % point of chi-square with one degree of freedom: how far the profile likelihood may fall (Wilks, 1938)."""
_BEYOND_BRACKET = 0.25
"""How far outside the highest passing and lowest failing rate the fitted curve may put the capacity."""
_BUSIEST = 0.95
"""Utilisation above which the busy-period correction no longer grows; runs are shorter than its busy periods."""

Floats = NDArray[np.float64]
_SHARES: Floats = np.exp(np.linspace(math.log(0.005), math.log(0.999), 600))
_BENDS: Floats = np.exp(np.linspace(-2.5 * _BEND_LOG_SD, 2.5 * _BEND_LOG_SD, 41))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    """One step under one limit; `effective` is how many independent requests its violations are worth, None when unknown."""

    rate_per_s: float
    n: int
    violations: int
    effective: float | None


def estimate(
    steps: Sequence[Step],
    slo: SLO,
    closed_capacity_per_s: float,
    *,
    effective: Sequence[Sequence[float]] | None = None,
) -> Estimate:
    """The highest rate (1/s) at which every limit of the SLO is met: the lowest of `estimate_limits`."""
    return binding(estimate_limits(steps, slo, closed_capacity_per_s, effective=effective))[1]


def estimate_limits(
    steps: Sequence[Step],
    slo: SLO,
    closed_capacity_per_s: float,
    *,
    effective: Sequence[Sequence[float]] | None = None,
) -> tuple[Estimate, ...]:
    """For each limit of the SLO the highest rate (1/s) that meets it, at most the closed-loop throughput.

    Penalised maximum likelihood under the module's model, kept within a quarter of the bracket of the highest passing and the
    lowest failing rate; the interval is the 95 % profile likelihood over the bend. A request in error counts as a violation,
    so the SLO's share covers both. `effective` gives, step by step and limit by limit, how many independent requests the run's
    violations are worth (`statistics.effective_n`); without it the busy-period bound alone applies.
    """
    return tuple(
        _of_one(
            [
                _Counted(
                    rate_per_s=step.rate_per_s,
                    n=step.n,
                    violations=step.violations[place],
                    effective=None if effective is None else effective[number][place],
                )
                for number, step in enumerate(steps)
                if step.n > 0
            ],
            limit,
            closed_capacity_per_s,
        )
        for place, limit in enumerate(slo.limits)
    )


def binding(estimates: Sequence[Estimate]) -> tuple[int, Estimate]:
    """The place of the limit that binds and the capacity under all of them: the lowest value, and the lowest of each bound.

    A limit that no rate met binds before any other.
    """
    if not estimates:
        raise ValueError("a capacity needs at least one limit")
    place = min(range(len(estimates)), key=lambda at: _order(estimates[at]))
    found = estimates[place]
    if found.value is None:
        return place, found
    lows = [each.low for each in estimates if each.low is not None]
    highs = [each.high for each in estimates if each.high is not None]
    return place, Estimate(value=found.value, low=min(lows, default=None), high=min(highs, default=None), reason=found.reason)


def bracket(steps: Sequence[Step], slo: SLO) -> tuple[float | None, float | None]:
    """(highest rate that met every limit, lowest that broke one); pooling makes the first the lower of the two."""
    ordered = sorted((step for step in steps if step.n > 0), key=lambda step: step.rate_per_s)
    met = [True] * len(ordered)
    for place, limit in enumerate(slo.limits):
        shares = isotonic([step.violations[place] / step.n for step in ordered], [step.n for step in ordered])
        # A share of exactly the allowed one passes; the sum of two binary fractions may miss it by an ulp.
        met = [before and share <= limit.allowed * (1 + 1e-9) for before, share in zip(met, shares, strict=True)]
    passing = [step.rate_per_s for step, verdict in zip(ordered, met, strict=True) if verdict]
    failing = [step.rate_per_s for step, verdict in zip(ordered, met, strict=True) if not verdict]
    return max(passing, default=None), min(failing, default=None)


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The non-decreasing sequence nearest to `values` in weighted squares: pool adjacent violators (Ayer et al., 1955)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, count = float(value), float(weight), 1
        while pools and pools[-1][0] >= mean:
            before, mass, members = pools.pop()
            mean = (before * mass + mean * total) / (mass + total)
            total, count = total + mass, count + members
        pools.append((mean, total, count))
    return [mean for mean, _, count in pools for _ in range(count)]


def _order(estimate: Estimate) -> tuple[float, float]:
    """Limits that no rate met first, the one with the lowest upper bound before the others."""
    if estimate.value is None:
        return -1.0, math.inf if estimate.high is None else estimate.high
    return estimate.value, 0.0


def _of_one(tested: Sequence[_Counted], limit: LatencyLimit, closed_capacity_per_s: float) -> Estimate:
    if not tested:
        return Estimate(value=None, low=None, high=None, reason="no rate was tested under open-loop load")
    if not 0 < closed_capacity_per_s < math.inf:
        return Estimate(value=None, low=None, high=None, reason="the closed-loop throughput was not measured")
    passing, failing = _bracket_of_one(tested, limit)
    profile, shares = _profile(tested, limit, closed_capacity_per_s)
    inside = np.flatnonzero(profile >= profile.max() - _DROP_95)
    low, high = shares[inside[0]] * closed_capacity_per_s, shares[inside[-1]] * closed_capacity_per_s
    if passing is None:
        first = min(tested, key=lambda step: step.rate_per_s)
        share = f"{100 * first.violations / first.n:.2g} % were slower or failed"
        reason = f"no tested rate met {limit}; at the lowest, {first.rate_per_s:.2g}/s, {share}"
        ceiling = first.rate_per_s if _proves_broken(first, limit) else math.inf
        return Estimate(value=None, low=0.0, high=float(min(high, ceiling)), reason=reason)
    if failing is None:
        reason = f"every tested rate met {limit}, the highest was {passing:.3g}/s; the closed-loop throughput bounds it above"
        return Estimate(value=passing, low=float(min(low, passing)), high=max(closed_capacity_per_s, passing), reason=reason)
    # A server that slows down in some runs fits no single curve, and must not be called far slower than it was seen to be.
    fitted = shares[int(profile.argmax())] * closed_capacity_per_s
    value = float(np.clip(fitted, passing * (1 - _BEYOND_BRACKET), failing * (1 + _BEYOND_BRACKET)))
    return Estimate(value=value, low=float(min(low, value)), high=float(max(high, value)))


def _proves_broken(step: _Counted, limit: LatencyLimit) -> bool:
    """Whether a step's violations, at what they are worth, exclude the allowed share (exact binomial, 97.5 %)."""
    worth = step.n if step.effective is None else max(1, round(step.effective))
    return clopper_pearson(min(worth, round(step.violations * worth / step.n)), worth)[0] > limit.allowed


def _bracket_of_one(tested: Sequence[_Counted], limit: LatencyLimit) -> tuple[float | None, float | None]:
    steps = [
        Step(rate_per_s=each.rate_per_s, n=each.n, violations=(each.violations,), lost=0, duration_s=1.0, block=0)
        for each in tested
    ]
    return bracket(steps, SLO(limits=(limit,)))


def _profile(steps: Sequence[_Counted], limit: LatencyLimit, closed_capacity_per_s: float) -> tuple[Floats, Floats]:
    """The log likelihood maximised over the bend at each share rho* of `_SHARES`, and these shares."""
    rho = np.array([step.rate_per_s for step in steps]) / closed_capacity_per_s
    n = np.array([step.n for step in steps], dtype=float)
    violations = np.array([step.violations for step in steps], dtype=float)
    worth = _design_effect(rho, n, violations, [step.effective for step in steps])
    unanswered = -math.log(limit.allowed)
    room = np.maximum(1 - rho, 0.002)[None, None, :] / (1 - _SHARES)[:, None, None]
    exponent = np.clip(unanswered * room ** _BENDS[None, :, None], 1e-9, 700.0)
    terms = -violations * exponent + (n - violations) * np.log(-np.expm1(-exponent))
    prior = -0.5 * (np.log(_BENDS) / _BEND_LOG_SD) ** 2
    likelihood = (terms / worth).sum(axis=2) + prior
    return np.asarray(likelihood.max(axis=1), dtype=np.float64), _SHARES


def _design_effect(rho: Floats, n: Floats, violations: Floats, effective: Sequence[float | None]) -> Floats:
    """How many requests of each step make one independent one: the busy-period bound, raised where and as the runs show.

    What a step without violations would have shown is unknown, so the excess seen in the others is applied to all.
    """
    busy = np.minimum(rho, _BUSIEST)
    bound = 1 / (1 - busy) + busy / (1 - busy) ** 2
    seen = np.array([size / known if known else 1.0 for size, known in zip(n, effective, strict=True)])
    telling = np.where((violations > 0) & (violations < n / 2), violations, 0.0)
    if telling.any():
        bound = bound * max(1.0, float((telling * seen).sum() / (telling * bound).sum()))
    return np.asarray(np.maximum(bound, seen), dtype=np.float64)
