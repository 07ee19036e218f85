"""Depthwise convolution: one task per channel block, which makes its padded plane itself and keeps it in the cache."""

from __future__ import annotations

from typing import Any

from compilers.tvm.rules.conv import GATHER
from compilers.tvm.schedules import epilogue, product


def schedule_depthwise(schedule: Any, block: Any) -> None:
    """Block axes [b, c, y, x, v | kh, kw]."""
    tile = product.cut_of(schedule, block).tile
    end = epilogue.last_consumer(schedule, block)
    b, c, y, x, v, kh, kw = schedule.get_loops(block)
    xo, xi = schedule.split(x, [None, tile.rows])
    schedule.reorder(b, c, y, xo, kh, kw, xi, v)
    for producer in schedule.get_producers(block):
        if epilogue.name_of(schedule, producer) == GATHER:
            schedule.compute_at(producer, c, preserve_unit_loops=True)
            schedule.vectorize(schedule.get_loops(producer)[-1])
    schedule.unroll(kw)
    product.finish(schedule, block, end, at=xo, tasks=[b, c], tile=[xi, v], reduction=kh)
