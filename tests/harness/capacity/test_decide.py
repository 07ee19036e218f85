"""Exact decisions: the published sample sizes, error rates by simulation, and the union bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.capacity import decide
from harness.capacity.runs import OpenRun
from harness.slo import parse
from harness.statistics import samples_to_prove

P99 = parse("p99<100ms")


def run(start: str, n: int, slow: int, rng: np.random.Generator, rate: float = 10.0) -> OpenRun:
    due = np.arange(n, dtype=np.float64) * 100.0
    latency = np.full(n, 10.0)
    latency[rng.choice(n, slow, replace=False)] = 500.0
    return OpenRun(
        start=start, rate_per_s=rate, due_ms=due, done_ms=due + latency, good=np.ones(n, dtype=bool), duration_s=n / 10
    )


@pytest.mark.parametrize("violations", [0, 1, 5, 20])
def test_met_needs_exactly_the_samples_that_prove_it(violations: int) -> None:
    n = samples_to_prove(0.99, violations)
    assert decide.judge(n, [violations], [n], P99)[0] == "met"
    assert decide.judge(n - 1, [violations], [n - 1], P99)[0] == "undecided"


def test_more_looks_need_more_proof() -> None:
    # With four looks no violation among 437 is needed instead of 299.
    assert [decide.judge(n, [0], [n], P99, looks=4)[0] for n in (299, 436, 437)] == ["undecided", "undecided", "met"]
    assert [n for n in range(4000) if decide.is_look(n)] == [450, 900, 1800, 3600]


def test_one_broken_limit_breaks_the_step_and_all_must_be_proved() -> None:
    both = parse("p99<100ms,p50<20ms")
    assert decide.judge(1000, [2, 700], [1000, 1000], both)[0] == "broke"
    assert decide.judge(1000, [2, 300], [1000, 1000], both)[0] == "met"
    assert decide.judge(1000, [10, 300], [1000, 1000], both)[0] == "undecided"
    assert decide.judge(0, [0, 0], [0, 0], both)[0] == "undecided"


def test_bursts_are_worth_less() -> None:
    assert decide.judge(300, [9], [300], P99)[0] == "broke"
    assert decide.judge(300, [9], [60], P99)[0] == "undecided"


@pytest.mark.parametrize("n", [100, 400, 2000])
def test_stopping_at_the_count_is_wrong_in_at_most_five_percent(n: int) -> None:
    k = decide.stop_count(P99.tail, n)
    assert stats.binom.sf(k - 1, n, 0.01) <= 0.05 < stats.binom.sf(k - 2, n, 0.01)
    assert decide.stop_count(P99.tail, n, design_effect=4.0) > k


def test_the_limit_that_the_fewest_violations_break_stops_a_step() -> None:
    assert str(decide.most_decisive(parse("p50<20ms,p99<100ms,p90<50ms"), 300)) == "p99<100ms"


def test_confirmations() -> None:
    rng = np.random.default_rng(5)
    few = decide.confirm([run("a", 60, 0, rng), run("b", 60, 0, rng)], P99, 0.5)
    assert (few.verdict, few.starts, few.n) == ("not contradicted", 2, 120)
    assert "too small" in few.reason
    many = [run(start, 2000, 3, rng) for start in "ab"]
    assert decide.confirm(many, P99, 0.1).verdict == "confirmed"
    alone = decide.confirm(many[:1], P99, 0.1)
    assert alone.verdict == "not contradicted"
    assert "one server start" in alone.reason
    assert decide.confirm([run("a", 300, 40, rng), run("b", 300, 30, rng)], P99, 0.3).verdict == "refuted"
    with pytest.raises(ValueError, match="all at one rate"):
        decide.confirm([run("a", 60, 0, rng), run("b", 60, 0, rng, rate=11.0)], P99, 0.5)


def test_a_refuted_rate_is_stepped_down_by_three_percent() -> None:
    rng = np.random.default_rng(6)
    refuted = decide.confirm([run("a", 300, 40, rng, 8.0), run("b", 300, 30, rng, 8.0)], P99, 0.3)
    assert decide.next_confirmation([], 8.0) == 8.0
    assert decide.next_confirmation([refuted], 8.0) == pytest.approx(7.76)
    kept = decide.confirm([run("a", 60, 0, rng, 7.76), run("b", 60, 0, rng, 7.76)], P99, 0.3, rounds=2)
    assert decide.next_confirmation([refuted, kept], 8.0) is None
