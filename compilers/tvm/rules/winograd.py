"""Winograd convolution in a blocked layout: transform tiles of the input, one matrix product per element, transform back.

Each separable transform is two stages along one axis each, written out as sums of the terms that are not zero.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from tvm import te, tirx

from compilers.tvm.cuts import Cut
from compilers.tvm.rules.conv import GATHER, STORE, padded
from compilers.tvm.winograd import matrices
from compilers.tvm.work import ConvShape

PRODUCT = "winograd_tile"
IN_ROWS, IN_COLUMNS, OUT_ROWS = "winograd_in_rows", "winograd_in_columns", "winograd_out_rows"


def _combine(matrix: np.ndarray, index: Any, term: Any) -> Any:
    """sum over r of matrix[r, index] * term(r); `index` is a loop that the schedule unrolls, so one branch remains."""
    sums = []
    for column in matrix.T:
        total: Any = None
        for row, factor in enumerate(column):
            if factor:
                value = term(row) if factor == 1 else term(row) * tirx.const(float(factor), "float32")
                total = value if total is None else total + value
        sums.append(total)
    chosen = sums[-1]
    for at in reversed(range(len(sums) - 1)):
        chosen = tirx.Select(index == at, sums[at], chosen)
    return chosen


def winograd(data: Any, weight: Any, shape: ConvShape, cut: Cut) -> Any:
    """F(m, 3) of data [b, C/c, y, x, c]; `weight` from `winograd.transform_weight`, [m+2, m+2, O/panel, C/c, c, panel]."""
    m = cut.winograd
    size, (a, b, _) = m + 2, matrices(m)
    blocks, lanes = int(data.shape[1]), int(data.shape[4])
    high, wide = -(-shape.out_height // m), -(-shape.out_width // m)
    count, out_chunk = shape.batch * high * wide, int(weight.shape[5]) // cut.tile.vectors
    # Tiles reach past the border where m does not divide the map.
    plane = padded(data, replace(shape, padding=_reach(shape, high * m, wide * m)), chunked=True, name=GATHER)

    def at(p: Any, row: Any, column: Any, c: Any, v: Any) -> Any:
        return plane[p // (high * wide), c, p // wide % high * m + row, p % wide * m + column, v]

    rows = te.compute(
        (blocks, count, size, size, lanes),
        lambda c, p, e, x, v: _combine(b, e, lambda r: at(p, r, x, c, v)),
        name=IN_ROWS,
    )
    spread = te.compute(
        (size, size, blocks, count, lanes),
        lambda e, f, c, p, v: _combine(b, f, lambda r: rows[c, p, e, r, v]),
        name=IN_COLUMNS,
    )
    total = cut.covered(count)
    ic, iv = te.reduce_axis((0, blocks), "ic"), te.reduce_axis((0, lanes), "iv")

    def product(e: Any, f: Any, o: Any, p: Any, v: Any) -> Any:
        pixel = p if total == count else tirx.min(p, count - 1)
        panel = weight[e, f, o // cut.tile.vectors, ic, iv, o % cut.tile.vectors * out_chunk + v]
        return te.sum(spread[e, f, ic, pixel, iv] * panel, axis=[ic, iv])

    filters = shape.filters // out_chunk
    sums = te.compute((size, size, filters, total, out_chunk), product, name=PRODUCT, attrs=cut.attrs(out_chunk, shape.flops))
    gathered = te.compute(
        (filters, count, m, size, out_chunk),
        lambda o, p, i, f, v: _combine(a, i, lambda r: sums[r, f, o, p, v]),
        name=OUT_ROWS,
    )

    def stored(n: Any, o: Any, y: Any, x: Any, v: Any) -> Any:
        p = (n * high + y // m) * wide + x // m
        return _combine(a, x % m, lambda r: gathered[o, p, y % m, r, v])

    return te.compute((shape.batch, filters, shape.out_height, shape.out_width, out_chunk), stored, name=STORE, attrs={"m": m})


def _reach(shape: ConvShape, high: int, wide: int) -> tuple[int, int, int, int]:
    """The padding that lets high x wide outputs be computed, at least the convolution's own."""
    top, left, _, _ = shape.padding
    return top, left, high + 2 - shape.height - top, wide + 2 - shape.width - left
