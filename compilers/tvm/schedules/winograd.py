"""Winograd: input transform, batch of matrix products, output transform with the epilogue; each parallel over its tiles."""

from __future__ import annotations

import math
from typing import Any

from compilers.tvm.rules import winograd as rule
from compilers.tvm.schedules import epilogue, product


def schedule_winograd(schedule: Any, block: Any) -> None:
    """Block axes [e, f, o, p, v | ic, iv]; the transforms are found by their names."""
    cut = product.cut_of(schedule, block)
    rows = schedule.get_sblock(rule.OUT_ROWS)
    m = int(schedule.get(rows).iter_vars[2].dom.extent)
    end = epilogue.last_consumer(schedule, rows)
    _input(schedule)
    e, f, o, p, v, ic, iv = schedule.get_loops(block)
    oo, oi = schedule.split(o, [None, cut.tile.vectors])
    po, pt, pi = schedule.split(p, [None, cut.tiles, cut.tile.rows])
    co, ci = product.reduction_block(schedule, ic, cut)
    panels = math.prod(epilogue.extent(schedule, loop) for loop in (e, f, oo))
    stored = schedule.cache_write(block, 0, "local")
    product.blocked(schedule, block, stored, cut, [e, f, oo, po], [co, pt, ci, iv], [pi, oi, v], panels=panels)
    _output(schedule, rows, end, m)


def _input(schedule: Any) -> None:
    columns, rows = schedule.get_sblock(rule.IN_COLUMNS), schedule.get_sblock(rule.IN_ROWS)
    e, f, c, p, v = schedule.get_loops(columns)
    schedule.reorder(c, p, e, f, v)
    schedule.compute_at(rows, e, preserve_unit_loops=True)
    inner = schedule.get_loops(rows)[3:]  # below c, p and e: the unit loops c, p, e, then x and v
    schedule.vectorize(inner[-1])
    schedule.unroll(inner[-2])
    schedule.vectorize(v)
    schedule.unroll(f)
    schedule.unroll(e)
    schedule.set_scope(rows, 0, "local")
    schedule.parallel(schedule.fuse(c, p))


def _output(schedule: Any, rows: Any, end: Any, m: int) -> None:
    b, o, y, x, v = schedule.get_loops(end)
    ty, yi = schedule.split(y, [None, m])
    tx, xi = schedule.split(x, [None, m])
    schedule.reorder(b, o, ty, tx, yi, xi, v)
    schedule.compute_at(rows, yi, preserve_unit_loops=True)
    inner = schedule.get_loops(rows)[5:]
    schedule.vectorize(inner[-1])
    schedule.unroll(inner[-2])
    schedule.set_scope(rows, 0, "local")
    schedule.vectorize(v)
    schedule.unroll(xi)
    schedule.unroll(yi)
    schedule.parallel(schedule.fuse(b, o, ty))
