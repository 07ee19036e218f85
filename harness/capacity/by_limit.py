"""The capacity under limits that nobody asked for, so that a reader can ask later: a curve over the limit for each quantile.

The method is the one that found the capacity. The queue's law of service gives every limit at once, since only the lattice of
`transform` depends on it; services are put into groups first, so that a curve costs little more than a point. What simulation
corrected at the SLO's own limit corrects the whole curve, which therefore passes through the capacity that was found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.capacity import pooled, queue, transform
from harness.capacity.finding import QUEUE, CapacityFinding
from harness.capacity.runs import OpenRun, as_step, reconstruct, worth
from harness.capacity.service import Pool, pool
from harness.nouns import SLO, Estimate, LatencyLimit
from harness.statistics import Z_95

Floats = NDArray[np.float64]

QUANTILES = (0.5, 0.9, 0.95, 0.99)
REPLICATES = 100
"""Resamples behind an interval away from the SLO's own limit; their standard deviation is known to 7 %."""
_MULTIPLES: Floats = np.concatenate([np.linspace(0.9, 2.9, 11), np.geomspace(3.2, 60, 13)])
"""Limits, in median services: dense where the capacity rises steeply, up to where every server is all but saturated."""
_NUDGE = 0.02
_GROUPS, _ALONE = 800, 200
"""Equal groups that services are put into, and how many of the longest stay by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitCurve:
    """The capacity (1/s) under the limit `limit_ms` on one quantile, point by point; value None where even an idle server is
    slower, or no rate that was tried met the limit."""

    quantile: float
    limit_ms: tuple[float, ...]
    capacity: tuple[Estimate, ...]


def curves(
    runs: Sequence[OpenRun], slo: SLO, found: CapacityFinding, closed_capacity_per_s: float | None, seed: int
) -> tuple[LimitCurve, ...]:
    """One curve for each of `QUANTILES` and of the SLO's own; empty when there is nothing to compute one from.

    `found` is what `estimate` said of the same runs: at the SLO's limits the curves hold its estimates.
    """
    used = [run for run in runs if run.n and run.answered.any()]
    if not used:
        return ()
    wanted = tuple(sorted({*QUANTILES, *(limit.quantile for limit in slo.limits)}))
    median = float(np.median(np.concatenate([reconstruct(run, found.servers).service_ms for run in used])))
    limits_ms = tuple(sorted({float(f"{limit:.4g}") for limit in median * _MULTIPLES} | {each.limit_ms for each in slo.limits}))
    if found.method == QUEUE:
        table = _by_queue(used, slo, found, wanted, limits_ms, seed)
    else:
        table = _by_counting(used, wanted, limits_ms, closed_capacity_per_s)
    own = {(limit.quantile, limit.limit_ms): each.estimate for limit, each in zip(slo.limits, found.limits, strict=True)}
    return tuple(
        LimitCurve(
            quantile=quantile,
            limit_ms=limits_ms,
            capacity=tuple(own.get((quantile, limit), row[at]) for limit, row in zip(limits_ms, table, strict=True)),
        )
        for at, quantile in enumerate(wanted)
    )


def to_json(found: Sequence[LimitCurve], method: str | None, reason: str | None) -> dict[str, Any]:
    """Columns of four significant digits by quantile (`p99`), null with the reason when there is no curve."""
    columns = {
        f"p{100 * curve.quantile:.6g}": {
            "limit_ms": list(curve.limit_ms),
            **{key: [_rounded(getattr(each, key)) for each in curve.capacity] for key in ("value", "low", "high")},
        }
        for curve in found
    }
    return {"method": method if columns else None, "quantiles": columns or None, "reason": None if columns else reason}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _by_queue(
    runs: Sequence[OpenRun],
    slo: SLO,
    found: CapacityFinding,
    quantiles: Sequence[float],
    limits_ms: Sequence[float],
    seed: int,
) -> list[tuple[Estimate, ...]]:
    """A row for each limit, an estimate for each quantile."""
    services = [each for run in runs if (each := reconstruct(run, found.servers)).service_ms.size]
    together, lost = pool(services), 1 - sum(each.service_ms.size for each in services) / sum(run.n for run in runs)
    rng = np.random.default_rng([seed, together.service_ms.size])
    idle, busy = _Grouped.of(together, rng)
    allowed = [(1 - quantile - lost) / (1 - lost) for quantile in quantiles]

    def at(limit_ms: float) -> tuple[Floats, Floats]:
        return _highest(_law(idle, busy, found.servers, limit_ms), allowed)

    correction = _correction(at, slo, found, quantiles)
    points, within = (np.stack(each) for each in zip(*map(at, limits_ms), strict=True))
    steep = 1 + np.stack([_slope(column, limits_ms) for column in points.T], axis=1)
    error = np.hypot(within, steep * _shift_sd(together))
    rates = points * correction
    return [
        tuple(
            _estimated(float(rates[row, place]), float(error[row, place]), LatencyLimit(quantile=quantile, limit_ms=limit))
            for place, quantile in enumerate(quantiles)
        )
        for row, limit in enumerate(limits_ms)
    ]


def _law(idle: _Grouped, busy: _Grouped, servers: int, limit_ms: float) -> transform.Laws:
    return transform.laws(idle.service_ms, idle.weights, busy.service_ms, busy.weights, servers, limit_ms)


def _highest(law: transform.Laws, allowed: Sequence[float]) -> tuple[Floats, Floats]:
    """The highest rate for each share, 0 where there is none, and the standard error of its logarithm.

    What the resamples make of the share slower at that rate, over the slope of the share: a search in every resample would say
    the same at ten times the cost.
    """
    rates, errors = np.zeros(len(allowed)), np.zeros(len(allowed))
    seen = law.row(0)
    for place, share in enumerate(allowed):
        rate = float(transform.highest_rates(seen, share)[0]) if share > 0 else 0.0
        if rate <= 0:
            continue
        around = [float(transform.slower(seen, np.array([rate * factor]))[0]) for factor in (1 - _NUDGE, 1 + _NUDGE)]
        shares = transform.slower(law, np.full(REPLICATES + 1, rate))[1:]
        slope = math.log(max(around[1], 1e-12) / max(around[0], 1e-12)) / math.log((1 + _NUDGE) / (1 - _NUDGE))
        rates[place] = rate
        errors[place] = float(np.std(np.log(np.maximum(shares, 1e-12)))) / slope if slope > 0 else 0.0
    return rates, errors


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grouped:
    """Services as groups of like ones, ms, shape (groups,), and how much each resample has of them, (1 + REPLICATES, groups);
    the first row is what was seen."""

    service_ms: Floats
    weights: Floats

    @classmethod
    def of(cls, together: Pool, rng: np.random.Generator) -> tuple[_Grouped, _Grouped]:
        """The law of a server that is found idle, and of one that is found busy."""
        counts = np.vstack([np.ones(together.service_ms.size), queue.resampled(together, rng, REPLICATES)])
        return cls._one(together, counts, busy=False), cls._one(together, counts, busy=True)

    @classmethod
    def _one(cls, together: Pool, counts: Floats, *, busy: bool) -> _Grouped:
        places = together.subset(busy)
        order = places[np.argsort(together.service_ms[places], kind="stable")]
        body = max(0, order.size - _ALONE)
        begins = np.unique(
            np.concatenate([np.linspace(0, body, min(_GROUPS, body + 1)).astype(int), np.arange(body, order.size)])
        )
        begins = begins[begins < order.size]
        weights = np.add.reduceat(counts[:, order], begins, axis=1)
        sizes = np.diff(begins, append=order.size)
        middle = np.add.reduceat(together.service_ms[order], begins) / sizes
        return cls(service_ms=middle, weights=queue.normalised(weights))


def _correction(
    at: Callable[[float], tuple[Floats, Floats]], slo: SLO, found: CapacityFinding, quantiles: Sequence[float]
) -> float:
    """What the found capacity under the SLO's tail is of the one by arithmetic alone; 1 where there is none."""
    own = found.limits[slo.limits.index(slo.tail)].estimate.value
    plain = float(at(slo.tail.limit_ms)[0][quantiles.index(slo.tail.quantile)]) if own else 0.0
    return own / plain if own and plain > 0 else 1.0


def _slope(rates: Floats, limits_ms: Sequence[float]) -> Floats:
    """d ln capacity / d ln limit at each limit, 0 where there is no capacity."""
    slope, there = np.zeros(rates.size), rates > 0
    if there.sum() > 1:
        slope[there] = np.gradient(np.log(rates[there]), np.log(np.asarray(limits_ms)[there]))
    return slope


def _shift_sd(together: Pool) -> float:
    """Standard deviation of the mean over the starts made about that over all that might be, in ln service time."""
    sizes = np.bincount(together.start, minlength=together.starts) / together.start.size
    return math.sqrt(float(together.start_weights @ together.start_sds**2) * float((sizes**2).sum()))


def _estimated(rate_per_s: float, error: float, limit: LatencyLimit) -> Estimate:
    """A rate with the log-normal interval of its standard error."""
    if rate_per_s <= 0:
        said = f"{limit} is broken even by requests that find the server idle"
        return Estimate(value=None, low=0.0, high=None, reason=said)
    half = Z_95 * error
    return Estimate(value=rate_per_s, low=rate_per_s * math.exp(-half), high=rate_per_s * math.exp(half))


def _by_counting(
    runs: Sequence[OpenRun], quantiles: Sequence[float], limits_ms: Sequence[float], closed_capacity_per_s: float | None
) -> list[tuple[Estimate, ...]]:
    closed = closed_capacity_per_s if closed_capacity_per_s is not None else math.nan
    return list(_counted(runs, quantiles, limits_ms, closed))


def _counted(
    runs: Sequence[OpenRun], quantiles: Sequence[float], limits_ms: Sequence[float], closed: float
) -> Iterator[tuple[Estimate, ...]]:
    for limit in limits_ms:
        slo = SLO(limits=tuple(LatencyLimit(quantile=quantile, limit_ms=limit) for quantile in quantiles))
        effective = [worth(run, slo) for run in runs]
        yield pooled.estimate_limits([as_step(run, slo) for run in runs], slo, closed, effective=effective)
