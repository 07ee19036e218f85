"""Which policy is cheapest while it keeps the SLO: every kind at every target, over the same days."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.errors import UsageError
from harness.fleet import demand as demands
from harness.fleet.demand import DAY_S, Demand
from harness.fleet.nouns import Day, Fleet, Metric, Policy
from harness.fleet.policies import (
    BAND_IN,
    HIGH_RESOLUTION_S,
    MINUTES_IN,
    Adjustment,
    Limits,
    Scheduled,
    Step,
    StepScaling,
    TargetTracking,
)
from harness.fleet.simulate import mean_outstanding, simulate, steady
from harness.nouns import SLO

TRACKING, HIGH_RESOLUTION, STEP, SCHEDULED, ZERO, ASYNC_ZERO = KINDS = (
    "tracking",
    "high-resolution",
    "step",
    "scheduled",
    "zero",
    "async-zero",
)
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
KEPT_SHARE = 0.95
"""Of the seeds in which a policy must keep the SLO to be chosen."""
MOST_INSTANCES = 2_000
_MINUTE_NS = 60 * 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: a fleet whose instances carry `capacity_per_s` under the SLO, the demand, and what an instance costs
    (None when unknown). `least` and `most` are the limits of the fleet; None lets the demand and the target decide."""

    fleet: Fleet
    demand: Demand
    slo: SLO
    capacity_per_s: float
    usd_per_hour: float | None
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One policy over several seeds; its target is `share` of the capacity. Costs are per day of 24 h, None without a price.

    `abandoned`: after so many failures that it could not be chosen any more the remaining seeds were left out.
    """

    kind: str
    share: float
    target: float
    policy: Policy
    days: tuple[Day, ...]
    abandoned: bool
    span_days: float
    usd_per_hour: float | None

    @property
    def kept_share(self) -> float:
        """Share of the seeds in which the SLO was kept."""
        return sum(day.keeps_slo for day in self.days) / len(self.days)

    @property
    def keeps_slo(self) -> bool:
        return not self.abandoned and self.kept_share >= KEPT_SHARE

    @property
    def instance_hours_per_day(self) -> float:
        return float(np.mean([day.instance_hours for day in self.days])) / self.span_days

    @property
    def usd_per_day(self) -> float | None:
        return None if self.usd_per_hour is None else self.instance_hours_per_day * self.usd_per_hour

    @property
    def violation_ratio(self) -> float:
        """Share of all requests that broke the limit on the highest quantile."""
        requests = sum(day.requests for day in self.days)
        return sum(day.violations for day in self.days) / requests if requests else 0.0

    @property
    def failed_ratio(self) -> float:
        requests = sum(day.requests for day in self.days)
        return sum(day.failed for day in self.days) / requests if requests else 0.0


def peak_per_s(demand: Demand, seeds: Sequence[int]) -> float:
    """The busiest minute of any seed, in requests per second."""
    return max(float(demands.counts(demand, seed).per_second(_MINUTE_NS).max()) for seed in seeds)


def require_possible(question: Question, seeds: Sequence[int]) -> None:
    """UsageError when no fleet could do what is asked."""
    for limit in question.slo.limits:
        share = question.fleet.service.share_above(limit.limit_ms)
        if share > 1 - limit.quantile:
            raise UsageError(
                f"the SLO {limit} is impossible for any fleet: {share:.1%} of the requests are slower without any queue; "
                f"allow more time or choose a faster candidate"
            )
    peak, most = peak_per_s(question.demand, seeds), question.most
    needed = math.ceil(peak / question.capacity_per_s)
    if most is not None and needed > most:
        raise UsageError(
            f"the busiest minute brings {peak:.4g} requests/s, {needed} instances at their full "
            f"{question.capacity_per_s:.4g}/s, but --max is {most}; raise it or lower the demand"
        )
    if math.ceil(needed / min(SHARES)) > MOST_INSTANCES:
        raise UsageError(
            f"the busiest minute brings {peak:.4g} requests/s, {needed} instances at full capacity; a fleet of at most "
            f"{MOST_INSTANCES} is simulated: lower the demand or choose a larger instance"
        )


def sweep(
    question: Question, kinds: Sequence[str], shares: Sequence[float], seeds: Sequence[int], tell: Callable[[Trial], None]
) -> Iterator[Trial]:
    """Every kind at every share, told as they are done."""
    peak = peak_per_s(question.demand, seeds)
    allowed_failures = len(seeds) - math.ceil(round(KEPT_SHARE * len(seeds), 9))
    for kind in kinds:
        for share in shares:
            trial = _trial(question, kind, share, seeds, peak, allowed_failures)
            tell(trial)
            yield trial


def choose(trials: Sequence[Trial]) -> Trial | None:
    """The cheapest that keeps the SLO, None when none does; between equals the fewer violations."""
    kept = [trial for trial in trials if trial.keeps_slo]
    return min(kept, key=lambda trial: (trial.instance_hours_per_day, trial.violation_ratio), default=None)


def frontier(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other beats in cost and in violations at once, cheapest first."""
    found: list[Trial] = []
    for trial in sorted(trials, key=lambda each: (each.instance_hours_per_day, each.violation_ratio)):
        if not found or trial.violation_ratio < found[-1].violation_ratio:
            found.append(trial)
    return found


def _trial(question: Question, kind: str, share: float, seeds: Sequence[int], peak: float, allowed_failures: int) -> Trial:
    fleet = replace(question.fleet, waits_at_zero=kind == ASYNC_ZERO)
    target, policy = policy_for(question, kind, share, peak, seeds)
    days: list[Day] = []
    for seed in seeds:
        if sum(not day.keeps_slo for day in days) > allowed_failures:
            break
        initial = _initial(question, share, policy.limits, seed)
        days.append(simulate(fleet, policy, question.demand, question.slo, seed, initial=initial))
    return Trial(
        kind=kind,
        share=share,
        target=target,
        policy=policy,
        days=tuple(days),
        abandoned=len(days) < len(seeds),
        span_days=question.demand.span_ns / 1e9 / DAY_S,
        usd_per_hour=question.usd_per_hour,
    )


def policy_for(question: Question, kind: str, share: float, peak: float, seeds: Sequence[int]) -> tuple[float, Policy]:
    """(the target in the metric's unit, the policy). Invocations are per minute and instance; for concurrency the target
    is what a fleet of the right size shows at that share of its capacity."""
    per_instance = share * question.capacity_per_s
    least = question.least if question.least is not None else (0 if kind in (ZERO, ASYNC_ZERO) else 1)
    most = question.most if question.most is not None else max(1, least, math.ceil(round(peak / per_instance, 9)) + 1)
    limits = Limits(least=min(least, most), most=most)
    cooldown = float(math.ceil(question.fleet.provisioning_s + max(question.fleet.starts_s)))
    per_minute = 60 * per_instance
    tracking = TargetTracking(target=per_minute, scale_out_cooldown_s=cooldown)
    policy = Policy(metric=Metric.INVOCATIONS, limits=limits, tracking=tracking)
    if kind == HIGH_RESOLUTION:
        target = _concurrency(question, per_instance, peak, limits)
        tracking = replace(tracking, target=target, period_s=HIGH_RESOLUTION_S)
        return target, replace(policy, metric=Metric.CONCURRENCY, tracking=tracking)
    if kind == STEP:
        return per_minute, replace(policy, tracking=None, steps=_steps(per_minute, cooldown))
    if kind == SCHEDULED:
        return per_minute, replace(policy, schedule=_schedule(question, per_instance, cooldown, limits, seeds))
    if kind == ASYNC_ZERO:
        target = _concurrency(question, per_instance, peak, limits)
        return target, replace(policy, metric=Metric.BACKLOG, tracking=replace(tracking, target=target), from_zero=1)
    if kind == ZERO:
        return per_minute, replace(policy, from_zero=1)
    return per_minute, policy


def _concurrency(question: Question, per_instance: float, peak: float, limits: Limits) -> float:
    """Requests in flight and queued per instance at that load, from a fleet of half the peak's size, simulated for an
    hour."""
    size = max(1, min(limits.most, round(peak / 2 / per_instance)))
    day = steady(question.fleet, size, size * per_instance, 3600, question.slo, 0)
    return mean_outstanding([day]) / size


def _steps(threshold: float, cooldown_s: float) -> tuple[StepScaling, ...]:
    """Out after one minute by a quarter, a half, or to double; in by a fifth after the 15 minutes that tracking takes,
    below 0.9 of the target."""
    quarter = threshold / 4
    out = StepScaling(
        threshold=threshold,
        kind=Adjustment.PERCENT,
        points=1,
        cooldown_s=cooldown_s,
        least_adjustment=1,
        steps=(
            Step(lower=0.0, upper=quarter, adjustment=25),
            Step(lower=quarter, upper=2 * quarter, adjustment=50),
            Step(lower=2 * quarter, upper=None, adjustment=100),
        ),
    )
    back = StepScaling(
        threshold=BAND_IN * threshold,
        above=False,
        kind=Adjustment.PERCENT,
        points=MINUTES_IN,
        least_adjustment=1,
        steps=(Step(lower=None, upper=0.0, adjustment=-20),),
    )
    return (out, back)


def _schedule(
    question: Question, per_instance: float, lead_s: float, limits: Limits, seeds: Sequence[int]
) -> tuple[Scheduled, ...]:
    """For each hour the least capacity that its mean load needs, early enough to be in service when it begins. It is made
    from the very days it is tried on, bursts averaged away; target tracking goes on beside it."""
    hours = max(1, math.ceil(question.demand.span_ns / 3600e9))
    rates = np.zeros((len(seeds), hours))
    for row, seed in enumerate(seeds):
        found = demands.counts(question.demand, seed).per_second(3600 * 1_000_000_000)[:hours]
        rates[row, : found.size] = found
    actions: dict[int, int] = {}
    for hour, rate in enumerate(rates.mean(axis=0)):
        least = min(limits.most, max(limits.least, math.ceil(round(float(rate) / per_instance, 9))))
        second = int(hour * 3600 - lead_s) // 60 * 60 % DAY_S
        # Several days share their hours: the busiest decides.
        actions[second] = max(least, actions.get(second, 0))
    return tuple(Scheduled(second_of_day=second, least=least, most=None) for second, least in sorted(actions.items()))


def _initial(question: Question, share: float, limits: Limits, seed: int) -> int:
    """The fleet in service at the start: what its first five minutes need, so that no trial begins in the red."""
    first = demands.counts(question.demand, seed).per_second(_MINUTE_NS)[:5]
    needed = math.ceil(round(float(first.mean()) / (share * question.capacity_per_s), 9))
    return min(max(needed, limits.least), limits.most)
