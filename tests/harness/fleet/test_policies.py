"""AWS's scaling rules, one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.fleet.policies import (
    Adjustment,
    Limits,
    Scheduled,
    State,
    Step,
    StepScaling,
    TargetTracking,
    adjusted,
    applied,
    chosen,
    combined,
    scheduled,
    step,
    track,
)

POLICY = TargetTracking(target=100.0)
FOUR = State(now_s=3600.0, capacity=4, serving=4)


def test_out_needs_three_of_three_points_above_the_target() -> None:
    assert track(POLICY, [90, 150, 150], FOUR) is None
    assert track(POLICY, [150, 150], FOUR) is None
    assert track(POLICY, [100.0, 150, 150], FOUR) is None, "at the target is not above it"
    assert track(POLICY, [150, None, 150], FOUR) is None, "missing data is no alarm"
    assert track(POLICY, [150, 150, 150], FOUR) == 6


def test_in_needs_fifteen_of_fifteen_below_nine_tenths() -> None:
    assert track(POLICY, [89.9] * 14, FOUR) is None
    assert track(POLICY, [90.0] + [40.0] * 14, FOUR) is None
    assert track(POLICY, [None] + [40.0] * 14, FOUR) is None
    assert track(POLICY, [40.0] * 15, FOUR) == 2
    assert track(replace(POLICY, disable_scale_in=True), [40.0] * 15, FOUR) is None


def test_a_high_resolution_metric_is_faster_out_and_as_slow_in() -> None:
    fast = replace(POLICY, period_s=10)
    assert track(fast, [150.0] * 3, FOUR) == 6  # 30 s
    assert track(fast, [40.0] * 89, FOUR) is None
    assert track(fast, [40.0] * 90, FOUR) == 2  # 15 minutes


@given(capacity=st.integers(1, 500), value=st.floats(0.01, 2000))
def test_capacity_follows_the_metric_and_is_rounded_to_the_safe_side(capacity: int, value: float) -> None:
    state = State(now_s=0.0, capacity=capacity, serving=capacity)
    wanted = track(POLICY, [value] * 15, state)
    exact = capacity * value / 100
    if value > 100 or value < 90:
        assert wanted is not None
        assert wanted >= exact - 1e-6
        assert wanted - 1 < exact
    else:
        assert wanted is None
    if wanted is not None and wanted < capacity:
        assert exact / wanted <= 1 + 1e-9, "scaling in must not push the metric above the target"


def test_cooldown_out_lets_only_a_larger_scale_out_through() -> None:
    # 4 -> 6 a minute ago; the two new ones are not in service yet.
    state = replace(FOUR, capacity=6, serving=4, last_out_s=3540.0, before_out=4)
    assert track(POLICY, [150] * 3, state) == 6, "what was added counts as present"
    assert track(POLICY, [200] * 3, state) == 8
    late = replace(state, now_s=3540.0 + 300.0)
    assert track(POLICY, [150] * 3, late) == 9, "after the cooldown all that was asked for is multiplied"


def test_cooldown_in_blocks_scaling_in_until_a_scale_out_ends_it() -> None:
    cooling = replace(FOUR, last_in_s=3400.0)
    assert track(POLICY, [40] * 15, cooling) is None
    out = applied(track(POLICY, [150] * 3, cooling), Limits(least=1, most=10), cooling)
    assert (out.capacity, out.last_in_s, out.last_out_s, out.before_out) == (6, None, 3600.0, 4)
    assert track(POLICY, [40] * 15, out) == 3


def test_tracking_cannot_leave_zero() -> None:
    assert track(POLICY, [500.0] * 15, State(now_s=0.0, capacity=0, serving=0)) is None


def test_several_policies_go_out_if_any_and_in_only_if_all() -> None:
    assert combined([6, None], [], FOUR) == 6
    assert combined([6, 2], [], FOUR) == 6
    assert combined([2, None], [], FOUR) is None
    assert combined([2, 3], [], FOUR) == 3
    assert combined([None, None], [], FOUR) is None
    assert combined([], [], FOUR) is None


def test_a_step_policy_without_an_alarm_vetoes_nothing_but_tracking_does() -> None:
    assert combined([], [None, 3], FOUR) == 3
    assert combined([], [6, 3], FOUR) == 6
    assert combined([2], [None], FOUR) == 2
    assert combined([2], [3], FOUR) == 3
    assert combined([None], [None, 3], FOUR) is None


def test_limits_hold_whatever_is_wanted() -> None:
    limits = Limits(least=2, most=5)
    assert applied(99, limits, FOUR).capacity == 5
    assert applied(0, limits, FOUR).capacity == 2
    assert applied(None, Limits(least=6, most=9), FOUR).capacity == 6
    assert applied(None, Limits(least=1, most=3), FOUR).capacity == 3
    assert applied(None, limits, FOUR) == FOUR


OUT = StepScaling(
    threshold=60.0,
    kind=Adjustment.PERCENT,
    points=1,
    steps=(Step(lower=0, upper=10, adjustment=10), Step(lower=10, upper=None, adjustment=30)),
)


def test_bounds_above_the_threshold_include_the_lower_and_below_it_the_upper() -> None:
    above = (Step(lower=0, upper=10, adjustment=1), Step(lower=10, upper=None, adjustment=2))
    below = (Step(lower=None, upper=-10, adjustment=-2), Step(lower=-10, upper=0, adjustment=-1))
    found = [chosen(above, breach) for breach in (0, 9.9, 10, 1e9)]
    assert [each.adjustment for each in found if each] == [1, 1, 2, 2]
    found = [chosen(below, breach) for breach in (-0.1, -9.9, -10, -1e9)]
    assert [each.adjustment for each in found if each] == [-1, -1, -2, -2]
    assert chosen(above, -1) is None


@pytest.mark.parametrize(
    ("capacity", "percent", "after"),
    [(10, 25, 12), (3, 10, 4), (3, -10, 2), (10, -25, 8), (10, 0, 10), (1, -1000, 0)],
    ids=["above 1 down", "0 to 1 is 1", "-1 to 0 is -1", "below -1 towards 0", "nothing", "not below 0"],
)
def test_percent_changes_are_rounded_as_documented(capacity: int, percent: int, after: int) -> None:
    assert adjusted(OUT, capacity, percent) == after


def test_the_smallest_adjustment_and_the_other_kinds() -> None:
    assert adjusted(replace(OUT, least_adjustment=2), 4, 25) == 6
    assert adjusted(replace(OUT, kind=Adjustment.CHANGE), 4, -3) == 1
    assert adjusted(replace(OUT, kind=Adjustment.EXACT), 4, 7) == 7


def test_step_scaling_waits_for_its_points_and_its_cooldown() -> None:
    twice = replace(OUT, points=2)
    ten = replace(FOUR, capacity=10, serving=10)
    assert step(twice, [80.0], ten) is None
    assert step(twice, [50.0, 80.0], ten) is None
    assert step(twice, [None, 80.0], ten) is None
    assert step(twice, [60.0, 65.0], ten) == 11, "an alarm at or above its threshold"
    cooling = replace(ten, capacity=13, last_out_s=3500.0, before_out=10)
    assert step(OUT, [80.0], cooling) is None, "the three just added count"
    assert step(OUT, [80.0], replace(cooling, capacity=12)) == 13, "a larger step goes through"
    assert step(OUT, [80.0], replace(cooling, now_s=4000.0)) == 16
    back = StepScaling(threshold=40.0, above=False, points=1, steps=(Step(lower=None, upper=0, adjustment=-1),))
    assert step(back, [39.0], ten) == 9
    assert step(back, [40.0], ten) is None
    assert step(back, [39.0], replace(ten, last_in_s=3500.0)) is None


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((), "1 to 20"),
        ((Step(lower=0, upper=5, adjustment=1), Step(lower=6, upper=None, adjustment=2)), "must meet"),
        ((Step(lower=0, upper=5, adjustment=1), Step(lower=4, upper=None, adjustment=2)), "must meet"),
        ((Step(lower=None, upper=5, adjustment=1), Step(lower=None, upper=9, adjustment=2)), "open"),
        ((Step(lower=5, upper=5, adjustment=1),), "empty"),
    ],
)
def test_steps_with_gaps_or_overlaps_are_refused(steps: tuple[Step, ...], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        StepScaling(threshold=1.0, steps=steps)


def test_a_schedule_sets_limits_once_a_day_and_they_stay() -> None:
    actions = (Scheduled(second_of_day=3600, least=5, most=None), Scheduled(second_of_day=7200, least=1, most=4))
    limits = Limits(least=2, most=9)
    assert scheduled(actions, limits, 0.0, 3599.0) == limits
    assert scheduled(actions, limits, 3540.0, 3600.0) == Limits(least=5, most=9)
    assert scheduled(actions, limits, 3600.0, 3660.0) == limits, "once"
    assert scheduled(actions, limits, 0.0, 8000.0) == Limits(least=1, most=4), "in their order"
    assert scheduled(actions, limits, 86_400.0 + 3540, 86_400.0 + 3600) == Limits(least=5, most=9), "and the next day"
    assert not math.isinf(limits.most)
