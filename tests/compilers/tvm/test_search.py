from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

pytest.importorskip("tvm")

from compilers.targets import resolve
from compilers.tvm import cuts
from compilers.tvm.cuts import Cut
from compilers.tvm.search import search
from compilers.tvm.trial import Trial
from compilers.tvm.work import Product, Work

TARGET = resolve("skylake-avx512")
SMALL, LARGE = Product(rows=128, depth=64, columns=64), Product(rows=128, depth=768, columns=768)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def contest(clock: Clock, cost_s: float, nanoseconds: Callable[[int], int]) -> Any:
    """Candidates that take `cost_s` to try; `nanoseconds` of the candidate's number is what each measures."""

    def race(work: Work, options: Sequence[Cut], *, out_of_time: Callable[[], bool]) -> list[Trial]:
        made = []
        for at, cut in enumerate(options):
            if at > 1 and out_of_time():
                break
            clock.now += cost_s
            made.append(
                Trial(work=work, cut=cut, call=print, data=None, weights=[], result=None, spent_ns=[nanoseconds(at)] * 8)
            )
        return made

    return race


def run(seconds: float, cost_s: float, nanoseconds: Callable[[int], int]) -> Any:
    clock = Clock()
    race = contest(clock, cost_s, nanoseconds)
    works: dict[Work, int] = {SMALL: 1, LARGE: 12}
    return search(works, TARGET, None, winograd=0, seconds=seconds, place="here", clock=clock, contest=race)


def test_the_fastest_is_recorded_with_what_the_default_took() -> None:
    found = run(100, 0.1, lambda at: 1000 - 100 * (at == 3))
    by_work = {record.work: record for record in found.records}
    assert by_work[LARGE].cut == cuts.candidates(LARGE, TARGET, winograd=0)[3]
    assert (by_work[LARGE].found_ns, by_work[LARGE].default_ns) == (900, 1000)
    assert by_work[LARGE].where == "here"
    assert found.left_out == 0


def test_noise_does_not_replace_the_default() -> None:
    for record in run(100, 0.1, lambda at: 1000 - at).records:
        assert record.cut == cuts.default(record.work, TARGET, winograd=0)
        assert record.found_ns == record.default_ns == 1000


def test_time_goes_to_the_most_arithmetic_and_ends() -> None:
    found = run(3, 1, lambda _: 1000)
    assert [record.work for record in found.records] == [LARGE]
    assert (found.left_out, found.tried, found.spent_s) == (1, 3, 3)
