"""Attention: a task per head packs its keys and values, then takes one block of query rows after another to its result."""

from __future__ import annotations

from typing import Any

from compilers.tvm.rules import attention as rule
from compilers.tvm.schedules import epilogue, product
from compilers.tvm.schedules.generic import largest_divisor


def schedule_attention(schedule: Any, block: Any) -> None:
    """`block` mixes the values: axes [b, h, i, d | j]; the stages before it are found by their names."""
    scores, logits = schedule.get_sblock(rule.SCORES), schedule.get_sblock(rule.LOGITS)
    scaled, end = schedule.get_sblock(rule.SCALED), schedule.get_sblock(rule.OUT)
    done = (rule.MIXED, rule.SCALED, rule.OUT)
    stages = [stage for stage in epilogue.blocks_of(schedule) if epilogue.name_of(schedule, stage) not in done]
    tile, lanes = product.cut_of(schedule, block).tile, product.lanes_of(schedule, block)
    tiles = int(schedule.get(block).annotations["block"]) // tile.rows
    b, h, i, d = schedule.get_loops(scaled)
    rows, io, ii = schedule.split(i, [None, tiles, tile.rows])
    do, di = schedule.split(d, [None, tile.vectors * lanes])
    schedule.reorder(b, h, rows, do, io, ii, di)
    schedule.reverse_compute_at(end, io, preserve_unit_loops=True)
    schedule.compute_at(block, io, preserve_unit_loops=True)
    packed = (rule.KEYS, rule.VALUES)
    for stage in reversed(stages):
        schedule.compute_at(stage, h if epilogue.name_of(schedule, stage) in packed else rows, preserve_unit_loops=True)
    # It held the loops together: `end` is stored where its own producers are not yet, and could not move there by itself.
    schedule.compute_inline(scaled)
    _, vector = schedule.split(schedule.get_loops(end)[-1], [None, lanes])
    schedule.vectorize(vector)
    ii, d, j = schedule.get_loops(block)[-3:]
    dm, dv = schedule.split(d, [None, lanes])
    schedule.reorder(j, ii, dm, dv)
    schedule.set_scope(block, 0, "local")
    products = [(block, [ii, dm, dv], j), _scores(schedule, scores, logits, lanes)]
    schedule.parallel(schedule.fuse(b, h))
    for stage in stages:
        if epilogue.name_of(schedule, stage) not in (rule.SCORES, rule.LOGITS):
            _stage(schedule, stage)
    for made, tile_loops, reduction in products:
        _registers(schedule, made, tile_loops, reduction)


def _scores(schedule: Any, block: Any, logits: Any, lanes: int) -> tuple[Any, list[Any], Any]:
    """Below the loop over blocks of rows: axes [b, h, i, j | k] of which the first two are one iteration."""
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
    """Keys are read row by row, in their own order, and written apart; of the other stages the last axis is one of vectors."""
    axes = [int(var.iter_type) for var in schedule.get(stage).iter_vars]
    own, name = schedule.get_loops(stage)[-len(axes) :], epilogue.name_of(schedule, stage)
    if epilogue.REDUCTION in axes:
        last, reduction = own[-2], own[-1]
        schedule.reorder(reduction, last)
        schedule.vectorize(last)
        schedule.vectorize(schedule.get_loops(schedule.decompose_reduction(stage, reduction))[-1])
    elif name == rule.KEYS:
        schedule.reorder(own[-1], own[-2])
    elif name in (rule.POWERS, rule.VALUES):
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
