"""The choice among policies, and what is refused before anything is simulated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import UsageError
from harness.fleet import sweep
from harness.fleet.demand import Demand
from harness.fleet.sweep import Question, Trial
from harness.slo import parse
from loadprofiles.traces import NS_PER_S, Trace
from tests.harness.fleet.models import constant, exponential, fleet


def question(**given: object) -> Question:
    per_minute = np.asarray([120, 120, 480, 960, 960, 960, 480, 240, 120, 120] * 3, np.int64)
    trace = Trace(name="t", span_ns=1800 * NS_PER_S, counts=per_minute, interval_ns=60 * NS_PER_S, begins_s=0)
    defaults: dict[str, object] = {
        "fleet": fleet(exponential(0.1, 1000), provisioning_s=30.0),
        "demand": Demand(trace=trace),
        "slo": parse("p95<2s,errors<1%"),
        "capacity_per_s": 7.0,
        "usd_per_hour": 0.5,
    }
    return Question(**(defaults | given))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trials() -> list[Trial]:
    return list(sweep.sweep(question(), [sweep.TRACKING], (0.2, 0.6, 1.3), range(4), lambda _: None))


def test_a_lower_target_costs_more_and_violates_less(trials: list[Trial]) -> None:
    costs = [trial.usd_per_day for trial in trials]
    assert all(cost is not None for cost in costs)
    assert sorted(costs, key=float, reverse=True) == costs  # type: ignore[arg-type]
    assert trials[0].violation_ratio <= trials[1].violation_ratio <= trials[2].violation_ratio
    assert trials[0].instance_hours_per_day * 0.5 == pytest.approx(trials[0].usd_per_day)


def test_the_cheapest_that_keeps_the_slo_is_chosen_and_hopeless_ones_are_given_up(trials: list[Trial]) -> None:
    best = sweep.choose(trials)
    kept = [trial for trial in trials if trial.keeps_slo]
    assert best is not None
    assert best.instance_hours_per_day == min(trial.instance_hours_per_day for trial in kept)
    assert trials[2].abandoned
    assert not trials[2].keeps_slo
    assert len(trials[2].days) < 4
    assert sweep.choose([trials[2]]) is None


def test_nineteen_of_twenty_are_enough_and_eighteen_are_not(trials: list[Trial]) -> None:
    good, bad = (replace(trials[0].days[0], keeps_slo=keeps) for keeps in (True, False))
    assert replace(trials[0], days=(good,) * 19 + (bad,)).keeps_slo
    assert not replace(trials[0], days=(good,) * 18 + (bad,) * 2).keeps_slo


def test_the_frontier_holds_whom_nobody_beats(trials: list[Trial]) -> None:
    front = sweep.frontier(trials)
    pairs = [(trial.instance_hours_per_day, trial.violation_ratio) for trial in front]
    assert pairs == sorted(pairs)
    for trial in trials:
        beaten = any(
            other.instance_hours_per_day <= trial.instance_hours_per_day and other.violation_ratio < trial.violation_ratio
            for other in trials
        )
        assert not (beaten and trial in front) or trial in (front[0],)


def test_every_kind_runs() -> None:
    found = list(sweep.sweep(question(), sweep.KINDS, (0.6,), [0], lambda _: None))
    assert [trial.kind for trial in found] == list(sweep.KINDS)
    assert all(trial.days[0].requests == 4560 * 3 for trial in found)
    by_kind = {trial.kind: trial for trial in found}
    assert by_kind[sweep.HIGH_RESOLUTION].policy.period_s == 10
    assert by_kind[sweep.SCHEDULED].policy.schedule
    assert by_kind[sweep.ZERO].policy.limits.least == 0


def test_the_impossible_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"p99<5ms is impossible for any fleet: 100.0%"):
        sweep.require_possible(question(slo=parse("p99<5ms"), fleet=fleet(constant(0.01))), [0])
    with pytest.raises(UsageError, match="3 instances at their full 7/s, but --max is 2"):
        sweep.require_possible(question(most=2), [0])
    with pytest.raises(UsageError, match="at most 2000 is simulated"):
        sweep.require_possible(question(capacity_per_s=0.01), [0])
    sweep.require_possible(question(most=3), [0])
