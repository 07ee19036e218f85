"""The capacity under an SLO, as pure decisions: which rate to try next, and what all tried rates together say.

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

from harness.nouns import SLO, Estimate, Step
from harness.slo import md1_utilisation

LOWEST, HIGHEST = 0.1, 0.95
"""The searched rates as shares of the closed-loop throughput; above, an open queue has no steady state to measure."""
TOLERANCE = 1.05
"""Ratio of the lowest failing to the highest passing rate below which halving shows nothing new."""
PRECISE = 1.10
"""Ratio of the interval's ends at which the search is over before its budget is."""

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
class Probe:
    """The next rate to try, or None when the search is over; `reason` says why in either case."""

    rate_per_s: float | None
    reason: str


def next_rate(
    steps: Sequence[Step],
    slo: SLO,
    closed_capacity_per_s: float,
    *,
    budget: int,
    service_ms: float | None = None,
) -> Probe:
    """The rate worth trying after `steps`, by geometric bisection of [0.1 C, 0.95 C], until `budget` steps are made.

    The first guess is where an M/D/1 queue with service times of 1/C meets the limit once one unqueued service
    (`service_ms`, default 1/C) is taken off. A rate passes when its violation share, made monotone in the rate, is within the
    SLO's.
    """
    lowest, highest = LOWEST * closed_capacity_per_s, HIGHEST * closed_capacity_per_s
    if len(steps) >= budget:
        return Probe(rate_per_s=None, reason=f"all {budget} steps of the budget are made")
    if not steps:
        return Probe(rate_per_s=_first(slo, closed_capacity_per_s, service_ms), reason="where an M/D/1 queue meets the limit")
    passing, failing = _bracket(steps, slo)
    if failing is None and passing is not None:
        if passing >= 0.999 * highest:
            return Probe(rate_per_s=None, reason="the highest rate an open queue can sustain met the SLO")
        near = highest / passing < 1.25
        return Probe(rate_per_s=highest if near else math.sqrt(passing * highest), reason="every rate so far met the SLO")
    if passing is None and failing is not None:
        if failing <= 1.001 * lowest:
            return Probe(rate_per_s=None, reason="the lowest rate of the search broke the SLO")
        near = failing / lowest < 2
        return Probe(rate_per_s=lowest if near else math.sqrt(failing * lowest), reason="every rate so far broke the SLO")
    if passing is None or failing is None:
        raise ValueError("steps without a single request say nothing")
    return _between(steps, slo, closed_capacity_per_s, passing, failing)


def estimate(
    steps: Sequence[Step],
    slo: SLO,
    closed_capacity_per_s: float,
    *,
    effective: Sequence[float | None] | None = None,
) -> Estimate:
    """The highest rate (1/s) that meets the SLO, from all `steps` together, at most the closed-loop throughput.

    Penalised maximum likelihood under the module's model, kept within a quarter of the bracket of the highest passing and the
    lowest failing rate; the interval is the 95 % profile likelihood over the bend. A request in error counts as a violation,
    so the SLO's share covers both. `effective` gives, step by step, how many independent requests the run's violations are
    worth (`statistics.effective_n`); without it the busy-period bound alone applies.
    """
    used = [(step, None if effective is None else effective[i]) for i, step in enumerate(steps) if step.n > 0]
    if not used:
        return Estimate(value=None, low=None, high=None, reason="no rate was tested under open-loop load")
    if not 0 < closed_capacity_per_s < math.inf:
        return Estimate(value=None, low=None, high=None, reason="the closed-loop throughput was not measured")
    tested = [step for step, _ in used]
    passing, failing = _bracket(tested, slo)
    profile, shares = _profile(tested, [n for _, n in used], slo, closed_capacity_per_s)
    inside = np.flatnonzero(profile >= profile.max() - _DROP_95)
    low, high = shares[inside[0]] * closed_capacity_per_s, shares[inside[-1]] * closed_capacity_per_s
    if passing is None:
        first = min(tested, key=lambda step: step.rate_per_s)
        share = f"{100 * first.violations / first.n:.2g} % were slower or failed"
        reason = f"no tested rate met {slo}; at the lowest, {first.rate_per_s:.2g}/s, {share}"
        return Estimate(value=None, low=0.0, high=float(min(high, first.rate_per_s)), reason=reason)
    if failing is None:
        reason = f"every tested rate met {slo}, the highest was {passing:.3g}/s; the closed-loop throughput bounds it above"
        return Estimate(value=passing, low=float(min(low, passing)), high=max(closed_capacity_per_s, passing), reason=reason)
    # A server that slows down in some runs fits no single curve, and must not be called far slower than it was seen to be.
    fitted = shares[int(profile.argmax())] * closed_capacity_per_s
    value = float(np.clip(fitted, passing * (1 - _BEYOND_BRACKET), failing * (1 + _BEYOND_BRACKET)))
    return Estimate(value=value, low=float(min(low, value)), high=float(max(high, value)))


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


def _first(slo: SLO, closed_capacity_per_s: float, service_ms: float | None) -> float:
    turn_ms = 1e3 / closed_capacity_per_s
    wait = (slo.limit_ms - (turn_ms if service_ms is None else service_ms)) / turn_ms
    share = md1_utilisation(slo.quantile, 1 + wait)
    # A guess at an end would leave the bisection nothing to halve on one side.
    return min(0.9, max(1.5 * LOWEST, share)) * closed_capacity_per_s


def _bracket(steps: Sequence[Step], slo: SLO) -> tuple[float | None, float | None]:
    """(highest passing, lowest failing) rate; pooling makes the shares monotone, so the first is below the second."""
    ordered = sorted((step for step in steps if step.n > 0), key=lambda step: step.rate_per_s)
    shares = isotonic([step.violations / step.n for step in ordered], [step.n for step in ordered])
    # A share of exactly 1 - quantile passes; the sum of two binary fractions may miss it by an ulp.
    verdicts = [share <= (1 - slo.quantile) * (1 + 1e-9) for share in shares]
    passing = [step.rate_per_s for step, verdict in zip(ordered, verdicts, strict=True) if verdict]
    failing = [step.rate_per_s for step, verdict in zip(ordered, verdicts, strict=True) if not verdict]
    return max(passing, default=None), min(failing, default=None)


def _between(steps: Sequence[Step], slo: SLO, closed_capacity_per_s: float, passing: float, failing: float) -> Probe:
    """The middle of the bracket; once it is tight, more samples there, until the interval is tight too."""
    middle = math.sqrt(passing * failing)
    if failing / passing > TOLERANCE:
        return Probe(
            rate_per_s=middle, reason=f"between {passing:.3g}/s, which met the SLO, and {failing:.3g}/s, which did not"
        )
    found = estimate(steps, slo, closed_capacity_per_s)
    if found.low and found.high and found.high / found.low <= PRECISE:
        return Probe(rate_per_s=None, reason=f"the interval {found.low:.3g}-{found.high:.3g}/s is within {PRECISE - 1:.0%}")
    return Probe(rate_per_s=middle, reason=f"more samples at the limit: {passing:.3g}/s met the SLO, {failing:.3g}/s did not")


def _profile(
    steps: Sequence[Step], effective: Sequence[float | None], slo: SLO, closed_capacity_per_s: float
) -> tuple[Floats, Floats]:
    """The log likelihood maximised over the bend at each share rho* of `_SHARES`, and these shares."""
    rho = np.array([step.rate_per_s for step in steps]) / closed_capacity_per_s
    n = np.array([step.n for step in steps], dtype=float)
    violations = np.array([step.violations for step in steps], dtype=float)
    worth = _design_effect(rho, n, violations, effective)
    limit = -math.log(1 - slo.quantile)
    room = np.maximum(1 - rho, 0.002)[None, None, :] / (1 - _SHARES)[:, None, None]
    exponent = np.clip(limit * room ** _BENDS[None, :, None], 1e-9, 700.0)
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
