"""Leave one hardware out: what the projection would have said of every published result without that hardware's own.

`python -m harness.projection.validate` prints the table of docs/projection.md.

On CPUs every other processor of another family in turn is the machine at hand, as in use; on GPUs the results of the same model
on all other GPUs are the anchors, or (a model that nobody published) those of the nearest other model. Intervals too are made
without the hardware they are checked on.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from harness.projection import anchors, constants, tables
from harness.projection.nouns import CPU, GPU, LEVEL, Published, Tables

SAME_ISA, OTHER_ISA = "same instruction set", "other instruction set"
SAME_MODEL, NEAR_MODEL = "same model", "nearest model"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """One projection of a held-out result: `error` is ln(projected / published). Errors of one `block`, a pair of processors
    and a runtime or a GPU and a model, stand and fall together."""

    kind: str
    hardware: str
    block: str
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the table: absolute errors as shares, the factor of the interval, and what its held-out interval covered: the
    share of results, and that of blocks, each counted by the share of its results."""

    kind: str
    rows: int
    hardware: int
    median: float
    p90: float
    factor: float
    coverage: float
    blocks: float


def held_out(found: Tables) -> tuple[HeldOut, ...]:
    return (*_cpu(found), *_gpu(found))


def table(held: Sequence[HeldOut]) -> list[Line]:
    """One line for each class, one for each of the two kinds of hardware, one for all."""
    kinds = sorted({each.kind for each in held})
    names = [*kinds, *(kind for kind in (CPU, GPU)), "all"]
    covered = {id(each): abs(each.error) <= width for each, width in zip(held, _nested(held), strict=True)}
    lines = []
    for name in names:
        own = [each for each in held if name == "all" or each.kind == name or each.kind.startswith(f"{name},")]
        errors = sorted(abs(math.expm1(each.error)) for each in own)
        lines.append(
            Line(
                kind=name,
                rows=len(own),
                hardware=len({each.hardware for each in own}),
                median=median(errors),
                p90=errors[min(len(errors) - 1, int(0.9 * len(errors)))],
                factor=math.exp(width(own)) if name in kinds else math.nan,
                coverage=fmean(covered[id(each)] for each in own),
                blocks=fmean(map(fmean, _by_block(own, covered))),
            )
        )
    return lines


def widths(held: Sequence[HeldOut]) -> dict[str, float]:
    """By class the half-width, in logarithms, of its interval: what `constants.WIDTHS` holds."""
    return {kind: width([each for each in held if each.kind == kind]) for kind in sorted({each.kind for each in held})}


def width(held: Iterable[HeldOut]) -> float:
    """The `LEVEL` quantile of the absolute errors, infinite without any.

    Counted are results, which lean on the few pairs of hardware with many of them; where counting each block once gives more,
    the geometric middle of the two.
    """
    own = list(held)
    if not own:
        return math.inf
    sizes = Counter(each.block for each in own)
    by_result = _quantile([(abs(each.error), 1.0) for each in own])
    by_block = _quantile([(abs(each.error), 1 / sizes[each.block]) for each in own])
    return max(by_result, math.sqrt(by_result * by_block))


def _quantile(weighted: Sequence[tuple[float, float]]) -> float:
    """The least value up to which `LEVEL` of the weight lies."""
    left, found = LEVEL * sum(weight for _, weight in weighted), math.inf
    for value, weight in sorted(weighted):
        left, found = left - weight, value
        if left <= 1e-9:
            break
    return found


def _by_block(held: Iterable[HeldOut], covered: Mapping[int, bool]) -> Iterable[list[bool]]:
    blocks: dict[str, list[bool]] = defaultdict(list)
    for each in held:
        blocks[each.block].append(covered[id(each)])
    return blocks.values()


def _nested(held: Sequence[HeldOut]) -> Iterator[float]:
    """For each result the width that its class has without any result of its hardware."""
    known: dict[tuple[str, str], float] = {}
    for each in held:
        key = each.kind, each.hardware
        if key not in known:
            others = [one for one in held if one.kind == each.kind and one.hardware != each.hardware]
            known[key] = width(others) if others else math.inf
        yield known[key]


def _groups(results: Iterable[Published]) -> dict[object, list[Published]]:
    groups: dict[object, list[Published]] = defaultdict(list)
    for each in results:
        groups[each.key].append(each)
    return groups


def _cpu(found: Tables) -> Iterator[HeldOut]:
    groups = _groups(found.of(CPU))
    for name in sorted({each.hardware for each in found.of(CPU)}):
        fitted = constants.fit_cpu(found.without(name))
        there = found.hardware[name]
        for group in groups.values():
            own = next((each for each in group if each.hardware == name), None)
            if own is None:
                continue
            for base in group:
                here = found.hardware[base.hardware]
                if here.family == there.family:
                    continue
                ratio = constants.cpu_ratio(fitted, here, there, own.precision, own.runtime)
                if ratio is None:
                    continue
                same = constants.isa_of(here.isa, own.precision, own.runtime) == constants.isa_of(
                    there.isa, own.precision, own.runtime
                )
                yield HeldOut(
                    kind=f"{CPU}, {own.precision}, {SAME_ISA if same else OTHER_ISA}",
                    hardware=name,
                    block=f"{base.hardware} {name} {own.runtime}",
                    error=math.log(base.ms) + ratio - math.log(own.ms),
                )


def _gpu(found: Tables) -> Iterator[HeldOut]:
    results = found.of(GPU)
    grid = list(itertools.product(constants.GPU_LAUNCH_S, constants.GPU_EFFICIENCY, constants.GPU_BANDWIDTH))
    groups = _groups(results)
    for name in sorted({each.hardware for each in results}):
        fitted = anchors.fit([each for each in results if each.hardware != name], found, grid)
        for own in (each for each in results if each.hardware == name):
            same = [each for each in groups[own.key] if each.hardware != name]
            near = _near(own, results, found)
            for kind, chosen in ((SAME_MODEL, same), (NEAR_MODEL, near)):
                if chosen:
                    projected = anchors.project(
                        found.models[own.model], found.hardware[name], own.precision, own.batch, chosen, found, fitted
                    )
                    yield HeldOut(
                        kind=f"{GPU}, {kind}",
                        hardware=name,
                        block=f"{name} {own.runtime} {own.model}",
                        error=math.log(projected.ms / own.ms),
                    )


def _near(own: Published, results: Sequence[Published], found: Tables) -> list[Published]:
    """The anchors of a result when neither its model nor its hardware had been published."""
    like = [
        each
        for each in results
        if (each.runtime, each.precision, each.batch, each.measure) == (own.runtime, own.precision, own.batch, own.measure)
        and each.model != own.model
        and each.hardware != own.hardware
    ]
    near = anchors.nearest_model(found.models[own.model], {each.model for each in like}, found)
    return [each for each in like if each.model == near]


def main() -> int:
    held = held_out(tables.load())
    print(f"{'class':34} {'rows':>5} {'hardware':>8} {'median':>7} {'p90':>5} {'interval':>9} {'covers':>7} {'blocks':>7}")
    for line in table(held):
        factor = "" if math.isnan(line.factor) else f"x/÷ {line.factor:.2f}"
        errors = f"{line.median:7.1%} {line.p90:5.0%}"
        print(f"{line.kind:34} {line.rows:5} {line.hardware:8} {errors} {factor:>9} {line.coverage:7.1%} {line.blocks:7.1%}")
    print("WIDTHS =", {kind: round(value, 3) for kind, value in widths(held).items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
