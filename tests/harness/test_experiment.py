from __future__ import annotations

import pytest

from harness import experiment
from harness.depth import DEPTHS, depth
from harness.errors import UsageError
from harness.nouns import SLO, Estimate, LatencyLimit

LIMIT = SLO(limits=(LatencyLimit(quantile=0.99, limit_ms=100.0),))


def known(value: float) -> Estimate:
    return Estimate(value=value, low=value * 0.9, high=value * 1.1)


NONE = Estimate(value=None, low=0.0, high=1.0, reason="no tested rate met it")


def test_a_block_visits_everyone_once_in_an_order_of_its_own() -> None:
    names = [f"c{i}" for i in range(8)]
    first = experiment.block(experiment.SCREEN, 0, names, 7)
    second = experiment.block(experiment.SEARCH, 1, names, 7)
    assert sorted(plan.candidate for plan in first) == names
    assert [plan.candidate for plan in first] != [plan.candidate for plan in second]
    assert first == experiment.block(experiment.SCREEN, 0, names, 7)
    assert [plan.candidate for plan in first] != [plan.candidate for plan in experiment.block(experiment.SCREEN, 0, names, 8)]


@pytest.mark.parametrize(
    ("n", "slower", "hopeless"),
    [(0, 0, False), (3, 3, True), (1, 1, True), (200, 2, False), (200, 12, True), (10, 1, False)],
)
def test_hopeless_needs_proof(n: int, slower: int, hopeless: bool) -> None:
    assert (experiment.hopeless(n, [slower], LIMIT) is not None) is hopeless
    # One limit that cannot be met is enough.
    both = SLO(limits=(LatencyLimit(quantile=0.5, limit_ms=1e6), *LIMIT.limits))
    assert (experiment.hopeless(n, [0, slower], both) is not None) is hopeless


def test_the_reference_rate_is_the_users_or_a_share_of_the_best() -> None:
    capacities = {"a": known(10.0), "b": known(20.0), "c": NONE}
    assert experiment.reference_rate(capacities, None) == pytest.approx(14.0)
    assert experiment.reference_rate(capacities, 3.0) == 3.0
    assert experiment.reference_rate({"c": NONE}, None) is None


def test_finalists_are_the_highest_capacities() -> None:
    capacities = {"a": known(10.0), "b": known(20.0), "c": NONE, "d": known(15.0)}
    assert experiment.finalists(capacities, 2) == {"b", "d"}
    durations = experiment.reference_durations(["a", "b", "d"], frozenset({"b", "d"}), 30.0, DEPTHS["quick"])
    assert durations["a"] == DEPTHS["quick"].reference_s
    assert durations["b"] * 30.0 * DEPTHS["quick"].final_visits >= DEPTHS["quick"].finalist_n
    slow = experiment.reference_durations(["b"], frozenset({"b"}), 0.5, DEPTHS["quick"])
    assert slow["b"] * DEPTHS["quick"].final_visits == DEPTHS["quick"].finalist_max_s


def test_a_reference_visit_is_cut_into_runs_that_can_be_repeated() -> None:
    assert experiment.slices_s(20.0) == (20.0,)
    assert len(experiment.slices_s(64.0)) == 4
    assert sum(experiment.slices_s(64.0)) == pytest.approx(64.0)
    assert experiment.slices_s(3.0) == (3.0,)


def test_a_rate_near_the_closed_loops_has_no_steady_state() -> None:
    assert experiment.carries(9.0, 10.0)
    assert not experiment.carries(9.9, 10.0)


def test_an_unknown_depth_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="nearest: quick"):
        depth("quik")
