"""The schedule that always applies: each stage's loops over what it stores, run in parallel; no vectors, nothing moved."""

from __future__ import annotations

from typing import Any

from compilers.tvm.schedules import epilogue


def schedule_fallback(schedule: Any) -> None:
    """Parallel over the leading loops of each block, as far as they are spatial and nothing stands between them."""
    for block in epilogue.blocks_of(schedule):
        kinds = [int(var.iter_type) for var in schedule.get(block).iter_vars]
        loops = schedule.get_loops(block)
        leading = []
        for loop, kind in zip(loops, kinds, strict=False):
            if kind != epilogue.SPATIAL:
                break
            leading.append(loop)
        if leading and len(loops) == len(kinds):
            schedule.parallel(schedule.fuse(*leading))
