"""Stages that no rule of their own covers: elementwise chains, copies, pooling, means and other reductions.

Vectors run along the innermost axis where it is contiguous, tasks over the outer ones. Loops are split only by factors that
divide them: a guarded vector would be scalar code.
"""

from __future__ import annotations

from typing import Any

from compilers.tvm.schedules import epilogue

ELEMENTWISE, REDUCTION, FALLBACK = "elementwise", "reduction", "fallback"
SCALAR = "no rule has vectors for a reduction along the contiguous axis"
_MAX_ROWS = 8
_WIDE = 4  # vectors per step of an elementwise loop


def largest_divisor(extent: int, limit: int) -> int:
    """The largest divisor of `extent` that is at most `limit`."""
    return max(factor for factor in range(1, min(extent, limit) + 1) if extent % factor == 0)


def schedule_rest(schedule: Any, lanes: int, done: frozenset[str]) -> str:
    """Schedule every block outside the rules' own (`done`) that still has plain loops; what kind of kernel it is.

    Raises ValueError, or what tvm raises when a primitive does not apply.
    """
    _inline_elementwise(schedule, done)
    kind = ELEMENTWISE
    for block in epilogue.blocks_of(schedule):
        if epilogue.name_of(schedule, block) in done or not _is_plain(schedule, block):
            continue
        if epilogue.reduces(schedule, block):
            vectors = schedule_reduction(schedule, block, lanes)
            kind = REDUCTION if vectors and kind != FALLBACK else FALLBACK
        else:
            schedule_elementwise(schedule, block, lanes)
    return kind


def _is_plain(schedule: Any, block: Any) -> bool:
    """Whether nothing has cut or marked the block's loops: one serial loop per axis."""
    loops = schedule.get_loops(block)
    serial = all(int(schedule.get(loop).kind) == 0 for loop in loops)
    return bool(loops) and serial and len(loops) == len(schedule.get(block).iter_vars)


def _inline_elementwise(schedule: Any, done: frozenset[str]) -> None:
    """Fold each elementwise block into its consumers, unless one of them reduces and would repeat the work."""
    for block in epilogue.blocks_of(schedule):
        consumers = schedule.get_consumers(block)
        if epilogue.name_of(schedule, block) in done or not consumers or epilogue.reduces(schedule, block):
            continue
        if not any(epilogue.reduces(schedule, user) for user in consumers) and _is_plain(schedule, block):
            try:
                schedule.compute_inline(block)
            except Exception:  # noqa: BLE001 - tvm refuses by exception; a block that cannot be inlined stays
                continue


def schedule_elementwise(schedule: Any, block: Any, lanes: int) -> None:
    loops = schedule.get_loops(block)
    width = largest_divisor(epilogue.extent(schedule, loops[-1]), _WIDE * lanes)
    outer, inner = schedule.split(loops[-1], [None, width])
    schedule.vectorize(inner)
    schedule.parallel(schedule.fuse(*loops[:-1], outer))


def schedule_reduction(schedule: Any, block: Any, lanes: int) -> bool:
    """Vectors over the last spatial axis where it is contiguous; elsewhere scalar code, and False."""
    kinds = [int(var.iter_type) for var in schedule.get(block).iter_vars]
    loops = schedule.get_loops(block)
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == epilogue.SPATIAL]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == epilogue.REDUCTION]
    if len(spatial) + len(reduction) != len(loops):
        raise ValueError("a block axis is neither spatial nor a reduction")
    if not spatial:
        return False
    if contiguous_in_last_spatial(schedule, block):
        _vector_spatial(schedule, block, spatial, reduction, lanes)
        return True
    schedule.reorder(*spatial, *reduction)
    schedule.parallel(schedule.fuse(*spatial))
    return False


def _vector_spatial(schedule: Any, block: Any, spatial: list[Any], reduction: list[Any], lanes: int) -> None:
    """Tile [outer spatial, reduction, rows unrolled, vector], parallel over the outer spatial loops."""
    index = max(range(len(spatial) - 1), key=lambda at: epilogue.extent(schedule, spatial[at]), default=None)
    width = largest_divisor(epilogue.extent(schedule, spatial[-1]), lanes)
    column, vector = schedule.split(spatial[-1], [None, width])
    outer, rows = [*spatial[:-1], column], []
    if index is not None:
        count = largest_divisor(epilogue.extent(schedule, spatial[index]), _MAX_ROWS)
        above, row = schedule.split(spatial[index], [None, count])
        outer[index], rows = above, [row]
    schedule.reorder(*outer, *reduction, *rows, vector)
    fused = schedule.fuse(*outer)
    schedule.parallel(fused)
    accumulator = schedule.cache_write(block, 0, "local")
    schedule.reverse_compute_at(accumulator, fused, preserve_unit_loops=True)
    schedule.vectorize(vector)
    schedule.vectorize(schedule.get_loops(accumulator)[-1])
    for row in rows:
        schedule.unroll(row)
    initial = schedule.decompose_reduction(block, reduction[0])
    schedule.vectorize(schedule.get_loops(initial)[-1])


def contiguous_in_last_spatial(schedule: Any, block: Any) -> bool:
    """Whether neighbours along the last spatial axis are neighbours in memory, in the output and in some input."""
    stmt = schedule.get(block)
    last = [var.var for var in stmt.iter_vars if int(var.iter_type) == epilogue.SPATIAL][-1]
    writes, reads = stmt.writes[0].region, [access.region for access in stmt.reads]
    return _ends_in(writes, last) and any(_ends_in(region, last) for region in reads)


def _ends_in(region: Any, var: Any) -> bool:
    return len(region) > 0 and str(var.name) in _names(str(region[-1].min))


def _names(expression: str) -> set[str]:
    return set("".join(char if char.isalnum() or char == "_" else " " for char in expression).split())
