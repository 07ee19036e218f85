"""The service level objective: how it is written, what it is by default, and what load it allows an ideal server."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from scipy import optimize, special

from harness.errors import UsageError
from harness.nouns import DEFAULT_ERROR_RATIO, SLO, LatencyLimit

_LATENCY = re.compile(r"p(\d+(?:\.\d+)?)\s*<=?\s*(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s)", re.IGNORECASE)
_ERRORS = re.compile(r"errors?\s*<=?\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)", re.IGNORECASE)
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_EXAMPLE = 'for example "p99<100ms" or "p99<=0.1s,p50<20ms,errors<0.5%"'

DEFAULT_SERVICES = 5.0
"""The default limit in multiples of the fastest service time."""
DEFAULT_FLOOR_MS = 5.0
"""Below this, timer and network jitter would decide instead of the model."""


def parse(text: str) -> SLO:
    """Read one or several `pQ<LIMIT`, each with a limit in us, ms or s, and at most one `errors<E%`, separated by commas.

    `<` and `<=` mean the same. Raises UsageError that names what was not understood.
    """
    parts = [part.strip() for part in text.split(",")]
    errors = [part for part in parts if part.lower().startswith("error")]
    limits = [_limit(text, part) for part in parts if part not in errors]
    if not limits:
        raise UsageError(f'the SLO "{text}": at least one latency limit is needed; write {_EXAMPLE}')
    _check_once(text, [limit.quantile for limit in limits], len(errors))
    ratio = _error_ratio(text, errors[0]) if errors else DEFAULT_ERROR_RATIO
    return SLO(limits=tuple(limits), max_error_ratio=ratio)


def _limit(text: str, part: str) -> LatencyLimit:
    match = _LATENCY.fullmatch(part)
    if match is None:
        raise UsageError(f'the SLO "{text}": did not understand "{part}" as a latency limit; write {_EXAMPLE}')
    percent, limit_ms = float(match[1]), float(match[2]) * _MS[match[3].lower()]
    if not 0 < percent < 100:
        raise UsageError(f'the SLO "{text}": a percentile lies between 0 and 100, not at {percent:g}; write {_EXAMPLE}')
    # 99.9 / 100 is 0.9990000000000001 in binary; ranks and labels want 0.999. The same for a limit given in us.
    quantile, limit_ms = round(percent / 100, 9), float(f"{limit_ms:.12g}")
    if not 0 < quantile < 1:
        raise UsageError(f'the SLO "{text}": p{match[1]} is nearer to 0 or 100 than can be told; write {_EXAMPLE}')
    if not 0 < limit_ms < math.inf:
        raise UsageError(f'the SLO "{text}": the limit must be longer than 0 ms and finite; write {_EXAMPLE}')
    return LatencyLimit(quantile=quantile, limit_ms=limit_ms)


def _error_ratio(text: str, part: str) -> float:
    match = _ERRORS.fullmatch(part)
    if match is None:
        raise UsageError(f'the SLO "{text}": did not understand "{part}" as an error limit; write {_EXAMPLE}')
    ratio = float(match[1]) / (100 if match[2] else 1)
    if not 0 <= ratio < 1:
        raise UsageError(f'the SLO "{text}": the error limit must be below 100 % (a bare number is a ratio); write {_EXAMPLE}')
    return round(ratio, 12)


def _check_once(text: str, quantiles: Sequence[float], errors: int) -> None:
    twice = next((quantile for quantile in quantiles if quantiles.count(quantile) > 1), None)
    if twice is not None:
        raise UsageError(f'the SLO "{text}": p{100 * twice:g} is limited more than once; keep the limit that counts')
    if errors > 1:
        raise UsageError(f'the SLO "{text}": errors are limited more than once; write {_EXAMPLE}')


def default_slo(fastest_service_p50_ms: float) -> SLO:
    """p99 within five times the fastest candidate's median service time, rounded up to two significant digits, at least 5 ms.

    At five service times a single server with constant service times and Poisson arrivals (M/D/1) meets p99 up to
    56 % utilisation (`md1_utilisation(0.99, 5)`): loaded enough for capacity to count, not so near saturation that the noise of
    queueing decides.
    """
    if not 0 < fastest_service_p50_ms < math.inf:
        raise ValueError(f"a service time is longer than 0 ms, got {fastest_service_p50_ms}")
    limit_ms = max(DEFAULT_FLOOR_MS, _round_up(DEFAULT_SERVICES * fastest_service_p50_ms))
    ratio = limit_ms / fastest_service_p50_ms
    share = md1_utilisation(0.99, ratio)
    source = (
        f"default: {DEFAULT_SERVICES:g} x the fastest service p50 of {fastest_service_p50_ms:.3g} ms, rounded up, at least "
        f"{DEFAULT_FLOOR_MS:g} ms; an M/D/1 queue meets it up to {100 * share:.0f} % utilisation"
    )
    return SLO(limits=(LatencyLimit(quantile=0.99, limit_ms=limit_ms),), source=source)


def _round_up(value_ms: float) -> float:
    """The next number with two significant digits; the division is rounded first so that 50 stays 50."""
    unit = 10.0 ** (math.floor(math.log10(value_ms)) - 1)
    return float(f"{math.ceil(round(value_ms / unit, 6)) * unit:.2g}")


def md1_wait_cdf(utilisation: float, wait_in_services: float) -> float:
    """P(W <= w) of the waiting time W in an M/D/1 queue, both in units of the service time.

    Erlang (1909): P(W <= w) = (1 - rho) Σ_{k=0}^{floor(w)} e^{-rho (k - w)} (rho (k - w))^k / k!. The terms alternate and grow
    like e^{rho w}, so above 20 services the exponential tail takes over: P(W > w) falls by e^{-theta} per service,
    theta being the positive root of rho (e^theta - 1) = theta.
    """
    if not 0 <= utilisation < 1:
        raise ValueError(f"a stable queue has a utilisation in 0..1, got {utilisation}")
    if wait_in_services < 0:
        return 0.0
    if utilisation == 0:
        return 1.0
    exact = min(wait_in_services, 20.0)
    k = np.arange(math.floor(exact) + 1)
    lag = utilisation * (exact - k)
    magnitude = np.exp(lag + special.xlogy(k, lag) - special.gammaln(k + 1))
    below = (1 - utilisation) * math.fsum(np.where(k % 2 == 0, magnitude, -magnitude))
    theta = optimize.brentq(lambda t: utilisation * math.expm1(t) - t, -math.log(utilisation), 60.0)
    tail = max(0.0, 1 - below) * math.exp(-float(theta) * (wait_in_services - exact))
    return min(1.0, max(0.0, 1 - tail))


def md1_utilisation(quantile: float, limit_in_services: float) -> float:
    """Highest utilisation at which the `quantile` of an M/D/1 sojourn (wait and one service) is within the limit.

    The limit is in units of the service time; 0 when it is shorter than one service.
    """
    wait = limit_in_services - 1
    if wait < 0 or md1_wait_cdf(1e-9, wait) < quantile:
        return 0.0
    highest = 1 - 1e-6
    if md1_wait_cdf(highest, wait) >= quantile:
        return highest
    return float(optimize.brentq(lambda rho: md1_wait_cdf(rho, wait) - quantile, 1e-9, highest, xtol=1e-9))
