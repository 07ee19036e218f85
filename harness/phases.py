"""A run stretch by stretch, for loads that change over time, and whether an SLO held over all of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.measurement import QUANTILES, counts, violated
from harness.nouns import SLO, LoadProfile, Quantile
from harness.statistics import clopper_pearson, effective_n, quantile
from loadprofiles.samples import SUCCEEDED, Samples

_NS_PER_MS, _NS_PER_S = 1e6, 1e9

MET, MISSED, OPEN = "met", "missed", "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """The requests due (closed loop: sent) in one stretch, over which the load goes from `start` to `end`, in requests per
    second or users."""

    number: int
    begins_s: float
    duration_s: float
    start: float
    end: float
    planned: int
    succeeded: int
    offered_per_s: float
    answered_per_s: float
    """Good answers that arrived in the stretch, per second."""
    latency_ms: dict[str, Quantile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit of an SLO: the share of requests that broke it, with its 95 % interval, against the share that may."""

    limit: str
    allowed: float
    share: float | None
    low: float | None
    high: float | None
    verdict: str
    """`met`, `missed` or `cannot tell`."""


def phases(samples: Samples, profile: LoadProfile, start_ns: int) -> tuple[Phase, ...]:
    """One row for each segment of the profile; none for a load that stays the same."""
    found: list[Phase] = []
    begins_s = 0.0
    for number, each in enumerate(profile.segments, start=1):
        first, last = (start_ns + round(at_s * _NS_PER_S) for at_s in (begins_s, begins_s + each.duration_s))
        inside = samples[(samples["due_ns"] >= first) & (samples["due_ns"] < last)]
        good = inside[inside["outcome"] == SUCCEEDED]
        arrived = (samples["outcome"] == SUCCEEDED) & (samples["done_ns"] >= first) & (samples["done_ns"] < last)
        lost = len(inside) - len(good)
        latencies_ms = (good["done_ns"] - good["due_ns"]) / _NS_PER_MS
        found.append(
            Phase(
                number=number,
                begins_s=begins_s,
                duration_s=each.duration_s,
                start=each.start,
                end=each.end,
                planned=len(inside),
                succeeded=len(good),
                offered_per_s=len(inside) / each.duration_s,
                answered_per_s=int(arrived.sum()) / each.duration_s,
                latency_ms={label: quantile(latencies_ms, p, failures=lost) for label, p in QUANTILES.items()},
            )
        )
        begins_s += each.duration_s
    return tuple(found)


def check(samples: Samples, slo: SLO) -> tuple[Check, ...]:
    """Each limit of `slo`, and its error ratio last, against a run.

    A latency limit is met when the upper, missed when the lower end of the exact interval (Clopper and Pearson, 1934) of the
    share of slower or lost requests says so; the interval is that of as many independent requests as theirs are worth. The
    error ratio is met when what was seen is within it: to prove one of 0.1 % would take thousands of requests.
    """
    broken = violated(samples, slo)
    rows = [_judged(str(limit), limit.allowed, broken[:, index]) for index, limit in enumerate(slo.limits)]
    lost = samples[np.argsort(samples["due_ns"], kind="stable")]["outcome"] != SUCCEEDED
    errors = _judged(f"errors<{100 * slo.max_error_ratio:g}%", slo.max_error_ratio, lost)
    seen = counts(samples).lost
    if errors.verdict == OPEN and len(samples) and seen <= slo.max_error_ratio * len(samples):
        errors = replace(errors, verdict=MET)
    return (*rows, errors)


def verdict(checks: Sequence[Check]) -> str:
    """`missed` when any limit is, `met` when all are, else `cannot tell`."""
    seen = {each.verdict for each in checks}
    return MISSED if MISSED in seen else MET if seen == {MET} else OPEN


def _judged(limit: str, allowed: float, broken: np.ndarray) -> Check:
    if not broken.size:
        return Check(limit=limit, allowed=allowed, share=None, low=None, high=None, verdict=OPEN)
    share = float(broken.mean())
    n = max(1, round(effective_n(broken.astype(float))))
    low, high = clopper_pearson(min(n, round(share * n)), n)
    said = MET if high <= allowed else MISSED if low > allowed else OPEN
    return Check(limit=limit, allowed=allowed, share=share, low=low, high=high, verdict=said)
