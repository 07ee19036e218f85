"""The hidden A/A twin: one candidate measured twice under two names, which shows how far apart equals come out.

Whatever separates twins is the machine, the day and the method, never the candidate. Their spread is printed as the smallest
difference this bench could have seen, and candidates closer than twins came out are tied.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from harness.nouns import Estimate
from harness.ranking import TIE_RATIO, log_error
from harness.statistics import Z_95

SUFFIX = "~twin"


def twin_id(candidate: str) -> str:
    """The twin's name: it has visits, servers and samples of its own under it, and no row in the ranking."""
    return candidate + SUFFIX


def twin_of(name: str) -> str | None:
    """The candidate whose twin `name` is, None for a candidate."""
    return name.removesuffix(SUFFIX) if name.endswith(SUFFIX) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinFinding:
    """What the twins of `candidate` showed in `metric`: the ratio twin / candidate with its 95 % interval.

    `separated`: the interval excludes 1 and the ratio is beyond `TIE_RATIO`, which equals should do in at most one bench in
    twenty. `smallest_difference` is the share by which two candidates measured like these must differ to be told apart.
    """

    candidate: str
    metric: str
    ratio: Estimate
    separated: bool
    smallest_difference: float | None
    reason: str | None = None

    @property
    def tie_ratio(self) -> float:
        """What the ranking must treat as a tie: never less than `TIE_RATIO`, more when the twins came out further apart."""
        if self.ratio.value is None:
            return TIE_RATIO
        return max(TIE_RATIO, self.ratio.value, 1 / self.ratio.value)


def compare(candidate: str, metric: str, figures: Mapping[str, Estimate]) -> TwinFinding:
    """Compare `candidate` with its twin by `figures`, which hold one `metric` of both; independent log-normals."""
    own, other = (figures.get(name) for name in (candidate, twin_id(candidate)))
    errors = [None if each is None else log_error(each) for each in (own, other)]
    if own is None or other is None or not own.value or not other.value or errors[0] is None or errors[1] is None:
        missing = next((each.reason for each in (own, other) if each is not None and each.reason), "not measured")
        nothing = Estimate(value=None, low=None, high=None, reason=f"the twins could not be compared: {missing}")
        return TwinFinding(
            candidate=candidate,
            metric=metric,
            ratio=nothing,
            separated=False,
            smallest_difference=None,
            reason=nothing.reason,
        )
    gap, half = math.log(other.value / own.value), Z_95 * math.hypot(errors[0], errors[1])
    ratio = Estimate(value=math.exp(gap), low=math.exp(gap - half), high=math.exp(gap + half))
    return TwinFinding(
        candidate=candidate,
        metric=metric,
        ratio=ratio,
        separated=abs(gap) > half and abs(gap) >= math.log(TIE_RATIO),
        smallest_difference=math.expm1(max(half, abs(gap), math.log(TIE_RATIO))),
    )
