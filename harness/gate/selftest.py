"""Whether the gate itself worked tonight: the accepted version against itself must stay silent, a canary must be caught.

A gate that has not caught its canary tonight has shown nothing by passing, and one that cries at equals none by failing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.gate.decision import Finding, Verdict
from harness.gate.night import Night
from harness.statistics import wilson

CANARY_SHARE = 0.05
"""The canary's service time is longer by this share."""
MOST_EXTRA = 100.0
"""Times the compute time that a canary may work on top; beyond, the time is not the model's and no canary can be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """`silent`: the twin showed no regression; `fired`: the canary's was found and confirmed; `why_invalid` is None when both
    are as they must be."""

    silent: bool
    fired: bool
    why_invalid: str | None


def judge(twin: Night, canary: Night) -> SelfTest:
    """What the nights of the twin and of the canary say of the gate."""
    loud = [finding for finding in twin.findings if finding.verdict is Verdict.REGRESSION]
    silent = not loud and bool(twin.findings)
    fired = any(finding.verdict is Verdict.REGRESSION for finding in canary.findings)
    reasons = []
    if loud:
        said = ", ".join(f"{finding.metric} {finding.reason}" for finding in loud)
        reasons.append(f"the baseline failed against itself ({said})")
    elif not silent:
        reasons.append("the baseline was not compared with itself")
    if not fired:
        reasons.append(f"a canary of +{CANARY_SHARE:.0%} was not caught ({_seen(canary.findings)})")
    return SelfTest(silent=silent, fired=fired, why_invalid="; ".join(reasons) or None)


def extra_work(service_ms: float, compute_ms: float) -> float:
    """What the canary works on top of every inference, as a share of its compute time, so that an answer takes 5 % longer.

    Raises ValueError where the compute time is too short to be multiplied.
    """
    share = CANARY_SHARE * service_ms / compute_ms if compute_ms > 0 else math.inf
    if not 0 < share <= MOST_EXTRA:
        raise ValueError(f"the model computes for {compute_ms:.3g} ms of {service_ms:.3g}: no canary can be made of that")
    return share


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Over the nights kept: how often it went as it must, with the Wilson interval of that share; None without a night."""

    nights: int
    good: int
    low: float | None
    high: float | None


def tally(outcomes: Iterable[bool]) -> Tally:
    known = list(outcomes)
    low, high = wilson(sum(known), len(known)) if known else (None, None)
    return Tally(nights=len(known), good=sum(known), low=low, high=high)


def _seen(findings: Iterable[Finding]) -> str:
    return "; ".join(f"{finding.metric}: {finding.reason}" for finding in findings) or "it was not measured"
