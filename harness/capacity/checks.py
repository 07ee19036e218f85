"""Is the server the queue it is taken for? Each check looks for one way in which it is not; one is enough to distrust it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.capacity import simulate
from harness.capacity.finding import Check
from harness.capacity.runs import OpenRun, Services
from harness.capacity.service import Pool
from harness.nouns import SLO
from harness.statistics import clopper_pearson, nearest_rank

Floats = NDArray[np.float64]

IMPOSSIBLE = 0.02
"""Share of services of no time at all above which answers come in batches, or there are more servers than assumed."""
STALL = 20.0
"""Ratio to the median above which a service was a pause of the server; a tenth of the allowed share may be."""
CROWDED = 1.15
"""Ratio of services beside others to services alone above which several servers are in each other's way."""
TREND = 0.08
"""Change of ln service time from the lowest to the highest rate above which load changes the law."""
FEW_RUNS, TREND_OF_FEW = 4, 0.25
"""With fewer runs a trend cannot be told from a machine that was slower in one of them, which makes the interval wider instead;
only a change of this size is load's doing beyond doubt."""
CLOSED = 1.5
"""Ratio of the closed loop's throughput to what these services allow above which the number of servers is wrong: a second
server doubles it, a machine that was slower later may raise it by a third."""

_REPLICATES = 300
_CHECKED = 4000
"""Requests simulated in all, from the beginning of each run."""
_QUANTILES = (0.5, 0.9, 0.99)
_RATIO = 1.12
"""A quantile predicted within this factor is good enough for a capacity within a few percent."""
_P = 0.004


def judge(
    runs: Sequence[OpenRun],
    services: Sequence[Services],
    pool: Pool,
    slo: SLO,
    servers: int,
    closed_capacity_per_s: float | None,
    rng: np.random.Generator,
) -> tuple[Check, ...]:
    """All checks, in the order in which their failures explain each other."""
    return (
        _errors(runs, slo),
        _impossible(services),
        _stalls(pool, slo),
        _closed(pool, servers, closed_capacity_per_s),
        _crowding(pool, servers),
        _trend(services, pool),
        _predictive(runs, pool, slo, servers, rng),
    )


def _errors(runs: Sequence[OpenRun], slo: SLO) -> Check:
    n, lost = sum(run.n for run in runs), sum(int((~run.answered).sum()) for run in runs)
    low = clopper_pearson(lost, n)[0] if n else 0.0
    passed = low <= slo.max_error_ratio
    return Check(name="errors", passed=passed, said=f"{lost} of {n} requests were lost, {slo.max_error_ratio:.2%} may be")


def _impossible(services: Sequence[Services]) -> Check:
    n = sum(each.service_ms.size for each in services)
    share = sum(each.impossible * each.service_ms.size for each in services) / n
    return Check(
        name="order",
        passed=share <= IMPOSSIBLE,
        said=f"{share:.1%} of answers came together with another one or before an earlier one, {IMPOSSIBLE:.0%} may",
    )


def _stalls(pool: Pool, slo: SLO) -> Check:
    """Pauses come by the clock and not by the request, so what share of requests they hit changes with the rate otherwise."""
    long = int((pool.service_ms > STALL * np.median(pool.service_ms)).sum())
    least = min(limit.allowed for limit in slo.limits) / 10
    said = f"{long} of {pool.service_ms.size} services took more than {STALL:g} times the median"
    return Check(name="stalls", passed=long <= least * pool.service_ms.size, said=said)


def _closed(pool: Pool, servers: int, closed_capacity_per_s: float | None) -> Check:
    most = 1e3 * servers / float(pool.service_ms[pool.subset(True)].mean())
    if closed_capacity_per_s is None:
        return Check(name="servers", passed=True, said="no closed loop to compare with")
    ratio = closed_capacity_per_s / most
    said = f"the closed loop gave {closed_capacity_per_s:.3g}/s, {servers} servers with these services {most:.3g}/s"
    return Check(name="servers", passed=ratio <= CLOSED, said=said)


def _crowding(pool: Pool, servers: int) -> Check:
    """One server's busy law may be anything: it has a law of its own in the model."""
    alone, beside = pool.service_ms[~pool.busy], pool.service_ms[pool.busy]
    if servers == 1 or min(alone.size, beside.size) < 10:
        return Check(name="crowding", passed=True, said="one server, or too few services to compare")
    ratio = float(beside.mean() / alone.mean())
    error = math.sqrt(sum(float(part.var(ddof=1)) / part.size / float(part.mean()) ** 2 for part in (alone, beside)))
    passed = math.log(ratio) <= math.log(CROWDED) + 2 * error
    return Check(name="crowding", passed=passed, said=f"services beside others take {ratio:.2f} times those alone")


def _trend(services: Sequence[Services], pool: Pool) -> Check:
    """Weighted least squares of ln mean service on ln rate; starts may differ by what starts differ."""
    usable = [each for each in services if each.service_ms.size >= 10]
    rates = np.log(np.array([each.rate_per_s for each in usable]))
    if np.unique(rates).size < 2:
        return Check(name="trend", passed=True, said="one rate only")
    level = np.array([math.log(float(each.service_ms.mean())) for each in usable])
    error = np.array(
        [float(each.service_ms.var(ddof=1)) / each.service_ms.size / float(each.service_ms.mean()) ** 2 for each in usable]
    )
    weight = 1 / (error + pool.start_sd**2)
    centred = rates - np.average(rates, weights=weight)
    scale = float((weight * centred**2).sum())
    change = float((weight * centred * level).sum()) / scale * float(np.ptp(rates))
    # What the line leaves unexplained is noise from run to run, whatever its cause.
    left = level - np.average(level, weights=weight) - change / float(np.ptp(rates)) * centred
    unexplained = float((weight * left**2).sum()) / (len(usable) - 2) if len(usable) > 2 else 1.0
    noise = float(np.ptp(rates)) * math.sqrt(max(1.0, unexplained) / scale)
    passed = abs(change) <= (TREND if len(usable) >= FEW_RUNS else TREND_OF_FEW) or abs(change) <= 3 * noise
    said = f"services change by {math.expm1(change):+.1%} from lowest to highest rate"
    return Check(name="trend", passed=passed, said=said)


def _predictive(runs: Sequence[OpenRun], pool: Pool, slo: SLO, servers: int, rng: np.random.Generator) -> Check:
    """Posterior predictive check (Rubin, 1984): each run again with its own arrivals and services drawn from the pool.

    The worst standardised deviation over all runs and statistics is compared with that of the simulated runs, so looking at
    many costs nothing. A contradiction also has to be large enough to matter.
    """
    worst, gravest, deviations = 0.0, "every step is as predicted", np.zeros(_REPLICATES)
    each = max(50, _CHECKED // max(1, len(runs)))
    for run in runs:
        size = min(run.n, each)
        if size < 20:
            continue
        predicted, seen = (
            _statistics(_replayed(run, pool, servers, size, rng), slo),
            _statistics(run.latency_ms[:size, None], slo),
        )
        centre, spread = np.median(predicted, axis=0), predicted.std(axis=0)
        spread = np.maximum(spread, _floor(centre, size, len(_QUANTILES)))
        deviations = np.maximum(deviations, np.max(np.abs(predicted - centre) / spread, axis=1))
        off = np.abs(seen[0] - centre) / spread
        matters = _matters(seen[0], centre, size)
        for place in np.flatnonzero(matters & (off > worst)):
            worst = float(off[place])
            gravest = f"at {run.rate_per_s:.3g}/s {_said(int(place), float(seen[0, place]), float(centre[place]), slo)}"
    passed = float((deviations >= worst).mean()) > _P
    return Check(name="prediction", passed=passed, said=gravest)


def _replayed(run: OpenRun, pool: Pool, servers: int, size: int, rng: np.random.Generator) -> Floats:
    """Sojourns, shape (size, replicates), of simulated starts under the run's own arrivals."""
    gaps = np.diff(run.due_ms[:size], prepend=run.due_ms[0])[:, None]
    drawn = []
    for busy in (False, True):
        places = pool.subset(busy)
        drawn.append(pool.service_ms[places[simulate.blocks(places.size, size, pool.block, _REPLICATES, rng)]])
    shift = np.exp(rng.standard_normal(_REPLICATES) * pool.start_sd)
    return simulate.sojourn_ms(gaps, drawn[0] * shift, (drawn[1] if pool.separate else drawn[0]) * shift, servers)


def _statistics(latency_ms: Floats, slo: SLO) -> Floats:
    """ln of the quantiles, then the violation share of each limit; shape (replicates, statistics)."""
    ordered = np.sort(latency_ms, axis=0)
    quantiles = [np.log(np.minimum(ordered[nearest_rank(len(ordered), p) - 1], 1e9)) for p in _QUANTILES]
    shares = [(latency_ms > limit.limit_ms).mean(axis=0) for limit in slo.limits]
    return np.stack([*quantiles, *shares], axis=1)


def _floor(centre: Floats, size: int, quantiles: int) -> Floats:
    """The least spread: 1 % of a quantile, one request of a share."""
    return np.where(np.arange(centre.size) < quantiles, 0.01, 1 / size)


def _matters(seen: Floats, centre: Floats, size: int) -> NDArray[np.bool_]:
    """Whether a deviation could move the capacity by several percent: shares grow like a high power of the rate."""
    far = np.abs(seen - centre)
    ratio = np.maximum(seen, 1 / size) / np.maximum(centre, 1 / size)
    is_quantile = np.arange(seen.size) < len(_QUANTILES)
    return np.asarray(np.where(is_quantile, far > math.log(_RATIO), np.abs(np.log(np.maximum(ratio, 1e-9))) > math.log(1.6)))


def _said(place: int, seen: float, predicted: float, slo: SLO) -> str:
    if place < len(_QUANTILES):
        return f"p{100 * _QUANTILES[place]:g} is {math.exp(seen):.3g} ms, predicted {math.exp(predicted):.3g} ms"
    return f"{seen:.1%} of requests broke {slo.limits[place - len(_QUANTILES)]}, predicted {predicted:.1%}"
