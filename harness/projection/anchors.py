"""Published results that an accelerator's projection hangs on: the same model elsewhere, or the nearest one. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.projection.nouns import Hardware, Published, Tables, Work
from harness.projection.roofline import gpu_ms

Constants = tuple[float, float, float]
"""Seconds a launch, share of peak arithmetic, share of peak bandwidth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """`ms` of a batch as every anchor would have it, their mean in logarithms; `anchors` nearest first."""

    ms: float
    bound: str
    anchors: tuple[Published, ...]


def project(
    work: Work,
    hardware: Hardware,
    precision: str,
    batch: int,
    anchors: Sequence[Published],
    tables: Tables,
    constants: Constants,
) -> Anchored:
    """What the anchors (at least one) imply: each one's time by the ratio of the rooflines here and there."""
    own, bound = gpu_ms(work, hardware, precision, batch, *constants)
    logs = [
        math.log(
            each.ms
            * own
            / gpu_ms(tables.models[each.model], tables.hardware[each.hardware], each.precision, each.batch, *constants)[0]
        )
        for each in anchors
    ]
    return Anchored(ms=math.exp(fmean(logs)), bound=bound, anchors=tuple(anchors))


def nearest_model(work: Work, names: Iterable[str], tables: Tables) -> str | None:
    """The published model nearest in FLOPs and weights, by the sum of the logarithms of the ratios; None of none."""

    def distance(name: str) -> tuple[float, str]:
        other = tables.models[name]
        return (
            abs(math.log(other.flops / max(work.flops, 1.0))) + abs(math.log(other.weights / max(work.weights, 1.0))),
            name,
        )

    return min(names, key=distance, default=None)


def fit(results: Sequence[Published], tables: Tables, grid: Iterable[Constants]) -> Constants:
    """The constants of `grid` with the smallest median error when each result is projected from the others of its group."""
    groups: dict[object, list[Published]] = {}
    for each in results:
        groups.setdefault(each.key, []).append(each)

    def median_error(constants: Constants) -> float:
        roofs = {
            (each.model, each.hardware, each.precision, each.batch): math.log(
                gpu_ms(tables.models[each.model], tables.hardware[each.hardware], each.precision, each.batch, *constants)[0]
            )
            for each in results
        }
        errors = []
        for group in groups.values():
            values = [math.log(e.ms) - roofs[e.model, e.hardware, e.precision, e.batch] for e in group]
            total = sum(values)
            errors += [abs((total - value) / (len(values) - 1) - value) for value in values if len(values) > 1]
        errors.sort()
        return errors[len(errors) // 2] if errors else math.inf

    return min(grid, key=median_error)
