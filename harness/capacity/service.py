"""The law of service behind several runs: its two pools, how far starts differ, how far neighbours resemble each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.capacity.runs import Services
from harness.statistics import effective_n

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

START_SD = 0.01
"""Prior guess of the standard deviation of ln service time between starts of one server on one machine."""
START_DF = 4.0
"""How many starts that guess is worth."""

_POOL_LEAST = 20
"""Fewest services that make a pool of their own."""
_POOL_P = 0.01
_CORRELATED = 1.6
"""Samples per independent one above which services count as correlated; the estimate is above 1 for independent ones too."""
_SD_GRID: Floats = np.geomspace(START_SD / 30, 0.5, 160)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool:
    """All services, ms, in the order due, run after run; arrays of shape (n,). `start` numbers the server starts."""

    service_ms: Floats
    busy: Bools
    start: NDArray[np.int64]
    separate: bool
    """Whether services of requests that found others there differ from the rest; if not, all make one law."""
    block: int
    """How many neighbours are drawn together so that what they have in common survives."""
    start_sd: float
    """Between starts, of ln service time: posterior mean."""
    start_sds: Floats
    start_weights: Floats
    """The posterior of that standard deviation on a grid."""

    @property
    def starts(self) -> int:
        return int(self.start.max()) + 1 if self.start.size else 0

    def subset(self, busy: bool) -> NDArray[np.int64]:
        """Places of the services that make the law of busy, or of idle, servers."""
        return np.flatnonzero(self.busy == busy) if self.separate else np.arange(self.service_ms.size)


def pool(found: Sequence[Services]) -> Pool:
    """Put the services of all runs together."""
    names = tuple(dict.fromkeys(each.start for each in found))
    service = np.concatenate([each.service_ms for each in found])
    busy = np.concatenate([each.busy for each in found])
    start = np.concatenate([np.full(each.service_ms.size, names.index(each.start)) for each in found])
    tau = _correlation_time(found)
    tau = tau if tau > _CORRELATED else 1.0
    weights = _start_posterior(service, start, tau)
    return Pool(
        service_ms=service,
        busy=busy,
        start=start,
        separate=_differ(service, busy, start),
        block=int(np.clip(math.ceil(5 * tau), 1, max(1, service.size // 8))) if tau > 1 else 1,
        start_sd=float(_SD_GRID @ weights),
        start_sds=_SD_GRID,
        start_weights=weights,
    )


def _differ(service: Floats, busy: Bools, start: NDArray[np.int64]) -> bool:
    """Whether the two pools' laws differ (Kolmogorov and Smirnov), starts put on one scale; False when one is too small."""
    if min(int(busy.sum()), int((~busy).sum())) < _POOL_LEAST:
        return False
    level = np.array([np.median(service[start == k]) for k in range(int(start.max()) + 1)])
    # The clock's own grain is no difference.
    scaled = np.round(service / level[start], 3)
    return bool(stats.ks_2samp(scaled[busy], scaled[~busy]).pvalue < _POOL_P)


def _correlation_time(found: Sequence[Services]) -> float:
    """Samples per independent one, by runs: 1 for independent services."""
    sizes = np.array([each.service_ms.size for each in found if each.service_ms.size > 1], dtype=float)
    if not sizes.size:
        return 1.0
    independent = sum(effective_n(np.log(each.service_ms)) for each in found if each.service_ms.size > 1)
    return float(sizes.sum() / independent)


def _start_posterior(service: Floats, start: NDArray[np.int64], tau: float) -> Floats:
    """The posterior of the standard deviation between starts, on `_SD_GRID`.

    A scaled inverse chi-square prior (`START_SD`, `START_DF`), as in empirical Bayes variance moderation (Smyth, 2004): two or
    three starts alone say next to nothing about their spread. Each start's mean is normal with the error its services give it;
    the common mean is integrated out.
    """
    log_prior = -(START_DF + 1) * np.log(_SD_GRID) - START_DF * START_SD**2 / (2 * _SD_GRID**2)
    # The grid is geometric: its spacing is part of the measure.
    log_posterior = log_prior + np.log(_SD_GRID)
    means, errors = [], []
    for k in range(int(start.max()) + 1 if start.size else 0):
        own = service[start == k]
        if own.size > 1:
            means.append(math.log(own.mean()))
            errors.append(float(own.var(ddof=1)) / own.mean() ** 2 * tau / own.size)
    if len(means) > 1:
        variance = np.array(errors)[:, None] + _SD_GRID**2
        precision = 1 / variance
        centre = (precision * np.array(means)[:, None]).sum(axis=0) / precision.sum(axis=0)
        misfit = ((np.array(means)[:, None] - centre) ** 2 * precision).sum(axis=0)
        log_posterior = log_posterior - 0.5 * (np.log(variance).sum(axis=0) + np.log(precision.sum(axis=0)) + misfit)
    weights = np.exp(log_posterior - log_posterior.max())
    return np.asarray(weights / weights.sum(), dtype=np.float64)
