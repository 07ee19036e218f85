"""Weights asked for ahead: while one stretch of them is computed with, the next is brought from memory to the cache.

With a batch of one each weight is read once per inference, from memory, and the first row tile of a panel would wait for it.
"""

from __future__ import annotations

from math import prod
from typing import Any

from tvm import tirx

from compilers.tvm.schedules import epilogue

_LOCALITY = 2  # the second-level cache: the first one holds the stretch in use
_FLOATS_PER_LINE = 16  # 64 bytes; where lines are longer, some requests are repeated and cost little


def ahead(schedule: Any, block: Any, *, task: Any, panels: int, unit: Any | None, slots: list[Any]) -> None:
    """Ask for the stretch of weights after the current one, an equal part in each iteration of the last loop of `slots`.

    `block` reads its weights last, as `panels` panels in the order of the parallel loop `task`, of which as many consecutive
    iterations as it takes share a panel. A stretch is a panel, or with `unit` the part of it that an iteration of that loop
    reads. `slots` are the loops that repeat over a stretch, from the outside in. Call it after all primitives.
    """
    weights = schedule.get(block).reads[-1].source
    shape = [int(size) for size in weights.shape]
    index, at = schedule.get(task).loop_var, schedule.get(slots[-1])
    kind = str(at.loop_var.ty.dtype)

    def number(value: int) -> Any:
        return tirx.IntImm(kind, value)

    shared = max(1, epilogue.extent(schedule, task) // panels)
    turns = [(epilogue.extent(schedule, loop), schedule.get(loop).loop_var) for loop in slots]
    parts, part = (1, number(0)) if unit is None else (epilogue.extent(schedule, unit), schedule.get(unit).loop_var)
    stretch = prod(shape) // panels // parts
    slot = tirx.floormod(index, number(shared))
    for count, var in turns:
        slot = slot * number(count) + var
    lines = -(-stretch // _FLOATS_PER_LINE)
    each = -(-lines // (shared * prod(count for count, _ in turns)))
    panel = tirx.floormod(tirx.floordiv(index, number(shared)), number(panels))
    following = tirx.min(panel * number(parts) + part + number(1), number(panels * parts - 1))
    line = tirx.Var("line", kind)
    within = tirx.min((slot * number(each) + line) * number(_FLOATS_PER_LINE), number(stretch - 1))
    address = tirx.address_of(weights[tuple(_indices(following * number(stretch) + within, shape, number))])
    flags = [tirx.IntImm("int32", value) for value in (0, _LOCALITY, 1)]
    ask = tirx.Evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, *flags))
    asking = tirx.For(line, number(0), number(each), tirx.ForKind.SERIAL, ask)
    made = tirx.For(at.loop_var, at.min, at.extent, at.kind, tirx.SeqStmt([asking, at.body]), None, at.annotations)
    schedule.state.replace(schedule.get_sref(slots[-1]), made, {})


def _indices(element: Any, shape: list[int], number: Any) -> list[Any]:
    """The indices of the `element`-th value of a buffer of `shape`."""
    made: list[Any] = []
    for size in reversed(shape[1:]):
        made.insert(0, tirx.floormod(element, number(size)))
        element = tirx.floordiv(element, number(size))
    return [element, *made]
