"""What a queue does on paper: sojourn times (wait and service) under Poisson arrivals, and the rate a limit allows. Pure.

Exact for M/M/c, M/D/1 and any law without a queue; for other laws on one server (M/G/1) between two bounds that hold up to
rounding and close in as the grid gets finer. Sources: Gross and Harris, Fundamentals of Queueing Theory, chapters 2 and 5
(Erlang C, Pollaczek and Khinchine); the bounds round every residual service up or down to the grid, and sums of stochastically
ordered times are ordered (Shaked and Shanthikumar, Stochastic Orders, section 1.A).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, signal

from harness.slo import md1_wait_cdf
from harness.truth.discipline import Stall
from harness.truth.law import Constant, Exponential, Law

GRID = 1 << 14
"""Points of the grid on which an M/G/1 queue is computed."""

_CLOSEST = 1 - 1e-6
"""The highest utilisation looked at."""


class NoFormula(ValueError):
    """There is no exact formula for this queue (several servers, services not exponential)."""


def erlang_c(servers: int, offered: float) -> float:
    """P(an arrival has to wait) in M/M/c; `offered` = rate × mean service, below `servers`. By the recursion of Erlang's B."""
    if not 0 <= offered < servers:
        raise ValueError(f"a stable queue of {servers} servers is offered 0 to {servers}, not {offered}")
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return servers * blocked / (servers - offered * (1 - blocked))


def sojourn_mean_s(law: Law, servers: int | None, rate_per_s: float) -> float:
    """E[T]. Erlang C for exponential services, Pollaczek and Khinchine's formula for one server; infinite where the law has no
    second moment. Raises NoFormula, and ValueError for a queue that grows for ever."""
    if servers is None:
        return law.mean_s
    offered = _offered(law, servers, rate_per_s)
    if isinstance(law, Exponential):
        return law.mean_s + erlang_c(servers, offered) * law.mean_s / (servers - offered)
    if servers > 1:
        raise NoFormula(f"no formula for {servers} servers unless services are exponential")
    return law.mean_s + rate_per_s * law.second_moment_s2 / (2 * (1 - offered))


def sojourn_cdf(law: Law, servers: int | None, rate_per_s: float, time_s: float) -> float:
    """P(T <= t); for M/G/1 the middle of its bounds. Raises as `sojourn_mean_s`."""
    low, high = sojourn_cdf_bounds(law, servers, rate_per_s, time_s)
    return (low + high) / 2


def sojourn_cdf_bounds(law: Law, servers: int | None, rate_per_s: float, time_s: float) -> tuple[float, float]:
    """Two values with P(T <= t) between them, equal where it is known exactly. Raises as `sojourn_mean_s`."""
    if time_s <= 0:
        return 0.0, 0.0
    if servers is None:
        exact = float(law.cdf(np.array([time_s]))[0])
        return exact, exact
    offered = _offered(law, servers, rate_per_s)
    if isinstance(law, Exponential):
        exact = 1 - _mmc_beyond(servers, offered, time_s / law.mean_s)
        return exact, exact
    if servers > 1:
        raise NoFormula(f"no formula for {servers} servers unless services are exponential")
    if isinstance(law, Constant):
        exact = md1_wait_cdf(offered, time_s / law.value_s - 1)
        return exact, exact
    slow, fast = (_mg1_sojourn_cdf(law, rate_per_s, time_s, up=up)[-1] for up in (True, False))
    return float(slow), float(fast)


def sojourn_quantile_s(law: Law, servers: int | None, rate_per_s: float, share: float) -> float:
    """The smallest t with P(T <= t) >= share, to one part in 10,000 (M/G/1: of `sojourn_cdf`). Raises as `sojourn_mean_s`."""
    if servers is None:
        return float(law.quantiles_s(np.array([share]))[0])
    mean_s = sojourn_mean_s(law, servers, rate_per_s)
    low, high = 0.0, mean_s if math.isfinite(mean_s) else law.mean_s
    while sojourn_cdf(law, servers, rate_per_s, high) < share:
        high *= 2
    if not isinstance(law, Exponential | Constant):
        bounds = [_mg1_sojourn_cdf(law, rate_per_s, high, up=up) for up in (True, False)]
        return float(np.searchsorted((bounds[0] + bounds[1]) / 2, share)) * high / GRID
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        if sojourn_cdf(law, servers, rate_per_s, middle) < share:
            low = middle
        else:
            high = middle
    return high


def capacity_per_s(law: Law, servers: int | None, share: float, limit_s: float) -> float:
    """The highest Poisson rate at which the `share` quantile of the sojourn is within the limit: 0 when one service alone is
    not, infinite without a queue when it is. Raises NoFormula."""
    alone = float(law.cdf(np.array([limit_s]))[0])
    if servers is None or alone < share:
        return math.inf if alone >= share else 0.0
    saturation = servers / law.mean_s

    def spare(rate_per_s: float) -> float:
        return sojourn_cdf(law, servers, rate_per_s, limit_s) - share

    low, high = 1e-6 * saturation, _CLOSEST * saturation
    if spare(low) < 0:
        return 0.0
    if spare(high) >= 0:
        return high
    return float(optimize.brentq(spare, low, high, rtol=1e-6))


def stalled_quantile_s(service_s: float, stall: Stall, share: float) -> float:
    """The quantile of the time to an answer when the service is constant, nobody queues, and arrivals are even over the stalls'
    period: P(held longer than x) = (length - x) / period."""
    return service_s + max(0.0, stall.length_s - (1 - share) * stall.period_s)


def stalled_mean_s(service_s: float, stall: Stall) -> float:
    """The mean of the same."""
    return service_s + stall.length_s**2 / (2 * stall.period_s)


def _offered(law: Law, servers: int, rate_per_s: float) -> float:
    """The servers' work per second. Raises ValueError when it is more than they can do."""
    offered = rate_per_s * law.mean_s
    if not 0 <= offered < servers:
        raise ValueError(
            f"{rate_per_s:g}/s of {law.mean_s:g} s each is more than {servers} servers can do: the queue grows for ever"
        )
    return offered


def _mmc_beyond(servers: int, offered: float, time: float) -> float:
    """P(T > t) in M/M/c, t in units of the mean service (Gross and Harris, chapter 2)."""
    wait = erlang_c(servers, offered)
    spare = servers - offered - 1  # 1 less than the rate at which waiting ends: at 0 the two exponentials become one
    held = time if abs(spare) < 1e-9 else -math.expm1(-spare * time) / spare
    return math.exp(-time) * (1 + wait * held)


def _mg1_sojourn_cdf(law: Law, rate_per_s: float, horizon_s: float, *, up: bool) -> NDArray[np.float64]:
    """P(T <= k h) at h = horizon / GRID, k = 0..GRID, with every time rounded up (down) to the grid: below (above) the truth.

    The wait is a geometric number of residual services (Pollaczek and Khinchine), whose generating function is
    (1 - rho) / (1 - rho F(z)); its series is inverted exactly, so what lies beyond the horizon does not matter.
    """
    grid = np.linspace(0.0, horizon_s, GRID + 1)
    rho = rate_per_s * law.mean_s
    residual = _on_grid(law.limited_mean_s(grid) / law.mean_s, up=up)
    series = -rho * residual
    series[0] += 1
    wait = (1 - rho) * _inverse_series(series)
    service = _on_grid(law.cdf(grid), up=up)
    sojourn = signal.fftconvolve(wait, service)[: GRID + 1]
    return np.clip(np.cumsum(sojourn), 0.0, 1.0)


def _on_grid(cdf: NDArray[np.float64], *, up: bool) -> NDArray[np.float64]:
    """Probabilities of the grid's points when times between two of them count as the upper (lower) one."""
    steps = np.diff(cdf)
    return np.concatenate(([cdf[0]], steps)) if up else np.concatenate(([cdf[1]], steps[1:], [0.0]))


def _inverse_series(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """The power series 1 / series to the same length, by Newton's iteration: each round doubles the terms that are right."""
    inverse = np.array([1 / series[0]])
    while inverse.size < series.size:
        length = min(2 * inverse.size, series.size)
        product = signal.fftconvolve(series[:length], inverse)[:length]
        product = -product
        product[0] += 2
        inverse = signal.fftconvolve(inverse, product)[:length]
    return inverse
