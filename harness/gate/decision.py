"""The gate's verdicts, as pure decisions: REGRESSION, PASS, INCONCLUSIVE or INVALID, for each metric and for the night.

A regression is claimed when it is sure (Holm-corrected p below 0.01 over the metrics looked at together) and large enough to
matter (the estimate reaches the metric's threshold); it fails the build only after a second run with fresh seeds confirms it. A
pass must be shown as well: the data must contradict a change as large as the threshold. What is neither stays open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy import stats

from harness.gate.paired import Comparison, Gaps, compare, holm, p_below
from harness.gate.pooled import Pooled

ALPHA = 0.01
"""Of the family of metrics in the first run."""
CONFIRM_ALPHA = 0.05
"""Of the confirming run, for each metric that fired; a false alarm has to happen in both."""
PASS_ALPHA = 0.05
"""Of claiming that nothing as large as the threshold changed."""
MIN_PAIRS = 8
"""With fewer, eight sign patterns and a family of five could not reach p = 0.01 even in the clearest case."""
TAIL_REQUESTS = 4000
"""Of each version, from which on its p99 is judged. The ratio of two p99 of log-normal latencies with a spread of 0.3 has a
standard error of 1.6 / sqrt(n): with 4,000 a worsening of 10 % is four of them; with 1,000 it is two, and most nights would
stay open."""
LARGEST_GAP = math.log(1e6)


class Verdict(StrEnum):
    """Of one metric, or of the night."""

    PASS = "pass"
    REGRESSION = "regression"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """`threshold` is the smallest relative worsening that fails the build; `higher_is_better` turns the ratio."""

    name: str
    threshold: float
    higher_is_better: bool = False


Evidence = Gaps | Pooled | str
"""Of one metric: the gap of each pair, the pooled slices of both versions, or why it could not be measured."""

METRICS = (
    Metric(name="p50_ms", threshold=0.03),
    Metric(name="p95_ms", threshold=0.05),
    Metric(name="throughput_per_s", threshold=0.03, higher_is_better=True),
    Metric(name="start_s", threshold=0.10),
    Metric(name="p99_ms", threshold=0.10),
)
"""The metrics of one candidate, judged as one family; p99 from pooled slices, where they hold enough requests for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of evidence. `ratio` is tonight / baseline as measured, with its 95 % bounds; None when it was not measured.

    `visible` is the smallest worsening that this night would have caught with 95 % probability; `p` is Holm-adjusted.
    """

    metric: str
    verdict: Verdict
    reason: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    p: float | None = None
    threshold: float | None = None
    visible: float | None = None
    improved: bool = False


def gaps(metric: Metric, baseline: Sequence[float], tonight: Sequence[float]) -> Gaps:
    """ln(tonight / baseline) of each pair, positive when tonight is worse. Raises ValueError for what has no logarithm."""
    before, after = np.asarray(baseline, dtype=float), np.asarray(tonight, dtype=float)
    if before.shape != after.shape or not ((before > 0) & (after > 0) & np.isfinite(before) & np.isfinite(after)).all():
        raise ValueError(f"{metric.name}: every slice needs a finite figure above 0, in pairs")
    return np.asarray((-1 if metric.higher_is_better else 1) * np.log(after / before), dtype=np.float64)


def judge(pairs: Mapping[Metric, Evidence], rng: np.random.Generator) -> tuple[Finding, ...]:
    """The findings on one candidate's metrics; a tail of too few requests has none."""
    enough = {metric: found for metric, found in pairs.items() if not isinstance(found, Pooled) or found.n >= TAIL_REQUESTS}
    seen = {metric: _compared(found, rng) for metric, found in enough.items()}
    compared = {metric: each for metric, each in seen.items() if isinstance(each, Comparison)}
    adjusted = holm({metric.name: each.p_worse for metric, each in compared.items()})
    findings = []
    for metric, each in seen.items():
        if isinstance(each, str):
            findings.append(_invalid(metric, each))
        else:
            shown = _shown_below(pairs[metric], math.log1p(metric.threshold), rng)
            findings.append(_finding(metric, each, adjusted[metric.name], shown, len(compared)))
    return tuple(findings)


def _compared(found: Evidence, rng: np.random.Generator) -> Comparison | str:
    """What the evidence says, or why it says nothing."""
    if isinstance(found, str):
        return found
    if found.size < MIN_PAIRS:
        return f"{found.size} pairs are too few, {MIN_PAIRS} are needed"
    if not isinstance(found, Pooled) and np.abs(found).max() > LARGEST_GAP:
        return "the figures of a pair differ a million times over: one of them is none"
    try:
        return found.compare(rng) if isinstance(found, Pooled) else compare(found, rng)
    except ValueError as error:
        return str(error)


def _shown_below(found: Evidence, limit: float, rng: np.random.Generator) -> float:
    assert not isinstance(found, str)
    return found.p_below(limit, rng) if isinstance(found, Pooled) else p_below(found, limit, rng)


def confirmed(first: Finding, again: Evidence, rng: np.random.Generator) -> Finding:
    """The finding after a second run with fresh seeds: a regression stands only if it shows there too."""
    if first.verdict is not Verdict.REGRESSION:
        return first
    second = _compared(again, rng)
    if isinstance(second, str):
        return replace(first, verdict=Verdict.INVALID, reason=f"the confirming run has no figure: {second}")
    seen = f"{math.expm1(second.gap):+.1%}"
    if second.gap > 0 and second.p_worse < CONFIRM_ALPHA:
        return replace(first, reason=f"{first.reason}; confirmed at {seen}")
    reason = f"{first.reason}; not confirmed by a second run ({seen})"
    return replace(first, verdict=Verdict.INCONCLUSIVE, reason=reason)


def overall(findings: Sequence[Finding]) -> Verdict:
    """The night's verdict, the gravest first: what could not be measured never passes."""
    verdicts = {finding.verdict for finding in findings}
    for verdict in (Verdict.INVALID, Verdict.REGRESSION, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.PASS if findings else Verdict.INVALID


def _finding(metric: Metric, seen: Comparison, p: float, p_shown: float, family: int) -> Finding:
    limit, worse = math.log1p(metric.threshold), math.expm1(seen.gap)
    turn = -1 if metric.higher_is_better else 1
    low, high = sorted((math.exp(turn * seen.low), math.exp(turn * seen.high)))
    if p < ALPHA and seen.gap >= limit:
        verdict, reason = Verdict.REGRESSION, f"{worse:+.1%} worse, threshold {metric.threshold:.0%}"
    elif p_shown < PASS_ALPHA:
        verdict, reason = Verdict.PASS, f"a worsening of {metric.threshold:.0%} is excluded (seen {worse:+.1%})"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, f"seen {worse:+.1%}; {seen.pairs} pairs cannot exclude {metric.threshold:.0%}"
    return Finding(
        metric=metric.name,
        verdict=verdict,
        reason=reason,
        ratio=math.exp(turn * seen.gap),
        low=low,
        high=high,
        pairs=seen.pairs,
        p=p,
        threshold=metric.threshold,
        visible=_visible(seen, family),
        improved=seen.high < 0 and seen.gap <= -math.log1p(metric.threshold),
    )


def _visible(seen: Comparison, family: int) -> float:
    """The worsening caught with 95 % probability at the family's strictest level, from the spread of tonight's pairs (normal
    approximation)."""
    needed = float(stats.norm.ppf(1 - ALPHA / family) + stats.norm.ppf(0.95))
    return math.expm1(needed * seen.spread / math.sqrt(seen.pairs))


def _invalid(metric: Metric, reason: str) -> Finding:
    return Finding(metric=metric.name, verdict=Verdict.INVALID, reason=reason, threshold=metric.threshold)
