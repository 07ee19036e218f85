"""One generic CPU schedule for any TensorIR function: parallel outside, a register tile of vectors inside.

Works on a schedule object alone and imports nothing of tvm. Data keeps its layout, so this is a sound floor and not what a
hand-tuned kernel reaches. Loops are only split by factors that divide them: a guarded tail would be scalar code.
"""

from __future__ import annotations

from typing import Any

_SPATIAL, _REDUCTION = 0, 2  # tirx.IterVar.DataPar, CommReduce
_PRODUCT_VECTORS = 2
_MAX_ROWS = 8  # vectors accumulated at once; with their operands they fit 32 vector registers, and 16 with little spilling


def largest_divisor(extent: int, limit: int) -> int:
    """The largest divisor of `extent` that is at most `limit`."""
    return max(factor for factor in range(1, min(extent, limit) + 1) if extent % factor == 0)


def schedule_function(schedule: Any, lanes: int) -> None:
    """Schedule every block of the function in `schedule` in place, for vectors of `lanes` fp32 values.

    Raises whatever tvm raises when a primitive does not apply; the caller then keeps the function as it was.
    """
    _inline_elementwise(schedule)
    for block in _blocks(schedule):
        if _reduces(schedule, block):
            _schedule_reduction(schedule, block, lanes)
        else:
            _schedule_elementwise(schedule, block, lanes)


def _blocks(schedule: Any) -> list[Any]:
    """The leaf blocks in the order in which they run."""
    root = schedule.get_sblock("root")
    return [block for block in schedule.get_child_blocks(root) if schedule.get(block).iter_vars]


def _reduces(schedule: Any, block: Any) -> bool:
    return any(int(var.iter_type) == _REDUCTION for var in schedule.get(block).iter_vars)


def _inline_elementwise(schedule: Any) -> None:
    """Fold each elementwise block into its consumers, unless one of them reduces and would repeat the work."""
    for block in _blocks(schedule):
        consumers = schedule.get_consumers(block)
        if consumers and not _reduces(schedule, block) and not any(_reduces(schedule, user) for user in consumers):
            try:
                schedule.compute_inline(block)
            except Exception:  # noqa: BLE001 - tvm refuses by exception; a block that cannot be inlined stays
                continue


def _extent(schedule: Any, loop: Any) -> int:
    return int(schedule.get(loop).extent)


def _schedule_elementwise(schedule: Any, block: Any, lanes: int) -> None:
    loops = schedule.get_loops(block)
    if not loops:
        return
    outer, inner = schedule.split(loops[-1], [None, largest_divisor(_extent(schedule, loops[-1]), 2 * lanes)])
    schedule.vectorize(inner)
    schedule.parallel(schedule.fuse(*loops[:-1], outer))


def _schedule_reduction(schedule: Any, block: Any, lanes: int) -> None:
    """Tile [outer spatial, reduction, rows unrolled, vector], parallel over the outer spatial loops."""
    kinds = [int(var.iter_type) for var in schedule.get(block).iter_vars]
    loops = schedule.get_loops(block)
    if len(loops) != len(kinds):
        raise ValueError("loops and block axes do not correspond")
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _SPATIAL]
    reduction = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == _REDUCTION]
    if len(spatial) + len(reduction) != len(loops) or not reduction:
        raise ValueError("a block axis is neither spatial nor a reduction")
    if not spatial:
        return
    if not _contiguous_in_last_spatial(schedule, block):
        schedule.reorder(*spatial, *reduction)
        schedule.parallel(schedule.fuse(*spatial))
        return
    _tile(schedule, block, spatial, reduction, lanes)


def _tile(schedule: Any, block: Any, spatial: list[Any], reduction: list[Any], lanes: int) -> None:
    # The longest other axis: output channels of a convolution, rows of a matrix product.
    index = max(range(len(spatial) - 1), key=lambda at: _extent(schedule, spatial[at]), default=None)
    product = index is not None and index == len(spatial) - 2 and len(reduction) == 1
    width = lanes * _PRODUCT_VECTORS if product else lanes
    column, vector = schedule.split(spatial[-1], [None, largest_divisor(_extent(schedule, spatial[-1]), width)])
    outer, rows = [*spatial[:-1], column], []
    if index is not None:
        above, row = schedule.split(spatial[index], [None, largest_divisor(_extent(schedule, spatial[index]), _MAX_ROWS)])
        outer[index], rows = above, [row]
        if product:
            # Rows innermost, so that the columns that were just read serve all rows from the cache.
            outer[-2:] = [column, above]
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


def _contiguous_in_last_spatial(schedule: Any, block: Any) -> bool:
    """Whether neighbours along the last spatial axis are neighbours in memory, in the output and in some input."""
    stmt = schedule.get(block)
    last = [var.var for var in stmt.iter_vars if int(var.iter_type) == _SPATIAL][-1]
    writes, reads = stmt.writes[0].region, [access.region for access in stmt.reads]
    return _ends_in(writes, last) and any(_ends_in(region, last) for region in reads)


def _ends_in(region: Any, var: Any) -> bool:
    return len(region) > 0 and str(var.name) in _names(str(region[-1].min))


def _names(expression: str) -> set[str]:
    return set("".join(char if char.isalnum() or char == "_" else " " for char in expression).split())
