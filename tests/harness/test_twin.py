from __future__ import annotations

import pytest

from harness.nouns import Estimate
from harness.ranking import TIE_RATIO
from harness.twin import compare, twin_id, twin_of


def figure(value: float, spread: float) -> Estimate:
    return Estimate(value=value, low=value / spread, high=value * spread)


def test_a_twin_is_known_by_its_name_and_a_candidate_is_not_a_twin() -> None:
    assert twin_of(twin_id("ort@local-1")) == "ort@local-1"
    assert twin_of("ort@local-1") is None


def test_twins_within_their_noise_are_not_separated_and_tell_what_could_be_seen() -> None:
    found = compare("a", "capacity_per_s", {"a": figure(10.0, 1.04), twin_id("a"): figure(10.2, 1.04)})
    assert not found.separated
    assert found.smallest_difference == pytest.approx(0.057, abs=0.002)
    assert found.tie_ratio == pytest.approx(1.02, abs=1e-3)


def test_twins_that_separate_are_flagged_and_widen_every_tie() -> None:
    found = compare("a", "capacity_per_s", {"a": figure(10.0, 1.01), twin_id("a"): figure(9.3, 1.01)})
    assert found.separated
    assert found.tie_ratio == pytest.approx(10 / 9.3)
    assert found.smallest_difference is not None
    assert found.smallest_difference >= 10 / 9.3 - 1


@pytest.mark.parametrize(
    "other", [None, Estimate(value=None, low=None, high=None, reason="no valid run"), Estimate(value=5.0, low=None, high=None)]
)
def test_a_twin_without_a_figure_says_why_and_changes_nothing(other: Estimate | None) -> None:
    figures = {"a": figure(10.0, 1.01)} | ({} if other is None else {twin_id("a"): other})
    found = compare("a", "capacity_per_s", figures)
    assert found.reason is not None
    assert found.smallest_difference is None
    assert not found.separated
    assert found.tie_ratio == TIE_RATIO
