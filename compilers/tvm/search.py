"""A measured search over the cuts of every distinct kernel of a model, within a given time.

The rules' own order of the candidates is the search order, so that a short search tries what promises most. Each kernel gets
the share of the time that its arithmetic has of the model's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from compilers.targets import Target
from compilers.tvm import cuts, pipeline, trial
from compilers.tvm.cuts import Cut
from compilers.tvm.records import Record
from compilers.tvm.trial import Trial
from compilers.tvm.work import Product, Work

_ROUNDS = 12
_CALLS = 2  # per candidate and round: the first one after another candidate's finds its code cold
_MOST = 16
_WORTH = 0.98
"""A candidate replaces the default when it takes less than this share of its time; closer ones are noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of a search."""

    records: tuple[Record, ...]
    tried: int
    spent_s: float
    left_out: int
    """Distinct kernels that the time did not reach."""


def works_of(module: Any, target: Target, tvm_target: Any, *, winograd: int) -> dict[Work, int]:
    """Every tunable kernel of `module`, and how often it occurs."""
    found: dict[Work, int] = {}

    def note(work: Work) -> Cut:
        found[work] = found.get(work, 0) + 1
        return cuts.default(work, target, winograd=winograd)

    pipeline.lower(module, target, tvm_target, winograd=winograd, choose=note)
    return found


def search(
    works: Mapping[Work, int],
    target: Target,
    tvm_target: Any,
    *,
    winograd: int,
    seconds: float,
    place: str,
    clock: Callable[[], float] = time.monotonic,
    contest: Callable[..., list[Trial]] | None = None,
) -> Found:
    """The best cut of every work that the time reaches, the most arithmetic first."""
    began = clock()
    race = contest or partial(compare, target=target, tvm_target=tvm_target)
    weight = {work: count * flops_of(work) for work, count in works.items()}
    order = sorted(works, key=lambda work: -weight[work])
    records, tried, left = [], 0, sum(weight.values())
    for work in order:
        remaining = seconds - (clock() - began)
        if remaining <= 0:
            break
        share = remaining * weight[work] / left if left else remaining
        left -= weight[work]
        ends = clock() + share
        options = cuts.candidates(work, target, winograd=winograd)[:_MOST]
        trials = race(work, options, out_of_time=lambda ends=ends: clock() >= ends)
        tried += len(trials)
        if trials:
            records.append(_best(work, place, trials))
    return Found(records=tuple(records), tried=tried, spent_s=clock() - began, left_out=len(order) - len(records))


def flops_of(work: Work) -> int:
    return work.flops if isinstance(work, Product) else work.shape.flops


def _best(work: Work, place: str, trials: Sequence[Trial]) -> Record:
    """The fastest, if it is clearly faster than the default, which is the first."""
    default, best = trials[0], min(trials, key=lambda each: each.typical_ns())
    if best.typical_ns() >= _WORTH * default.typical_ns():
        best = default
    return Record(work=work, where=place, cut=best.cut, found_ns=best.typical_ns(), default_ns=default.typical_ns())


def compare(
    work: Work, options: Sequence[Cut], *, target: Target, tvm_target: Any, out_of_time: Callable[[], bool]
) -> list[Trial]:
    """Build the candidates in turn until half of the time is over, at least two, and time them in turn.

    One that cannot be compiled is left out; the default is the first of `options`.
    """
    data, weight = trial.operands(work)
    made: list[Trial] = []
    for cut in options:
        if len(made) > 1 and out_of_time():
            break
        try:
            made.append(trial.build(work, cut, target.lanes, tvm_target, weight, data))
        except Exception:  # noqa: BLE001 - tvm refuses by exceptions of many kinds; another cut serves
            if not made:
                return []
    for each in made:
        each.call(each.data, each.weights[0], each.result)
    for turn in range(_ROUNDS):
        # Every candidate was timed twice before time can run out.
        if turn > 1 and out_of_time():
            break
        for each in made:
            for _ in range(_CALLS):
                each.run_ns()
    return made
