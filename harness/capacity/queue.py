"""The capacity from service times: the highest rate at which the queue that was seen would still meet each limit.

Counting violations at 10 requests a second takes minutes to tell 1 % from 2 %; the services behind every answer tell the whole
law of the queue in seconds, at any rate, as long as the server is the queue it is taken for (see `checks`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.capacity import simulate, transform
from harness.capacity.service import Pool
from harness.nouns import SLO, LatencyLimit
from harness.statistics import Z_95

Floats = NDArray[np.float64]

REPLICATES = 400
"""Bootstrap replicates; the ends of a 95 % interval then rest on ten of them each."""

_CHAINS = 600
_STEPS = 600
_RATES: Floats = np.exp(np.linspace(-0.08, 0.08, 3))
_ROUNDS = 3
_NUDGE = 0.02
_PROBES = 40
_LEAST_FREEDOM = 3.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The highest rates (1/s) that meet each limit: point shape (limits,), draws shape (replicates, limits); 0 is none."""

    point: Floats
    draws: Floats
    corrected: Floats
    """What simulation multiplied the arithmetic by, shape (limits,): several servers, or services that resemble neighbours."""
    acceleration: Floats
    """How fast the spread grows with the capacity, shape (limits,): Efron's a, for `interval`."""
    freedom: Floats
    """Degrees of freedom of the spread, shape (limits,)."""


def predict(pool: Pool, slo: SLO, servers: int, lost_share: float, rng: np.random.Generator) -> Prediction:
    """The capacities under every limit, and bootstrap draws of them.

    Draws are hierarchical: blocks of services are resampled within each start; as two or three starts cannot be resampled, the
    common shift of all starts is drawn from its posterior instead. A share `lost_share` of requests breaks every limit.
    """
    weights = np.vstack([np.ones(pool.service_ms.size), resampled(pool, rng)])
    shift = _start_shift(pool, rng)
    points, draws, corrections, shapes = [], [], [], []
    for limit in slo.limits:
        allowed = (limit.allowed - lost_share) / (1 - lost_share)
        found = _highest(pool, weights, servers, limit.limit_ms, allowed) if allowed > 0 else np.zeros(len(weights))
        correction, steep, noise = 1.0, 1.0, 0.0
        if found[0] > 0:
            steep = _sensitivity(pool, weights[:1], servers, limit.limit_ms, allowed)
            if servers > 1 or pool.block > 1:
                correction, noise = _corrected(pool, limit, allowed, servers, float(found[0]), rng)
        points.append(found[0] * correction)
        draws.append(found[1:] * correction * np.exp(noise * rng.standard_normal(REPLICATES) - steep * shift))
        corrections.append(correction)
        between = float(np.var(steep * shift))
        shapes.append(_shape(pool, servers, limit.limit_ms, allowed, between) if found[0] > 0 else (0.0, math.inf))
    bends, freedoms = zip(*shapes, strict=True)
    return Prediction(
        point=np.array(points),
        draws=np.column_stack(draws),
        corrected=np.array(corrections),
        acceleration=np.array(bends),
        freedom=np.array(freedoms),
    )


def interval(point: float, draws: Floats, acceleration: float, freedom: float = math.inf) -> tuple[float, float]:
    """The bias-corrected and accelerated 95 % bootstrap interval (Efron, 1987).

    Long services are rare and weigh much, so a sample that happens to hold few of them is both optimistic and too sure of
    itself; plain percentiles do not know that. Student's t in place of the normal allows for a spread that is itself a guess.
    """
    share = (np.count_nonzero(draws < point) + 0.5 * np.count_nonzero(draws == point)) / draws.size
    bias = float(stats.norm.ppf(np.clip(share, 0.5 / draws.size, 1 - 0.5 / draws.size)))
    ends = []
    reach = float(stats.t.ppf(0.975, freedom)) if math.isfinite(freedom) else Z_95
    for z in (-reach, reach):
        room = 1 - acceleration * (bias + z)
        ends.append(float(stats.norm.cdf(bias + (bias + z) / room)) if room > 0 else float(z > 0))
    low, high = np.quantile(draws, ends)
    return float(min(low, point)), float(max(high, point))


def shares(pool: Pool, limit: LatencyLimit, servers: int, rates_per_s: Floats) -> Floats:
    """The share of requests slower than a limit at each rate, by the arithmetic alone; for drawing the curve."""
    law = _laws(pool, np.ones((1, pool.service_ms.size)), servers, limit.limit_ms)
    return np.array([float(transform.slower(law, np.array([rate]))[0]) for rate in rates_per_s])


def highest(pool: Pool, limit: LatencyLimit, servers: int, lost_share: float) -> float:
    """The highest rate (1/s) that meets one limit, by the arithmetic alone; 0 is none."""
    allowed = (limit.allowed - lost_share) / (1 - lost_share)
    if allowed <= 0:
        return 0.0
    return float(_highest(pool, np.ones((1, pool.service_ms.size)), servers, limit.limit_ms, allowed)[0])


def _highest(pool: Pool, weights: Floats, servers: int, limit_ms: float, allowed: float) -> Floats:
    law = _laws(pool, weights, servers, limit_ms)
    return transform.highest_rates(law, allowed)


def _laws(pool: Pool, weights: Floats, servers: int, limit_ms: float) -> transform.Laws:
    idle, busy = pool.subset(False), pool.subset(True)
    return transform.laws(
        pool.service_ms[idle],
        normalised(weights[:, idle]),
        pool.service_ms[busy],
        normalised(weights[:, busy]),
        servers,
        limit_ms,
    )


def normalised(weights: Floats) -> Floats:
    """Rows that add up to 1; a resample that missed a whole pool falls back on all of it."""
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, weights, 1.0) / np.where(total > 0, total, weights.shape[1]), dtype=np.float64)


def resampled(pool: Pool, rng: np.random.Generator, replicates: int = REPLICATES) -> Floats:
    """How often each service is drawn, shape (replicates, n); blocks, within each start."""
    counts = np.zeros((replicates, pool.service_ms.size))
    for k in range(pool.starts):
        own = np.flatnonzero(pool.start == k)
        drawn = own[simulate.blocks(own.size, own.size, pool.block, replicates, rng)]
        flat = drawn + np.arange(replicates) * pool.service_ms.size
        counts += np.bincount(flat.ravel(), minlength=counts.size).reshape(counts.shape)
    return counts


def _start_shift(pool: Pool, rng: np.random.Generator) -> Floats:
    """How far the mean over the starts that were made lies from that over all that might be, in ln service time."""
    sizes = np.bincount(pool.start, minlength=pool.starts) / pool.start.size
    spread = rng.choice(pool.start_sds, size=REPLICATES, p=pool.start_weights)
    return np.asarray(rng.standard_normal(REPLICATES) * spread * math.sqrt(float((sizes**2).sum())), dtype=np.float64)


def _sensitivity(pool: Pool, weights: Floats, servers: int, limit_ms: float, allowed: float) -> float:
    """By how many percent the capacity falls when all services grow by one percent.

    Time has no scale of its own: services m times as long under a limit x give 1/m of the rate under a limit x/m.
    """
    tighter = float(_highest(pool, weights, servers, limit_ms * (1 - _NUDGE), allowed)[0])
    looser = float(_highest(pool, weights, servers, limit_ms * (1 + _NUDGE), allowed)[0])
    if tighter <= 0:
        return 1.0 / _NUDGE
    return 1 + math.log(looser / tighter) / math.log((1 + _NUDGE) / (1 - _NUDGE))


def _shape(pool: Pool, servers: int, limit_ms: float, allowed: float, between: float) -> tuple[float, float]:
    """(acceleration, degrees of freedom) of the estimate; `between` is the variance between starts.

    The first is a sixth of the skewness of the influence function (Efron, 1987), the second says how well its variance, the
    estimate's own, is known (Satterthwaite, 1946).

    The influence of a service is what one more of its kind does to ln capacity; it is smooth in the service time, so it is
    computed for some of them and interpolated.
    """
    influence = np.empty(pool.service_ms.size)
    for busy in (False, True) if pool.separate else (False,):
        places = pool.subset(busy)
        order = places[np.argsort(pool.service_ms[places], kind="stable")]
        some = order[np.unique(np.linspace(0, order.size - 1, _PROBES).round().astype(int))]
        weights = np.ones((some.size + 1, pool.service_ms.size))
        weights[np.arange(some.size), some] += 1
        found = np.maximum(_highest(pool, weights, servers, limit_ms, allowed), 1e-9)
        influence[places] = np.interp(pool.service_ms[places], pool.service_ms[some], np.log(found[:-1] / found[-1]))
    centred = influence - influence.mean()
    own = float((centred**2).sum())
    spread, wobble = own + between, float((centred**4).sum()) - own**2 / centred.size
    if spread <= 0:
        return 0.0, math.inf
    freedom = 2 * spread**2 / wobble if wobble > 0 else math.inf
    return float((centred**3).sum()) / (6 * spread**1.5), max(freedom, _LEAST_FREEDOM)


def _corrected(
    pool: Pool, limit: LatencyLimit, allowed: float, servers: int, guess: float, rng: np.random.Generator
) -> tuple[float, float]:
    """What the capacity `guess` must be multiplied by to meet the limit in a simulated queue of these services, and how noisy
    that is (standard deviation of its logarithm).

    All rates share the same arrivals (but for their scale) and services, so the noise of the simulation hardly moves the slope.
    """
    saturated = 1e3 * servers / float(pool.service_ms[pool.subset(True)].mean())
    centre, noise = guess, 0.0
    for _ in range(_ROUNDS):
        rates = np.minimum(centre * _RATES, 0.985 * saturated)
        by_chain = _simulated_shares(pool, limit.limit_ms, servers, rates, rng)
        seen = by_chain.mean(axis=1)
        if (seen <= 0).any() or np.ptp(rates) <= 0:
            break
        slope, level = np.polyfit(np.log(rates), np.log(seen), 1)
        if slope <= 0:
            break
        noise = float(by_chain[1].std() / math.sqrt(_CHAINS) / seen[1] / slope)
        root = math.exp((math.log(allowed) - level) / slope)
        centre = float(np.clip(root, 0.7 * centre, min(1.3 * centre, 0.985 * saturated)))
        if rates[0] <= root <= rates[-1]:
            break
    return centre / guess, noise


def _simulated_shares(pool: Pool, limit_ms: float, servers: int, rates_per_s: Floats, rng: np.random.Generator) -> Floats:
    """The share slower than the limit, shape (rates, chains), after each queue forgot that it started empty."""
    rho = float(rates_per_s.max() * pool.service_ms[pool.subset(True)].mean() / 1e3 / servers)
    settle = int(min(1500, 20 + 3 * servers / (1 - math.sqrt(rho)) ** 2))
    gaps = rng.exponential(1e3, size=(settle + _STEPS, 1, _CHAINS)) / rates_per_s[None, :, None]
    wide = (settle + _STEPS, rates_per_s.size * _CHAINS)
    idle = np.tile(drawn(pool, pool.subset(False), settle + _STEPS, _CHAINS, rng), rates_per_s.size)
    busy = np.tile(drawn(pool, pool.subset(True), settle + _STEPS, _CHAINS, rng), rates_per_s.size) if pool.separate else idle
    found = simulate.sojourn_ms(gaps.reshape(wide), idle, busy, servers)[settle:]
    slow = (found > limit_ms).reshape(_STEPS, rates_per_s.size, _CHAINS)
    return np.asarray(slow.mean(axis=0), dtype=np.float64)


def drawn(pool: Pool, places: NDArray[np.int64], length: int, chains: int, rng: np.random.Generator) -> Floats:
    """Services for `chains` queues, shape (length, chains), neighbours together."""
    picked = simulate.blocks(places.size, length, pool.block, chains, rng)
    return np.asarray(pool.service_ms[places[picked]], dtype=np.float64)
