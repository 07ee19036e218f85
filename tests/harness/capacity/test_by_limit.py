"""The capacity under other limits: what a fresh estimate would say, and what queueing theory says."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from harness import capacity
from harness.capacity import LimitCurve, OpenRun, by_limit
from harness.capacity.finding import POOLED
from harness.slo import parse
from tests.harness.capacity.simulated import Server

RATES = (4.0, 5.0, 6.0, 7.0)


def runs_of(law: str, servers: int = 1, duration_s: float = 200.0) -> list[OpenRun]:
    server, rng = Server(law=law, service_ms=100.0, servers=servers, drift=0.0), np.random.default_rng(5)
    return [server.run(rate * servers, duration_s, 1.0, rng, str(number % 2)) for number, rate in enumerate(RATES)]


def curves_of(runs: list[OpenRun], slo: str = "p99<900ms", servers: int = 1) -> dict[float, LimitCurve]:
    limits, closed = parse(slo), 10.0 * servers
    found = capacity.estimate(runs, limits, servers=servers, closed_capacity_per_s=closed, seed=3)
    return {curve.quantile: curve for curve in capacity.curves(runs, limits, found, closed, 3)}


def test_an_m_m_1_queue_is_followed_over_all_limits() -> None:
    """Sojourns of M/M/1 are exponential with rate mu - lambda, so lambda = mu - ln(1 / (1 - q)) / limit."""
    found = curves_of(runs_of("M"))
    held = []
    for quantile, curve in found.items():
        for limit_ms, seen in zip(curve.limit_ms, curve.capacity, strict=True):
            truth = 10 - math.log(1 / (1 - quantile)) / limit_ms * 1e3
            if truth > 2 and limit_ms >= 200:
                assert seen.value is not None
                assert seen.low is not None
                assert seen.high is not None
                assert abs(seen.value / truth - 1) < 0.12
                held.append(seen.low <= truth <= seen.high)
    assert len(held) > 20
    assert np.mean(held) > 0.8  # points of one curve err together


def test_the_curve_holds_the_capacity_that_was_found_and_agrees_with_a_fresh_search() -> None:
    runs, slo = runs_of("lognormal"), parse("p99<500ms,p50<150ms")
    found = capacity.estimate(runs, slo, servers=1, closed_capacity_per_s=10.0, seed=3)
    made = {curve.quantile: curve for curve in capacity.curves(runs, slo, found, 10.0, 3)}
    for limit, each in zip(slo.limits, found.limits, strict=True):
        curve = made[limit.quantile]
        assert curve.capacity[curve.limit_ms.index(limit.limit_ms)] == each.estimate
    curve = made[0.95]
    place = next(at for at, limit in enumerate(curve.limit_ms) if limit > 400)
    again = capacity.estimate(
        runs, parse(f"p95<{curve.limit_ms[place]}ms"), servers=1, closed_capacity_per_s=10.0, seed=3
    ).estimate
    seen = curve.capacity[place]
    assert seen.value == pytest.approx(again.value, rel=0.01)
    assert seen.low == pytest.approx(again.low, rel=0.02)
    assert seen.high == pytest.approx(again.high, rel=0.02)


def test_a_limit_below_the_service_time_has_no_capacity_and_more_time_never_means_less() -> None:
    for curve in curves_of(runs_of("lognormal")).values():
        values = [each.value for each in curve.capacity]
        assert values[0] is None or curve.quantile == 0.5
        known = [value for value in values if value is not None]
        assert values == [None] * (len(values) - len(known)) + known
        assert known == sorted(known)


def test_what_simulation_corrected_corrects_the_whole_curve() -> None:
    runs = runs_of("D", servers=2)
    curve = curves_of(runs, "p99<300ms", servers=2)[0.99]
    at = curve.limit_ms.index(300.0)
    values = [each.value for each in curve.capacity[at - 1 : at + 2]]
    assert values[0] is not None
    assert values[1] is not None
    assert values[2] is not None
    assert values[0] < values[1] < values[2]


def test_counts_answer_where_the_queue_is_not_believed() -> None:
    runs, slo = runs_of("lognormal", duration_s=60.0), parse("p99<500ms")
    found = replace(capacity.estimate(runs, slo, servers=1, closed_capacity_per_s=10.0, seed=3), method=POOLED)
    curve = {each.quantile: each for each in capacity.curves(runs, slo, found, 10.0, 3)}[0.95]
    tight, loose = curve.capacity[0], curve.capacity[-1]
    assert tight.value is None
    assert "no tested rate met p95<" in str(tight.reason)
    assert loose.value == max(RATES)
    assert "the closed-loop throughput bounds it above" in str(loose.reason)


def test_json_is_compact_and_says_why_there_is_no_curve() -> None:
    value = by_limit.to_json(list(curves_of(runs_of("lognormal", duration_s=60.0)).values()), "queue", None)
    assert list(value["quantiles"]) == ["p50", "p90", "p95", "p99"]
    assert len({len(column) for column in value["quantiles"]["p99"].values()}) == 1
    assert len(json.dumps(value)) < 5000
    assert by_limit.to_json((), None, "it failed") == {"method": None, "quantiles": None, "reason": "it failed"}
    nothing = parse("p99<500ms")
    found = capacity.estimate([], nothing, servers=1, closed_capacity_per_s=10.0, seed=3)
    assert capacity.curves([], nothing, found, 10.0, 3) == ()
