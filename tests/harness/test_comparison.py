"""Ratios of two runs: the propagation against a simulation, ties called ties, and no verdict without its grounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.comparison import Verdict, change, differences, hindrances, same_rate, same_slo
from harness.nouns import Estimate

NOTHING = Estimate(value=None, low=None, high=None, reason="it failed")


def about(value: float, spread: float) -> Estimate:
    return Estimate(value=value, low=value / (1 + spread), high=value * (1 + spread))


def test_the_interval_of_the_ratio_covers_as_often_as_it_says() -> None:
    """Draws of two log-normals with known errors: the interval holds the true ratio in 95 % of 4000 pairs."""
    rng = np.random.default_rng(1)
    truth, errors, z = (50.0, 56.0), (0.03, 0.05), 1.959964
    held = 0
    for _ in range(4000):
        seen = [value * math.exp(rng.normal(0, error)) for value, error in zip(truth, errors, strict=True)]
        ends = [
            Estimate(value=v, low=v * math.exp(-z * e), high=v * math.exp(z * e)) for v, e in zip(seen, errors, strict=True)
        ]
        ratio = change(*ends).ratio
        assert ratio.low is not None
        assert ratio.high is not None
        held += ratio.low <= truth[1] / truth[0] <= ratio.high
    assert held / 4000 == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(
    ("after", "higher_is_better", "verdict"),
    [
        (about(120, 0.02), False, Verdict.WORSE),
        (about(120, 0.02), True, Verdict.BETTER),
        (about(80, 0.02), False, Verdict.BETTER),
        (about(80, 0.02), True, Verdict.WORSE),
        (about(120, 0.3), False, Verdict.TIED),
        (about(101, 0.0001), False, Verdict.TIED),
    ],
)
def test_a_verdict_needs_an_interval_without_1_and_a_difference_that_matters(
    after: Estimate, higher_is_better: bool, verdict: Verdict
) -> None:
    assert change(about(100, 0.0001), after, higher_is_better=higher_is_better).verdict is verdict


def test_what_twins_came_apart_by_is_a_tie() -> None:
    assert change(about(100, 0.001), about(105, 0.001)).verdict is Verdict.WORSE
    assert change(about(100, 0.001), about(105, 0.001), tie_ratio=1.06).verdict is Verdict.TIED


def test_no_verdict_has_a_reason_and_a_hindrance_hides_the_ratio_too() -> None:
    point = Estimate(value=100.0, low=None, high=None)
    for before, after, said in (
        (NOTHING, about(1, 0.1), "not measured before: it failed"),
        (about(1, 0.1), NOTHING, "not measured after: it failed"),
        (about(1, 0.1), Estimate(value=0.0, low=0.0, high=0.0), "after, 0, cannot be compared"),
        (point, about(100, 0.1), "before has no interval"),
    ):
        seen = change(before, after)
        assert seen.verdict is Verdict.OPEN
        assert said in str(seen.reason)
    assert change(point, about(110, 0.1)).ratio.value == pytest.approx(1.1)
    refused = change(about(1, 0.1), about(9, 0.1), hindrance="the environments differ")
    assert (refused.verdict, refused.ratio.value, refused.reason) == (Verdict.OPEN, None, "the environments differ")


def test_differences_go_into_mappings_and_name_what_is_absent() -> None:
    before = {"kernel": "6.1", "packages": {"torch": "2.13", "numpy": "2.4"}, "smt": None}
    after = {"kernel": "6.1", "packages": {"torch": "2.14", "numpy": "2.4", "tvm": "0.27"}, "smt": "on"}
    seen = [(each.name, each.before, each.after) for each in differences(before, after)]
    assert seen == [("packages torch", "2.13", "2.14"), ("packages tvm", None, "0.27"), ("smt", None, "on")]
    assert [each.name for each in differences({"a": {"b": 1}}, {"a": 2})] == ["a b", "a"]


def test_environments_compare_by_fingerprint_alone() -> None:
    one = {"fingerprint": "a", "kernel": "6.1", "lanes": [1]}
    assert hindrances(one, one | {"lanes": []}) == ()
    assert hindrances(one, one | {"fingerprint": "b", "kernel": "6.2"}) == ("the environments differ: kernel",)
    assert "what their fingerprints cover" in hindrances(one, one | {"fingerprint": "b"})[0]
    assert hindrances({}, one) == ("the run before states no fingerprint of its environment",)
    assert len(hindrances({}, {"fingerprint": None})) == 2


def test_latencies_need_one_rate_and_capacities_one_slo() -> None:
    assert same_rate(10.0, 10.05) is None
    assert "--rate" in str(same_rate(10.0, 10.5))
    assert same_rate(None, 10.0)
    assert same_rate(0.0, 10.0)
    assert same_slo("p99<100ms", "p99<100ms") is None
    assert "no SLO" in str(same_slo("p99<100ms", None))
