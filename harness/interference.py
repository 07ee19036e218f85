"""Whether lanes measured side by side may rank: the same candidate alone and beside busy neighbours, compared in ABBA slices.

Cores can be disjoint; the last-level cache, the memory bandwidth and the turbo budget cannot. Only a test on the machine itself
tells whether that matters here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from harness.nouns import Estimate
from harness.statistics import CONFIDENCE

LOWEST, HIGHEST = 0.98, 1.02
"""The ratio beside neighbours / alone must lie in here, its whole 95 % interval included."""
ORDER = "ABBA"
"""A: alone, B: beside neighbours. Mirrored, so that a steady drift of the machine cancels within each quadruple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """`service` and `throughput` are ratios beside neighbours / alone. `why_serial` is None when lanes may rank in parallel."""

    service: Estimate
    throughput: Estimate
    why_serial: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One slice of the test: the median service time (ms) and the throughput (1/s) of the observed lane."""

    beside: bool
    service_ms: float
    throughput_per_s: float


def judge(slices: Sequence[Slice], failure: str | None = None) -> Interference:
    """The verdict over whole ABBA quadruples of slices; too few of them, or a `failure` to measure any, decide for serial."""
    service = _ratio([(each.beside, each.service_ms) for each in slices])
    throughput = _ratio([(each.beside, each.throughput_per_s) for each in slices])
    broken = [
        f"{what} {_text(ratio)}"
        for what, ratio in (("service time", service), ("throughput", throughput))
        if not _within(ratio)
    ]
    why = None if failure is None else f"lanes could not be tested for interference: {failure}"
    if broken and why is None:
        why = (
            f"beside its neighbours a candidate had {' and '.join(broken)} of what it has alone; {LOWEST}-{HIGHEST} is allowed"
        )
    return Interference(service=service, throughput=throughput, why_serial=why)


def _ratio(values: Sequence[tuple[bool, float]]) -> Estimate:
    """Mean log ratio over quadruples with its t interval: each quadruple's two B over its two A, as geometric means."""
    width = len(ORDER)
    gaps = []
    for start in range(0, len(values) - width + 1, width):
        part = values[start : start + width]
        if any(not 0 < value < math.inf for _, value in part):
            continue
        logs = {side: np.mean([math.log(value) for beside, value in part if beside is side]) for side in (True, False)}
        gaps.append(float(logs[True] - logs[False]))
    if len(gaps) < 2:
        return Estimate(value=None, low=None, high=None, reason=f"{len(gaps)} complete comparisons; 2 are needed")
    mean = float(np.mean(gaps))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(gaps) - 1) * np.std(gaps, ddof=1) / math.sqrt(len(gaps)))
    return Estimate(value=math.exp(mean), low=math.exp(mean - half), high=math.exp(mean + half))


def _within(ratio: Estimate) -> bool:
    return ratio.low is not None and ratio.high is not None and ratio.low >= LOWEST and ratio.high <= HIGHEST


def _text(ratio: Estimate) -> str:
    if ratio.value is None:
        return f"unknown ({ratio.reason})"
    return f"{ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"
