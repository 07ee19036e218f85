"""Winograd: input transform, batch of matrix products, output transform with the epilogue; each parallel over its tiles."""

from __future__ import annotations

from typing import Any

from compilers.tvm.rules import winograd as rule
from compilers.tvm.schedules import epilogue, product


def schedule_winograd(schedule: Any, block: Any) -> None:
    """Block axes [e, f, o, p, v | ic, iv]; the transforms are found by their names."""
    tile = product.tile_of(schedule, block)
    rows = schedule.get_sblock(rule.OUT_ROWS)
    m = int(schedule.get(rows).iter_vars[2].dom.extent)
    end = epilogue.last_consumer(schedule, rows)
    _input(schedule)
    e, f, o, p, v, ic, iv = schedule.get_loops(block)
    stored = schedule.cache_write(block, 0, "local")
    oo, oi = schedule.split(o, [None, tile.vectors])
    po, pi = schedule.split(p, [None, tile.rows])
    schedule.reorder(e, f, oo, po, ic, iv, pi, oi, v)
    product.finish(schedule, block, stored, at=po, tasks=[e, f, oo], tile=[pi, oi, v], reduction=ic)
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
