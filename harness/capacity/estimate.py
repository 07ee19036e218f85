"""The capacity from all open-loop runs together: by the queue where the server is one, by counting where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.capacity import checks, decide, pooled, queue, usl
from harness.capacity.finding import (
    POOLED,
    QUEUE,
    CapacityFinding,
    Check,
    ClosedPoint,
    Confirmation,
    CurvePoint,
    LimitCapacity,
)
from harness.capacity.runs import OpenRun, Services, as_step, reconstruct, starts, worth
from harness.capacity.service import Pool, pool
from harness.nouns import SLO, Estimate

Floats = NDArray[np.float64]

LEAST_SERVICES = 30
"""Fewest answered requests that make a law of service."""
_CURVE: Floats = np.geomspace(0.4, 1.3, 19)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """One method's result."""

    by_limit: tuple[Estimate, ...]
    together: Estimate
    binding: int
    curve: tuple[CurvePoint, ...]


def estimate(
    runs: Sequence[OpenRun],
    slo: SLO,
    *,
    servers: int,
    closed_capacity_per_s: float | None,
    seed: int,
    closed: Sequence[ClosedPoint] = (),
    confirmations: Sequence[Confirmation] = (),
    stop_rule: str | None = None,
) -> CapacityFinding:
    """The highest rate (1/s) of Poisson arrivals at which `servers` FIFO servers meet every limit, with its 95 % interval.

    Rates up to `closed_capacity_per_s`, the closed loop's throughput, are considered. `closed`, `confirmations` and `stop_rule`
    are only passed on. The same runs and seed give the same answer.
    """
    used = [run for run in runs if run.n]
    queued, judged, reasons = _by_queue(used, slo, servers, closed_capacity_per_s, seed)
    answer = queued or _by_counting(used, slo, closed_capacity_per_s)
    return CapacityFinding(
        estimate=answer.together,
        method=QUEUE if queued else POOLED,
        binding=str(slo.limits[answer.binding]) if used else None,
        limits=tuple(
            LimitCapacity(limit=str(limit), estimate=each) for limit, each in zip(slo.limits, answer.by_limit, strict=True)
        ),
        servers=servers,
        starts=len(starts(used)),
        closed=tuple(closed),
        usl=usl.fit(closed) if closed else None,
        steps=tuple(decide.verdict(run, slo) for run in used),
        confirmations=tuple(confirmations),
        curve=answer.curve,
        checks=judged,
        reasons=reasons,
        stop_rule=stop_rule,
    )


def _by_queue(
    runs: Sequence[OpenRun], slo: SLO, servers: int, closed_capacity_per_s: float | None, seed: int
) -> tuple[_Answer | None, tuple[Check, ...], tuple[str, ...]]:
    """The queue's answer, or None with the reason why it is not believed."""
    services = [found for run in runs if (found := reconstruct(run, servers)).service_ms.size]
    n = sum(each.service_ms.size for each in services)
    if n < LEAST_SERVICES:
        return None, (), (f"{n} answered requests are too few for a law of service, {LEAST_SERVICES} are needed",)
    rng = np.random.default_rng([seed, n])
    together = pool(services)
    judged = checks.judge(runs, services, together, slo, servers, closed_capacity_per_s, rng)
    failed = [check for check in judged if not check.passed]
    if failed:
        return None, judged, tuple(f"not the queue it was taken for ({check.name}): {check.said}" for check in failed)
    return _queue_answer(together, services, runs, slo, servers, rng), judged, _remarks(together, n)


def _queue_answer(
    together: Pool, services: Sequence[Services], runs: Sequence[OpenRun], slo: SLO, servers: int, rng: np.random.Generator
) -> _Answer:
    lost = 1 - sum(each.service_ms.size for each in services) / sum(run.n for run in runs)
    found = queue.predict(together, slo, servers, lost, rng)
    by_limit = tuple(
        _estimated(float(found.point[at]), found.draws[:, at], found, at, str(limit)) for at, limit in enumerate(slo.limits)
    )
    place = int(found.point.argmin())
    # The draws of all limits come from the same resamples, so their minimum is a draw of the capacity under all of them.
    lowest = found.draws.min(axis=1)
    both = _estimated(float(found.point[place]), lowest, found, place, str(slo.limits[place]))
    curve = _queue_curve(together, slo, place, servers, both) if both.value else ()
    return _Answer(by_limit=by_limit, together=both, binding=place, curve=curve)


def _estimated(point: float, draws: Floats, found: queue.Prediction, place: int, limit: str) -> Estimate:
    if point <= 0:
        reason = f"{limit} is broken even by requests that find the server idle"
        return Estimate(value=None, low=0.0, high=float(np.quantile(draws, 0.975)), reason=reason)
    low, high = queue.interval(point, draws, float(found.acceleration[place]), float(found.freedom[place]))
    return Estimate(value=point, low=low, high=high)


def _queue_curve(together: Pool, slo: SLO, place: int, servers: int, found: Estimate) -> tuple[CurvePoint, ...]:
    """The binding limit's violation share over the rate; the interval is the curve moved to the ends of the capacity's."""
    if found.value is None or not found.low or not found.high:
        return ()
    rates = found.value * _CURVE
    middle, best, worst = (
        queue.shares(together, slo.limits[place], servers, rates * factor)
        for factor in (1.0, found.value / found.high, found.value / found.low)
    )
    rows = zip(rates, middle, best, worst, strict=True)
    return tuple(CurvePoint(rate_per_s=float(r), share=float(m), low=float(a), high=float(b)) for r, m, a, b in rows)


def _remarks(together: Pool, n: int) -> tuple[str, ...]:
    said = [f"the services of {n} requests on {together.starts} server starts explain every step"]
    if together.separate:
        said.append("requests that find the server idle have a law of service of their own")
    if together.block > 1:
        said.append(f"services resemble their neighbours; they were resampled in blocks of {together.block}")
    if together.starts == 1:
        said.append("one server start only: the spread between starts is assumed, not seen")
    return tuple(said)


def _by_counting(runs: Sequence[OpenRun], slo: SLO, closed_capacity_per_s: float | None) -> _Answer:
    steps = [as_step(run, slo) for run in runs]
    effective = [worth(run, slo) for run in runs]
    closed = closed_capacity_per_s if closed_capacity_per_s is not None else float("nan")
    by_limit = pooled.estimate_limits(steps, slo, closed, effective=effective)
    place, together = pooled.binding(by_limit)
    ordered = sorted(zip(steps, effective, strict=True), key=lambda pair: pair[0].rate_per_s)
    shares = pooled.isotonic([step.violations[place] / step.n for step, _ in ordered], [step.n for step, _ in ordered])
    curve = []
    for (step, worth_n), share in zip(ordered, shares, strict=True):
        low, high = decide.bounds(step.violations[place] * worth_n[place] / step.n, worth_n[place], 0.025)
        curve.append(CurvePoint(rate_per_s=step.rate_per_s, share=share, low=min(low, share), high=max(high, share)))
    return _Answer(by_limit=by_limit, together=together, binding=place, curve=tuple(curve))
