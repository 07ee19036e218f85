from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.gate.decision import (
    METRICS,
    TAIL_REQUESTS,
    Evidence,
    Finding,
    Metric,
    Verdict,
    confirmed,
    gaps,
    judge,
    overall,
)
from harness.gate.pooled import pool

P50, P95, THROUGHPUT, START, P99 = METRICS


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def noise(shift: float = 0.0, spread: float = 0.01, pairs: int = 12, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(math.log1p(shift), spread, pairs)


def one(metric: Metric, found: Evidence) -> Finding:
    (finding,) = judge({metric: found}, rng())
    return finding


def test_lower_throughput_and_higher_latency_are_both_worse() -> None:
    assert gaps(P50, [10.0, 10.0], [11.0, 10.0])[0] > 0
    assert gaps(THROUGHPUT, [10.0, 10.0], [11.0, 10.0])[0] < 0


@pytest.mark.parametrize("broken", [[0.0, 1.0], [math.nan, 1.0], [math.inf, 1.0], [1.0]])
def test_a_slice_without_a_figure_is_refused(broken: list[float]) -> None:
    with pytest.raises(ValueError, match="p50_ms"):
        gaps(P50, [1.0, 1.0], broken)


def test_no_change_passes_because_the_threshold_is_excluded() -> None:
    found = one(P50, noise())
    assert found.verdict is Verdict.PASS
    assert "excluded" in found.reason
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high


def test_a_clear_slowdown_is_a_regression_with_its_size() -> None:
    found = one(P50, noise(0.06))
    assert found.verdict is Verdict.REGRESSION
    assert found.ratio == pytest.approx(1.06, abs=0.01)
    assert found.visible is not None
    assert found.visible < 0.03


def test_a_sure_but_small_slowdown_does_not_fail_the_build() -> None:
    assert one(P50, noise(0.015, spread=0.002)).verdict is Verdict.PASS


def test_too_much_noise_is_inconclusive_never_a_silent_pass() -> None:
    assert one(P50, noise(0.02, spread=0.08)).verdict is Verdict.INCONCLUSIVE


def test_an_improvement_passes_and_is_marked() -> None:
    found = one(THROUGHPUT, noise(-0.2))
    assert found.verdict is Verdict.PASS
    assert found.improved
    assert found.ratio is not None
    assert found.ratio > 1.2


def test_what_was_not_measured_is_invalid_and_so_is_the_night() -> None:
    findings = judge({P50: noise(), P95: "the server died", START: noise(pairs=3)}, rng())
    assert [each.verdict for each in findings] == [Verdict.PASS, Verdict.INVALID, Verdict.INVALID]
    assert overall(findings) is Verdict.INVALID
    assert overall(()) is Verdict.INVALID


def test_a_regression_needs_confirmation_in_the_same_direction() -> None:
    first = one(P50, noise(0.06))
    assert confirmed(first, noise(0.06, seed=9), rng()).verdict is Verdict.REGRESSION
    refuted = confirmed(first, noise(0.0, seed=9), rng())
    assert refuted.verdict is Verdict.INCONCLUSIVE
    assert "not confirmed" in refuted.reason
    assert confirmed(first, noise(-0.06, seed=9), rng()).verdict is Verdict.INCONCLUSIVE
    assert confirmed(first, "the second run was invalid", rng()).verdict is Verdict.INVALID
    passed = one(P50, noise())
    assert confirmed(passed, noise(0.5), rng()) is passed


def test_a_family_is_corrected_together() -> None:
    alone = one(P50, noise(0.035, spread=0.035, seed=5))
    family = judge({P50: noise(0.035, spread=0.035, seed=5), P95: noise(seed=6), START: noise(seed=7)}, rng())
    assert alone.p is not None
    assert family[0].p is not None
    assert family[0].p > alone.p


def test_a_figure_that_is_none_makes_its_metric_invalid() -> None:
    broken = noise()
    broken[3] = math.nan
    assert one(P50, broken).verdict is Verdict.INVALID
    assert confirmed(one(P50, noise(0.06)), broken, rng()).verdict is Verdict.INVALID


def test_the_pooled_tail_is_judged_in_the_same_family() -> None:
    draws = np.random.default_rng(6)
    slices = [[5 + draws.exponential(1.0, 400) for _ in range(12)] for _ in range(2)]
    slower = [1.3 * each for each in slices[1]]
    found = judge({P50: noise(), P99: pool(slices[0], slices[1])}, rng())
    assert [each.metric for each in found] == ["p50_ms", "p99_ms"]
    assert one(P99, pool(slices[0], slower)).verdict is Verdict.REGRESSION
    few = [[np.tile(each, 3) for each in of[:4]] for of in (slices[0], slower)]
    assert one(P99, pool(few[0], few[1])).verdict is Verdict.INVALID


def test_a_tail_of_few_requests_is_not_judged_and_the_night_is_decided_by_the_rest() -> None:
    draws = np.random.default_rng(6)
    slices = [[5 + draws.exponential(1.0, TAIL_REQUESTS // 12 + 1) for _ in range(12)] for _ in range(2)]
    slower = [3 * each for each in slices[1]]
    few = [each[:-1] for each in slower]
    assert [each.metric for each in judge({P50: noise(), P99: pool(slices[0], few)}, rng())] == ["p50_ms"]
    assert one(P99, pool(slices[0], slower)).verdict is Verdict.REGRESSION


@given(
    st.dictionaries(st.sampled_from(METRICS), st.one_of(st.text(max_size=3), st.lists(st.floats(), max_size=14)), max_size=5)
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_not_measured_never_passes(found: dict[Metric, str | list[float]]) -> None:
    """Reasons, too few pairs, and figures that are none: each metric that is any of these is invalid, and so is the night."""
    evidence = {metric: np.array(each) if isinstance(each, list) else each for metric, each in found.items()}
    findings = judge(evidence, rng())
    wrong = [each for each in evidence.values() if isinstance(each, str) or each.size < 8 or not (np.abs(each) < 13).all()]
    assert sum(finding.verdict is Verdict.INVALID for finding in findings) == len(wrong)
    if wrong or not evidence:
        assert overall(findings) is Verdict.INVALID
