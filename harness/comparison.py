"""What changed from one run to another: ratios of stored figures, as decisions with a reason where none can be made.

The intervals are those that each run stored. What a machine does between two runs (another day, other neighbours) is in
neither, so a ratio here shows where to look; pairs measured side by side are what decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.nouns import Estimate
from harness.ranking import TIE_RATIO, log_error
from harness.statistics import Z_95

CHANCE = 0.05
"""Share of the comparisons of equals that a 95 % interval tells apart all the same."""
RATE_TOLERANCE = 0.01
"""Latencies are compared where the rates at which they were measured differ by at most this share."""


class Verdict(StrEnum):
    """What is said of one figure: `OPEN` where the data or the circumstances allow no verdict."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    OPEN = "no verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure in two runs. `ratio` is after / before; `reason` says why there is no verdict, else None."""

    before: Estimate
    after: Estimate
    ratio: Estimate
    verdict: Verdict
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that is not the same in both; None where it is absent."""

    name: str
    before: Any
    after: Any


def change(
    before: Estimate,
    after: Estimate,
    *,
    higher_is_better: bool = False,
    tie_ratio: float = TIE_RATIO,
    hindrance: str | None = None,
) -> Change:
    """Compare two figures as independent log-normals whose 95 % intervals are the stored ones.

    They tie unless the 95 % interval of the ratio excludes 1 and the ratio is beyond `tie_ratio`. With a `hindrance` the
    figures stand side by side, and neither ratio nor verdict is stated.
    """
    reason = hindrance or _unusable(before, "before") or _unusable(after, "after")
    if reason is not None or not before.value or not after.value:
        return _open(before, after, Estimate(value=None, low=None, high=None, reason=reason), reason)
    gap = math.log(after.value / before.value)
    errors = log_error(before), log_error(after)
    if errors[0] is None or errors[1] is None:
        reason = f"the figure {'before' if errors[0] is None else 'after'} has no interval"
        return _open(before, after, Estimate(value=math.exp(gap), low=None, high=None, reason=reason), reason)
    half = Z_95 * math.hypot(errors[0], errors[1])
    ratio = Estimate(value=math.exp(gap), low=math.exp(gap - half), high=math.exp(gap + half))
    verdict = Verdict.BETTER if (gap > 0) == higher_is_better else Verdict.WORSE
    if abs(gap) <= half or abs(gap) < math.log(tie_ratio):
        verdict = Verdict.TIED
    return Change(before=before, after=after, ratio=ratio, verdict=verdict)


def _open(before: Estimate, after: Estimate, ratio: Estimate, reason: str | None) -> Change:
    return Change(before=before, after=after, ratio=ratio, verdict=Verdict.OPEN, reason=reason)


def _unusable(figure: Estimate, when: str) -> str | None:
    if figure.value is None:
        return f"not measured {when}: {figure.reason or 'the result gives no reason'}"
    if not 0 < figure.value < math.inf:
        return f"the figure {when}, {figure.value:g}, cannot be compared as a ratio"
    return None


def differences(before: Mapping[str, Any], after: Mapping[str, Any], above: str = "") -> Iterator[Difference]:
    """The leaves in which two mappings differ, by their path in words; a key that one of them lacks counts as absent."""
    for key in dict.fromkeys((*before, *after)):
        name = f"{above} {key}".strip().replace("_", " ")
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) or isinstance(new, Mapping):
            yield from differences(_mapping(old), _mapping(new), name)
        elif old != new:
            yield Difference(name=name, before=old, after=new)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {} if value is None else {"": value}


def hindrances(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Why no figure of one environment may be held against one of the other; empty when they agree."""
    missing = [when for when, each in (("before", before), ("after", after)) if not each.get("fingerprint")]
    if missing:
        return tuple(f"the run {when} states no fingerprint of its environment" for when in missing)
    if before["fingerprint"] == after["fingerprint"]:
        return ()
    ignored = ("fingerprint", "lanes")
    old, new = ({key: value for key, value in each.items() if key not in ignored} for each in (before, after))
    names = [each.name for each in differences(old, new)]
    said = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return (f"the environments differ: {said or 'in what their fingerprints cover'}",)


def same_rate(before: float | None, after: float | None) -> str | None:
    """Why latencies measured at these two rates are not compared, None when they may be."""
    if before is None or after is None:
        return "the run states no common rate at which latencies were measured"
    if abs(math.log(after / before)) <= math.log1p(RATE_TOLERANCE) if before > 0 and after > 0 else before == after:
        return None
    return f"measured at {before:.4g}/s and at {after:.4g}/s; give both benches the same --rate"


def same_slo(before: str | None, after: str | None) -> str | None:
    """Why capacities under these two SLOs are not compared, None when they may be."""
    if before == after:
        return None
    return f"under {before or 'no SLO'} and under {after or 'no SLO'}; give both benches the same --slo"
