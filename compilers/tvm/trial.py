"""One kernel built and timed by itself, its weights cold as they are inside a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import s_tir, te, tirx

from compilers.tvm.cuts import Cut
from compilers.tvm.legalise import Stages, convolution, product
from compilers.tvm.schedules.dispatch import schedule_kernel
from compilers.tvm.work import Product, Work

_COLD_BYTES = 96 << 20
"""Weight copies in turn beyond this size: by its next turn, a copy has left every cache that belongs to one core's share."""
_MOST_COPIES = 16


@dataclass(slots=True, kw_only=True)
class Trial:
    """A compiled kernel with its operands; `run_ns` is called again and again, and the fastest calls count."""

    work: Work
    cut: Cut
    call: Callable[..., Any]
    data: Any
    weights: list[Any]
    result: Any
    spent_ns: list[int] = field(default_factory=list)
    turn: int = 0

    def run_ns(self) -> int:
        """One call with the copy of the weights whose turn it is."""
        weight = self.weights[self.turn % len(self.weights)]
        self.turn += 1
        begun_ns = time.perf_counter_ns()
        self.call(self.data, weight, self.result)
        self.spent_ns.append(time.perf_counter_ns() - begun_ns)
        return self.spent_ns[-1]

    def typical_ns(self) -> int:
        """The lower quartile: what disturbs a call only lengthens it."""
        return sorted(self.spent_ns)[len(self.spent_ns) // 4]


def build(work: Work, cut: Cut, lanes: int, target: Any, weight: np.ndarray, data: np.ndarray) -> Trial:
    """Compile `work` cut by `cut` with a ReLU behind it; raises what tvm raises."""
    _, packed, stages = stages_of(work, cut, weight, lanes)
    function, shape = _function(data.shape, packed.shape, stages)
    schedule = s_tir.Schedule(function)
    schedule_kernel(schedule, lanes)
    call = tvm.compile(schedule.mod["main"], target=target).jit()["main"]
    copies = min(_MOST_COPIES, max(2, -(-_COLD_BYTES // packed.nbytes)))
    weights = [tvm.runtime.tensor(packed) for _ in range(copies)]
    return Trial(
        work=work,
        cut=cut,
        call=call,
        data=tvm.runtime.tensor(data),
        weights=weights,
        result=tvm.runtime.tensor(np.zeros(shape, "float32")),
    )


def stages_of(work: Work, cut: Cut, weight: np.ndarray, lanes: int) -> tuple[str, np.ndarray, Stages]:
    return product(work, cut, weight, lanes) if isinstance(work, Product) else convolution(work, cut, weight)


def operands(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Random data as the kernel reads it, and a random weight as the model holds it."""
    random = np.random.default_rng(0)
    if isinstance(work, Product):
        shapes: list[tuple[int, ...]] = [(work.rows, work.depth), (work.depth, work.columns)]
    else:
        shape, inner = work.shape, work.in_chunk
        data = (shape.batch, shape.channels, shape.height, shape.width)
        if inner is not None:
            data = (shape.batch, shape.channels // inner, shape.height, shape.width, inner)  # type: ignore[assignment]
        shapes = [data, (shape.filters, shape.channels // shape.groups, *shape.kernel)]
    given, weight = (random.standard_normal(shape, dtype="float32") for shape in shapes)
    return given, weight


def _function(data: tuple[int, ...], weight: tuple[int, ...], stages: Stages) -> tuple[Any, list[int]]:
    given, packed = te.placeholder(data, name="data"), te.placeholder(weight, name="weight")
    made = stages(given, packed)
    zero = tirx.const(0, "float32")
    relu = te.compute(made.shape, lambda *i: tirx.max(made[i], zero), name="relu")
    return te.create_prim_func([given, packed, relu]), [int(size) for size in made.shape]
