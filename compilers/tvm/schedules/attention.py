"""Attention: a task per head, which packs the keys, reduces the scores and mixes the values without leaving the cache."""

from __future__ import annotations

from typing import Any

from compilers.tvm.rules import attention as rule
from compilers.tvm.schedules import epilogue, product
from compilers.tvm.schedules.generic import largest_divisor


def schedule_attention(schedule: Any, block: Any) -> None:
    """`block` mixes the values: axes [b, h, i, d | j]; the stages before it are found by their names."""
    scores, logits = schedule.get_sblock(rule.SCORES), schedule.get_sblock(rule.LOGITS)
    stages = [
        stage for stage in epilogue.blocks_of(schedule) if epilogue.name_of(schedule, stage) not in (rule.MIXED, rule.OUT)
    ]
    end = epilogue.last_consumer(schedule, block)
    tile = product.cut_of(schedule, block).tile
    lanes = product.lanes_of(schedule, block)
    b, h, i, d, j = schedule.get_loops(block)
    io, ii = schedule.split(i, [None, tile.rows])
    do, dm, dv = schedule.split(d, [None, tile.vectors, lanes])
    schedule.reorder(b, h, do, io, j, ii, dm, dv)
    schedule.reverse_compute_at(end, io, preserve_unit_loops=True)
    for stage in reversed(stages):
        schedule.compute_at(stage, h, preserve_unit_loops=True)
    schedule.set_scope(block, 0, "local")
    _, vector = schedule.split(schedule.get_loops(end)[-1], [None, lanes])
    schedule.vectorize(vector)
    tiles = [(block, [ii, dm, dv], j)]
    tiles.append(_scores(schedule, scores, logits, lanes))
    schedule.parallel(schedule.fuse(b, h))
    done = (rule.SCORES, rule.LOGITS)
    for stage in stages:
        if epilogue.name_of(schedule, stage) not in done:
            _stage(schedule, stage)
    for made, tile_loops, reduction in tiles:
        _registers(schedule, made, tile_loops, reduction)


def _scores(schedule: Any, block: Any, logits: Any, lanes: int) -> tuple[Any, list[Any], Any]:
    """Below the head's loop: axes [b, h, i, j | k] of which the first two are one iteration."""
    tile = product.cut_of(schedule, block).tile
    i, j, k = schedule.get_loops(block)[-3:]
    io, ii = schedule.split(i, [None, tile.rows])
    jo, jm, jv = schedule.split(j, [None, tile.vectors, lanes])
    schedule.reorder(jo, io, k, ii, jm, jv)
    schedule.reverse_compute_at(logits, io, preserve_unit_loops=True)
    schedule.set_scope(block, 0, "local")
    _, vector = schedule.split(schedule.get_loops(logits)[-1], [None, lanes])
    schedule.vectorize(vector)
    return block, [ii, jm, jv], k


def _stage(schedule: Any, stage: Any) -> None:
    axes = [int(var.iter_type) for var in schedule.get(stage).iter_vars]
    own = schedule.get_loops(stage)[-len(axes) :]
    if epilogue.REDUCTION in axes:
        last, reduction = own[-2], own[-1]
        lanes = len([axis for axis in axes if axis == epilogue.SPATIAL]) == 4
        if lanes:
            schedule.reorder(reduction, last)
            schedule.vectorize(last)
        initial = schedule.decompose_reduction(stage, reduction)
        if lanes:
            schedule.vectorize(schedule.get_loops(initial)[-1])
    elif epilogue.name_of(schedule, stage) in (rule.POWERS, rule.WEIGHTS):
        _, vector = schedule.split(own[-1], [None, largest_divisor(epilogue.extent(schedule, own[-1]), 32)])
        schedule.vectorize(vector)


def _registers(schedule: Any, block: Any, tile: list[Any], reduction: Any) -> None:
    for loop in tile[:-1]:
        schedule.unroll(loop)
    schedule.vectorize(tile[-1])
    initial = schedule.decompose_reduction(block, reduction)
    loops = schedule.get_loops(initial)
    schedule.vectorize(loops[-1])
    for loop in loops[-len(tile) : -1]:
        schedule.unroll(loop)
