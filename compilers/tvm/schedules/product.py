"""The one micro-kernel of convolutions and matrix products: a register tile of vectors, reduced in registers, stored once.

Order of the primitives matters: vectorize, unroll and parallel come before decompose_reduction, after which a block no longer
counts as a reduction and most primitives refuse it.
"""

from __future__ import annotations

from typing import Any

from compilers.tvm.schedules import epilogue
from compilers.tvm.tiles import Tile


def schedule_direct(schedule: Any, block: Any) -> None:
    """Block axes [b, o, y, x, v | ic, kh, kw, iv]; one task per (b, panel, row)."""
    tile = tile_of(schedule, block)
    end = epilogue.last_consumer(schedule, block)
    b, o, y, x, v, ic, kh, kw, iv = schedule.get_loops(block)
    oo, oi = schedule.split(o, [None, tile.vectors])
    xo, xi = schedule.split(x, [None, tile.rows])
    schedule.reorder(b, oo, y, xo, ic, kh, kw, iv, xi, oi, v)
    finish(schedule, block, end, at=xo, tasks=[b, oo, y], tile=[xi, oi, v], reduction=ic)


def schedule_pointwise(schedule: Any, block: Any) -> None:
    """Block axes [b, o, p, v | ic, iv]; one task per (b, panel)."""
    tile = tile_of(schedule, block)
    end = epilogue.last_consumer(schedule, block)
    epilogue.flatten(schedule, end, [[0], [1], [2, 3], [4]])
    b, o, p, v, ic, iv = schedule.get_loops(block)
    oo, oi = schedule.split(o, [None, tile.vectors])
    po, pi = schedule.split(p, [None, tile.rows])
    schedule.reorder(b, oo, po, ic, iv, pi, oi, v)
    finish(schedule, block, end, at=po, tasks=[b, oo], tile=[pi, oi, v], reduction=ic)


def schedule_dense(schedule: Any, block: Any) -> None:
    """Block axes [i, j | k]; one task per panel."""
    tile = tile_of(schedule, block)
    end = epilogue.last_consumer(schedule, block)
    axes = len(schedule.get(end).iter_vars)
    epilogue.flatten(schedule, end, [list(range(axes - 1)), [axes - 1]] if axes > 1 else [[0]])
    i, j, k = schedule.get_loops(block)
    lanes = lanes_of(schedule, block)
    jo, jm, jv = schedule.split(j, [None, tile.vectors, lanes])
    io, ii = schedule.split(i, [None, tile.rows])
    schedule.reorder(jo, io, k, ii, jm, jv)
    finish(schedule, block, end, at=io, tasks=[jo], tile=[ii, jm, jv], reduction=k, lanes=lanes)


def tile_of(schedule: Any, block: Any) -> Tile:
    notes = schedule.get(block).annotations
    return Tile(**{key: int(notes[key]) for key in ("rows", "vectors")})


def lanes_of(schedule: Any, block: Any) -> int:
    return int(schedule.get(block).annotations["lanes"])


def finish(
    schedule: Any,
    block: Any,
    end: Any,
    *,
    at: Any,
    tasks: list[Any],
    tile: list[Any],
    reduction: Any,
    lanes: int = 0,
) -> None:
    """Accumulate `block` in registers per iteration of `at`, store through `end` there, and run `tasks` in parallel.

    `lanes` is the vector width where the stored row is longer than one vector.
    """
    schedule.reverse_compute_at(end, at, preserve_unit_loops=True)
    schedule.set_scope(block, 0, "local")
    _vectorize_store(schedule, end, lanes)
    for loop in tile[:-1]:
        schedule.unroll(loop)
    schedule.vectorize(tile[-1])
    schedule.parallel(schedule.fuse(*tasks))
    initial = schedule.decompose_reduction(block, reduction)
    loops = schedule.get_loops(initial)
    schedule.vectorize(loops[-1])
    for loop in loops[-len(tile) : -1]:
        schedule.unroll(loop)


def _vectorize_store(schedule: Any, end: Any, lanes: int) -> None:
    last = schedule.get_loops(end)[-1]
    if not lanes:
        schedule.vectorize(last)
        return
    columns = int(schedule.get(end).iter_vars[-1].dom.extent)
    # A row that is no whole number of vectors would be guarded per element, which a vector cannot be.
    if columns % lanes == 0:
        _, vector = schedule.split(last, [None, lanes])
        schedule.vectorize(vector)
