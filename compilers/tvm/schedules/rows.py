"""Normalisations: one task per row (or a few), every stage of a row computed while it is in the first-level cache."""

from __future__ import annotations

from typing import Any

from compilers.tvm.schedules import epilogue
from compilers.tvm.schedules.generic import largest_divisor

_ROWS = 4  # per task: enough work to pay for the hand-over


def schedule_rows(schedule: Any, block: Any) -> None:
    """`block` writes the result [*rows, columns]; all stages before it move into its loop over the rows."""
    width = int(schedule.get(block).annotations["width"])
    main = epilogue.name_of(schedule, block)
    consumers = schedule.get_consumers(block)
    end = epilogue.last_consumer(schedule, block) if consumers else block
    if consumers:
        schedule.compute_inline(schedule.get_sblock(main))
    loops = schedule.get_loops(end)
    rows = schedule.fuse(*loops[:-1]) if len(loops) > 2 else loops[0]
    task, row = schedule.split(rows, [None, largest_divisor(epilogue.extent(schedule, rows), _ROWS)])
    _, vector = schedule.split(schedule.get_loops(end)[-1], [None, width])
    stages = [
        stage for stage in epilogue.blocks_of(schedule) if epilogue.name_of(schedule, stage) != epilogue.name_of(schedule, end)
    ]
    schedule.vectorize(vector)
    for stage in reversed(stages):
        schedule.compute_at(stage, row, preserve_unit_loops=True)
    schedule.parallel(task)
    _vectorize(schedule, stages)


def _vectorize(schedule: Any, stages: list[Any]) -> None:
    """Vectors along the last axis of the stages that have one of their own; the others reduce one vector to a number."""
    for stage in stages:
        axes = [int(var.iter_type) for var in schedule.get(stage).iter_vars]
        own = schedule.get_loops(stage)[-len(axes) :]
        if epilogue.REDUCTION in axes:
            last, reduction = own[-2], own[-1]
            if epilogue.extent(schedule, last) > 1:
                schedule.reorder(reduction, last)
                schedule.vectorize(last)
            initial = schedule.decompose_reduction(stage, reduction)
            if epilogue.extent(schedule, last) > 1:
                schedule.vectorize(schedule.get_loops(initial)[-1])
        elif epilogue.extent(schedule, own[-1]) > 1:
            _, vector = schedule.split(own[-1], [None, largest_divisor(epilogue.extent(schedule, own[-1]), 32)])
            schedule.vectorize(vector)
