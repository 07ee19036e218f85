"""The one micro-kernel of convolutions and matrix products: a register tile of vectors, reduced in registers, stored once.

Order of the primitives matters: vectorize, unroll and parallel come before decompose_reduction, after which a block no longer
counts as a reduction and most primitives refuse it.
"""

from __future__ import annotations

from typing import Any

from compilers.tvm.cuts import Cut
from compilers.tvm.schedules import epilogue, prefetch


def schedule_direct(schedule: Any, block: Any) -> None:
    """Block axes [b, o, y, x, v | ic, kh, kw, iv]; one task per (b, panel, row)."""
    cut = cut_of(schedule, block)
    end = epilogue.last_consumer(schedule, block)
    b, o, y, x, v, ic, kh, kw, iv = schedule.get_loops(block)
    oo, oi = schedule.split(o, [None, cut.tile.vectors])
    xo, xi = schedule.split(x, [None, cut.tile.rows])
    panels = epilogue.extent(schedule, oo)
    schedule.reorder(b, oo, y, xo, ic, kh, kw, iv, xi, oi, v)
    task = finish(schedule, block, end, at=xo, tasks=[b, oo, y], tile=[xi, oi, v], reduction=ic)
    if cut.prefetch:
        prefetch.ahead(schedule, block, task=task, panels=panels, unit=None, slots=[xo, ic])


def schedule_pointwise(schedule: Any, block: Any) -> None:
    """Block axes [b, o, p, v | ic, iv]; one task per (b, panel), or per block of row tiles in it."""
    cut = cut_of(schedule, block)
    end = epilogue.last_consumer(schedule, block)
    epilogue.flatten(schedule, end, [[0], [1], [2, 3], [4]])
    b, o, p, v, ic, iv = schedule.get_loops(block)
    oo, oi = schedule.split(o, [None, cut.tile.vectors])
    po, pt, pi = schedule.split(p, [None, cut.tiles, cut.tile.rows])
    co, ci = reduction_block(schedule, ic, cut)
    blocked(schedule, block, end, cut, [b, oo, po], [co, pt, ci, iv], [pi, oi, v], panels=epilogue.extent(schedule, oo))


def schedule_dense(schedule: Any, block: Any) -> None:
    """Block axes [i, j | k]; one task per panel, or per block of row tiles in it."""
    cut = cut_of(schedule, block)
    end = epilogue.last_consumer(schedule, block)
    axes = len(schedule.get(end).iter_vars)
    epilogue.flatten(schedule, end, [list(range(axes - 1)), [axes - 1]] if axes > 1 else [[0]])
    i, j, k = schedule.get_loops(block)
    lanes = lanes_of(schedule, block)
    jo, jm, jv = schedule.split(j, [None, cut.tile.vectors, lanes])
    io, it, ii = schedule.split(i, [None, cut.tiles, cut.tile.rows])
    ko, ki = reduction_block(schedule, k, cut)
    panels = epilogue.extent(schedule, jo)
    blocked(schedule, block, end, cut, [jo, io], [ko, it, ki], [ii, jm, jv], panels=panels, lanes=lanes)


def reduction_block(schedule: Any, loop: Any, cut: Cut) -> tuple[Any | None, Any]:
    """The loop over the blocks of a reduction, None for a single one, and the loop within a block."""
    if cut.depth in (0, epilogue.extent(schedule, loop)):
        return None, loop
    outer, within = schedule.split(loop, [None, cut.depth])
    return outer, within


def blocked(
    schedule: Any,
    block: Any,
    end: Any,
    cut: Cut,
    tasks: list[Any],
    inner: list[Any],
    tile: list[Any],
    *,
    panels: int,
    lanes: int = 0,
) -> None:
    """`inner`: the loops over blocks of the reduction (or None) and over row tiles, and those of the reduction within a block.

    A reduction in one piece stays in registers until its tile is stored; one in several has its sums in the cache between.
    """
    outer, row, *within = inner
    if outer is None:
        schedule.reorder(*tasks, row, *within, *tile)
        task = finish(schedule, block, end, at=row, tasks=tasks, tile=tile, reduction=within[0], lanes=lanes)
    else:
        schedule.reorder(*tasks, outer, row, *within, *tile)
        task = finish(schedule, block, end, at=tasks[-1], tasks=tasks, tile=tile, reduction=outer, lanes=lanes, scope="global")
    if cut.prefetch:
        prefetch.ahead(schedule, block, task=task, panels=panels, unit=outer, slots=[row])


def cut_of(schedule: Any, block: Any) -> Cut:
    """How the rule that made `block` wants it cut."""
    return Cut.read(schedule.get(block).annotations)


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
    scope: str = "local",
) -> Any:
    """Sum `block` up per iteration of `at`, store through `end` there, and run `tasks` in parallel; the loop of the tasks.

    `lanes` is the vector width where the stored row is longer than one vector. The sums of a `local` scope are registers; of a
    `global` one, which may be larger, LLVM makes registers within the loops inside the tile.
    """
    schedule.reverse_compute_at(end, at, preserve_unit_loops=True)
    schedule.set_scope(block, 0, scope)
    _vectorize_store(schedule, end, lanes)
    for loop in tile[:-1]:
        schedule.unroll(loop)
    schedule.vectorize(tile[-1])
    task = schedule.fuse(*tasks)
    schedule.parallel(task)
    initial = schedule.decompose_reduction(block, reduction)
    loops = schedule.get_loops(initial)
    schedule.vectorize(loops[-1])
    for loop in loops[-len(tile) : -1]:
        schedule.unroll(loop)
    return task


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
