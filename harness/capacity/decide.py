"""Exact decisions about violation shares: is a step decided, may it stop early, do fresh runs confirm a rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from harness.capacity.finding import BROKE, CONFIRMED, MET, NOT_CONTRADICTED, REFUTED, UNDECIDED, Confirmation, StepVerdict
from harness.capacity.runs import OpenRun, as_step, starts, violated, worth
from harness.nouns import SLO, LatencyLimit

LOOKS = (450, 900, 1800, 3600)
"""The only numbers of requests at which a step may be judged before its end."""
ALPHA = 0.05
STEP_DOWN = 0.97
"""Factor on the rate after a refuted confirmation."""


def bounds(violations: float, effective_n: float, alpha: float) -> tuple[float, float]:
    """One-sided exact bounds (0..1), each at 1 - alpha, of a share (Clopper and Pearson, 1934).

    Counts may be fractions: violations that come in bursts are worth fewer independent ones.
    """
    low = 0.0 if violations <= 0 else float(stats.beta.ppf(alpha, violations, effective_n - violations + 1))
    high = 1.0 if violations >= effective_n else float(stats.beta.ppf(1 - alpha, violations + 1, effective_n - violations))
    return low, high


def judge(n: int, violations: Sequence[int], effective_n: Sequence[float], slo: SLO, looks: int = 1) -> tuple[str, str]:
    """(verdict, why) on one step, `looks` being how often it is judged in all: each look spends ALPHA / looks (union bound).

    One limit proved broken breaks the step; it is met when all are proved.
    """
    proved, alpha = 0, ALPHA / looks
    for count, worth_n, limit in zip(violations, effective_n, slo.limits, strict=True):
        low, high = bounds(count * worth_n / n if n else 0.0, worth_n, alpha) if n else (0.0, 1.0)
        if low > limit.allowed:
            return BROKE, f"{count} of {n} requests broke {limit}: proved at {100 * (1 - alpha):.3g} %"
        proved += high <= limit.allowed
    if proved == len(slo.limits):
        return MET, f"so few of {n} requests were slower that {slo} is proved at {100 * (1 - alpha):.3g} %"
    return UNDECIDED, f"n={n} proves neither that {slo} holds nor that it is broken"


def is_look(n: int) -> bool:
    """Whether a step may be judged at n requests; anywhere else would need a further share of ALPHA."""
    return n in LOOKS


def stop_count(limit: LatencyLimit, n: int, design_effect: float = 1.0) -> int:
    """How many violations among at most n requests prove a limit broken, so that the step may stop at once.

    The smallest k with P(Binomial(n, allowed) >= k) <= ALPHA. The count only grows, so reaching k early and having k at the end
    are one event, and looking all the time costs nothing. `design_effect` is how many violations make one independent one.
    """
    worth_n = max(1, round(n / design_effect))
    k = int(stats.binom.ppf(1 - ALPHA, worth_n, limit.allowed)) + 1
    return max(1, math.ceil(k * design_effect))


def most_decisive(slo: SLO, n: int) -> LatencyLimit:
    """The limit to stop a step by when there can be only one: that which the fewest violations prove broken."""
    return min(slo.limits, key=lambda limit: stop_count(limit, n))


def verdict(run: OpenRun, slo: SLO) -> StepVerdict:
    """What one run says of its rate, and the rule that ended it."""
    step, worth_n = as_step(run, slo), worth(run, slo)
    found, why = judge(step.n, step.violations, worth_n, slo)
    return StepVerdict(
        rate_per_s=run.rate_per_s,
        start=run.start,
        n=step.n,
        lost=step.lost,
        violations=step.violations,
        effective_n=worth_n,
        verdict=found,
        stop_rule=run.ended_early or f"its {run.duration_s:.3g} s were over; {why}",
    )


def confirm(runs: Sequence[OpenRun], slo: SLO, utilisation: float, rounds: int = 1) -> Confirmation:
    """Judge fresh runs at one rate together; `rounds` is how many rates will have been confirmed in all (union bound).

    Bursts are allowed for by the runs' own correlation, and by the Poisson busy period at this utilisation (0..1) where there
    are too few violations to show it (Borel, 1942).
    """
    if not runs or len({run.rate_per_s for run in runs}) > 1:
        raise ValueError("a confirmation needs runs, all at one rate")
    n, made = sum(run.n for run in runs), len(starts(runs))
    counts = tuple(int(count) for count in sum(violated(run, slo).sum(axis=0) for run in runs))
    busy = float(np.clip(utilisation, 0.0, 0.95))
    burst = 1 / (1 - busy) + busy / (1 - busy) ** 2
    own = [sum(worth(run, slo)[place] for run in runs) for place in range(len(slo.limits))]
    worth_n = tuple(max(1.0, min(each, n / burst if count < 5 else each)) for each, count in zip(own, counts, strict=True))
    found, why = judge(n, counts, worth_n, slo, looks=rounds)
    named = {MET: CONFIRMED, BROKE: REFUTED, UNDECIDED: NOT_CONTRADICTED}[found]
    if named == CONFIRMED and made < 2:
        named, why = NOT_CONTRADICTED, f"{why}, but on one server start only"
    return Confirmation(
        rate_per_s=runs[0].rate_per_s,
        starts=made,
        n=n,
        violations=counts,
        effective_n=worth_n,
        verdict=named,
        reason=why if named != NOT_CONTRADICTED or made < 2 else f"{why}: n is too small for a proof",
    )


def next_confirmation(made: Sequence[Confirmation], estimate_per_s: float) -> float | None:
    """The rate to confirm next: the estimate first, 3 % less after each refutation, None once a rate was not refuted."""
    if not made:
        return estimate_per_s
    return made[-1].rate_per_s * STEP_DOWN if made[-1].verdict == REFUTED else None
