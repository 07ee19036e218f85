"""One night of the gate: measure, extend once if that leaves a question open, confirm once before failing the build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.gate.decision import Finding, Metric, Verdict, confirmed, judge, overall
from harness.gate.paired import Gaps

PAIRS = 12
"""At first, and once more when they leave a metric inconclusive: 12 pairs show +5 % at 2 % spread, 24 at 3 %."""

Measured = Mapping[Metric, Gaps | str]
Measure = Callable[[int, int], Measured]
"""Measures so many pairs with schedules of that seed; what could not be measured is a reason instead of gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What a night found on one candidate and what it took: `runs` counts the measurements (1 to 3)."""

    findings: tuple[Finding, ...]
    runs: int
    extended: bool

    @property
    def verdict(self) -> Verdict:
        return overall(self.findings)


def hold(measure: Measure, seed: int, pairs: int = PAIRS) -> Night:
    """Decide about one candidate; every run has a seed of its own."""
    rng = np.random.default_rng([seed, 0])
    measured, runs = measure(pairs, seed), 1
    findings = judge(measured, rng)
    open_ = {finding.metric for finding in findings if finding.verdict is Verdict.INCONCLUSIVE}
    fired = any(finding.verdict is Verdict.REGRESSION for finding in findings)
    extended = bool(open_) and not fired
    if extended:
        measured, runs = _joined(measured, measure(pairs, seed + 1)), runs + 1
        findings = judge(measured, rng)
        fired = any(finding.verdict is Verdict.REGRESSION for finding in findings)
    if fired:
        again, runs = {metric.name: found for metric, found in measure(pairs, seed + 2).items()}, runs + 1
        missing = "the metric vanished"
        findings = tuple(confirmed(finding, again.get(finding.metric, missing), rng) for finding in findings)
    return Night(findings=findings, runs=runs, extended=extended)


def _joined(first: Measured, second: Measured) -> Measured:
    """The pairs of both; a metric that either could not measure stays unmeasured."""
    joined: dict[Metric, Gaps | str] = {}
    for metric, found in first.items():
        more = second.get(metric, "the metric vanished")
        unmeasured = next((each for each in (found, more) if isinstance(each, str)), None)
        joined[metric] = unmeasured if unmeasured is not None else np.concatenate([np.asarray(found), np.asarray(more)])
    return joined
