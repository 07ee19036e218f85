"""One night of the gate: measure, extend once what leaves a question open, confirm once before failing the build.

Several comparisons with the same baseline go through the night together: tonight's version, and the two that test the gate
itself. Each gets what it alone would get; what two of them need is measured in the same blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.gate.decision import Evidence, Finding, Metric, Verdict, confirmed, judge, overall
from harness.gate.pooled import Pooled

PAIRS = 12
"""At first, and once more when they leave a metric inconclusive: 12 pairs show +5 % at 2 % spread, 24 at 3 %."""

Measured = Mapping[Metric, Evidence]
Measure = Callable[[int, int], Measured]
"""Measures so many pairs with schedules of that seed."""
MeasureArms = Callable[[Sequence[str], int, int], Mapping[str, Measured]]
"""The same for several comparisons at once, by name."""

_ONE = "one"
_VANISHED = "the metric vanished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What a night found on one comparison and what it took: `runs` counts the measurements (1 to 3)."""

    findings: tuple[Finding, ...]
    runs: int
    extended: bool

    @property
    def verdict(self) -> Verdict:
        return overall(self.findings)


def hold(measure: Measure, seed: int, pairs: int = PAIRS) -> Night:
    """Decide about one comparison; every run has a seed of its own."""
    return hold_together(lambda arms, count, run: {_ONE: measure(count, run)}, [_ONE], seed, pairs)[_ONE]


def hold_together(measure: MeasureArms, arms: Sequence[str], seed: int, pairs: int = PAIRS) -> dict[str, Night]:
    """Decide about all of `arms`. What a run does not return of an arm that it was asked for counts as vanished."""
    rngs = {arm: np.random.default_rng([seed, at]) for at, arm in enumerate(arms)}
    measured = _asked(measure, arms, pairs, seed)
    findings = {arm: judge(measured[arm], rngs[arm]) for arm in arms}
    open_ = [arm for arm in arms if _has(findings[arm], Verdict.INCONCLUSIVE) and not _settled(findings[arm])]
    if open_:
        for arm, more in _asked(measure, open_, pairs, seed + 1).items():
            findings[arm] = judge(_joined(measured[arm], more), rngs[arm])
    fired = [arm for arm in arms if _has(findings[arm], Verdict.REGRESSION)]
    if fired:
        for arm, again in _asked(measure, fired, pairs, seed + 2).items():
            by_name = {metric.name: found for metric, found in again.items()}
            findings[arm] = tuple(
                confirmed(finding, by_name.get(finding.metric, _VANISHED), rngs[arm]) for finding in findings[arm]
            )
    return {arm: Night(findings=findings[arm], runs=1 + (arm in open_) + (arm in fired), extended=arm in open_) for arm in arms}


def _asked(measure: MeasureArms, arms: Sequence[str], pairs: int, seed: int) -> dict[str, Measured]:
    found = measure(arms, pairs, seed)
    return {arm: found.get(arm, {}) for arm in arms}


def _has(findings: Sequence[Finding], verdict: Verdict) -> bool:
    return any(finding.verdict is verdict for finding in findings)


def _settled(findings: Sequence[Finding]) -> bool:
    """Whether more pairs cannot change the verdict for the better: something fired, or could not be measured."""
    return _has(findings, Verdict.REGRESSION) or _has(findings, Verdict.INVALID)


def _joined(first: Measured, second: Measured) -> Measured:
    """The pairs of both; a metric that either could not measure stays unmeasured."""
    return {metric: _both(found, second.get(metric, _VANISHED)) for metric, found in first.items()}


def _both(found: Evidence, more: Evidence) -> Evidence:
    if isinstance(found, str) or isinstance(more, str):
        return found if isinstance(found, str) else more
    if isinstance(found, Pooled) and isinstance(more, Pooled):
        return found.joined(more)
    if isinstance(found, Pooled) or isinstance(more, Pooled):
        return "the metric was measured in two ways"
    return np.concatenate([found, more])
