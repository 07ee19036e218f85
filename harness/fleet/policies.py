"""AWS's autoscaling rules as pure functions: what the metrics showed and what was done before, in; the capacity wanted,
out.

Target tracking, as Application Auto Scaling does it with two alarms of its own: out when the metric is above the target
in 3 of 3 points, in when it is below 0.9 of the target in 15 of 15 minutes; capacity changes in proportion to metric /
target. Step scaling, scheduled limits and the way out of zero follow the same service's documentation ("Target tracking
scaling policies", "Step scaling policies", "Scheduled scaling", docs.aws.amazon.com/autoscaling/application). The alarms'
counts and the 0.9 are what users see on SageMaker endpoints; the documentation only says "usually more than 10 % lower".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from harness.errors import UsageError

PERIOD_S = 60
HIGH_RESOLUTION_S = 10
COOLDOWN_S = 300.0
"""Application Auto Scaling's default for variants, each way."""
PERIODS_OUT, MINUTES_IN, BAND_IN = 3, 15, 0.9
DAY_S = 86_400

Metric = Sequence[float | None]
"""Points of one metric, oldest first, None where none was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTracking:
    """Keep a metric per instance near `target`. `period_s` is 60, or 10 for a high-resolution metric: it makes scaling out
    faster, scaling in still takes 15 minutes."""

    target: float
    period_s: int = PERIOD_S
    scale_out_cooldown_s: float = COOLDOWN_S
    scale_in_cooldown_s: float = COOLDOWN_S
    disable_scale_in: bool = False

    @property
    def periods_in(self) -> int:
        return MINUTES_IN * 60 // self.period_s


class Adjustment(StrEnum):
    """How a step changes the capacity."""

    CHANGE = "ChangeInCapacity"
    PERCENT = "PercentChangeInCapacity"
    EXACT = "ExactCapacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Applies while metric - threshold lies between the bounds; None is unbounded."""

    lower: float | None
    upper: float | None
    adjustment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepScaling:
    """Steps around an alarm at `threshold`, in alarm after `points` of `points` periods at or above it (`above`), or
    below it."""

    threshold: float
    steps: tuple[Step, ...]
    above: bool = True
    kind: Adjustment = Adjustment.CHANGE
    points: int = PERIODS_OUT
    period_s: int = PERIOD_S
    cooldown_s: float = COOLDOWN_S
    least_adjustment: int = 0

    def __post_init__(self) -> None:
        _require_steps(self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """From this second of each day on the capacity's limits are these; a limit that is None stays."""

    second_of_day: int
    least: int | None
    most: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Registered MinCapacity and MaxCapacity."""

    least: int
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the scaler knows when it decides. `capacity` is what was asked for, of which `serving` produced the last point;
    `before_out` the capacity from which the last scale-out started."""

    now_s: float
    capacity: int
    serving: int
    last_out_s: float | None = None
    last_in_s: float | None = None
    before_out: int | None = None


def track(policy: TargetTracking, metric: Metric, state: State) -> int | None:
    """The capacity that target tracking wants, None when neither alarm says anything.

    Rounded so as never to add too little or remove too much: ceil(capacity × metric / target). Missing data is no alarm, and
    without an instance there is no metric per instance: tracking cannot leave zero.
    """
    if state.capacity == 0:
        return None
    last = list(metric[-PERIODS_OUT:])
    if len(last) == PERIODS_OUT and all(value is not None and value > policy.target for value in last):
        return _out(policy, _known(last[-1]), state)
    long = list(metric[-policy.periods_in :])
    low = BAND_IN * policy.target
    if policy.disable_scale_in or len(long) < policy.periods_in or not all(value is not None and value < low for value in long):
        return None
    if _cooling(state.last_in_s, policy.scale_in_cooldown_s, state.now_s):
        return None
    wanted = _ceil(state.capacity * _known(long[-1]) / policy.target)
    return min(wanted, state.capacity)


def _out(policy: TargetTracking, value: float, state: State) -> int:
    """During the cooldown what was just added counts as present: the metric comes from the instances before it, and only a
    larger scale-out goes through. Afterwards the metric is taken to speak for every instance asked for."""
    base = state.capacity
    if _cooling(state.last_out_s, policy.scale_out_cooldown_s, state.now_s) and state.before_out is not None:
        base = min(state.capacity, max(state.before_out, state.serving))
    return max(state.capacity, _ceil(base * value / policy.target))


def step(policy: StepScaling, metric: Metric, state: State) -> int | None:
    """The capacity that step scaling wants, None without an alarm, in its cooldown, or between its steps."""
    last = list(metric[-policy.points :])
    if len(last) < policy.points or any(value is None for value in last):
        return None
    known = [_known(value) for value in last]
    if not all((value >= policy.threshold) if policy.above else (value < policy.threshold) for value in known):
        return None
    found = chosen(policy.steps, known[-1] - policy.threshold)
    if found is None:
        return None
    base = state.capacity
    if _cooling(state.last_out_s, policy.cooldown_s, state.now_s) and state.before_out is not None:
        base = state.before_out
    wanted = adjusted(policy, base, found.adjustment)
    if wanted > state.capacity:
        return wanted
    cooling = _cooling(state.last_in_s, policy.cooldown_s, state.now_s)
    cooling = cooling or _cooling(state.last_out_s, policy.cooldown_s, state.now_s)
    return None if cooling else wanted


def chosen(steps: Sequence[Step], breach: float) -> Step | None:
    """The step whose bounds hold the breach (metric - threshold): above the threshold the lower bound belongs to a step,
    below it the upper one."""
    for each in steps:
        lower = -math.inf if each.lower is None else each.lower
        upper = math.inf if each.upper is None else each.upper
        if (lower <= breach < upper) if breach >= 0 else (lower < breach <= upper):
            return each
    return None


def adjusted(policy: StepScaling, capacity: int, amount: int) -> int:
    """Capacity after one adjustment, not below 0.

    Percent changes are rounded: above 1 down, between 0 and 1 to 1, between 0 and -1 to -1, below -1 towards 0; then the
    smallest adjustment applies.
    """
    if policy.kind is Adjustment.EXACT:
        return max(0, amount)
    if policy.kind is Adjustment.CHANGE:
        return max(0, capacity + amount)
    exact = capacity * amount / 100
    change = int(math.copysign(1, exact)) if 0 < abs(exact) < 1 else math.trunc(exact)
    if change and abs(change) < policy.least_adjustment:
        change = int(math.copysign(policy.least_adjustment, change))
    return max(0, capacity + change)


def combined(tracking: Sequence[int | None], stepping: Sequence[int | None], state: State) -> int | None:
    """What several policies decide together: out if any says so, in only if all that track a target agree, and the largest
    capacity wins. A step policy without an alarm has no say; `tracking` holds those that may scale in."""
    said = [value for value in (*tracking, *stepping) if value is not None]
    if not said:
        return None
    return max(said) if max(said) > state.capacity or None not in tracking else None


def applied(wanted: int | None, limits: Limits, state: State) -> State:
    """The state after the decision. A capacity outside the limits moves to the nearest one whatever the policies say; a
    scale-out ends the cooldown of a scale-in."""
    target = state.capacity if wanted is None else wanted
    target = min(max(target, limits.least), limits.most)
    if target > state.capacity:
        return replace(state, capacity=target, last_out_s=state.now_s, last_in_s=None, before_out=state.capacity)
    if target < state.capacity:
        return replace(state, capacity=target, last_in_s=state.now_s)
    return state


def scheduled(actions: Sequence[Scheduled], limits: Limits, before_s: float, now_s: float) -> Limits:
    """The limits after every action due in (before_s, now_s]. Old limits do not come back by themselves, and no cooldown
    counts."""
    days = range(math.floor(before_s / DAY_S), math.floor(now_s / DAY_S) + 1)
    due = sorted((day * DAY_S + each.second_of_day, index) for day in days for index, each in enumerate(actions))
    for at, index in due:
        if before_s < at <= now_s:
            each = actions[index]
            least = limits.least if each.least is None else each.least
            most = limits.most if each.most is None else each.most
            limits = Limits(least=least, most=max(least, most))
    return limits


def _require_steps(steps: Sequence[Step]) -> None:
    """Steps must cover a range without gap or overlap, with at most one open end on each side."""
    if not 1 <= len(steps) <= 20:
        raise UsageError(f"a step policy has 1 to 20 steps, not {len(steps)}")
    if sum(each.lower is None for each in steps) > 1 or sum(each.upper is None for each in steps) > 1:
        raise UsageError("a step policy may leave one lower and one upper bound open, not more")
    ordered = sorted(steps, key=lambda each: -math.inf if each.lower is None else each.lower)
    for each in ordered:
        if each.lower is not None and each.upper is not None and each.lower >= each.upper:
            raise UsageError(
                f"the step from {each.lower:g} to {each.upper:g} is empty; the lower bound must be below the upper"
            )
    for low, high in pairwise(ordered):
        if low.upper != high.lower:
            raise UsageError(f"steps must meet: one ends at {low.upper}, the next begins at {high.lower}")


def _cooling(since_s: float | None, cooldown_s: float, now_s: float) -> bool:
    return since_s is not None and now_s - since_s < cooldown_s


def _known(value: float | None) -> float:
    assert value is not None
    return value


def _ceil(value: float) -> int:
    """Ceiling that takes 2.0000000000000004 for 2."""
    return math.ceil(round(value, 9))
