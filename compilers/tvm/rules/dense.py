"""Matrix products: against packed constant weights, or between two computed matrices of a batch."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from compilers.tvm.cuts import Cut

DENSE, PACK, STORE = "dense_tile", "dense_pack", "dense_store"


def _row(data: Any, i: Any, k: Any) -> Any:
    """data[..., k] at row `i` of all leading axes taken as one."""
    sizes = [int(size) for size in data.shape[:-1]]
    index: list[Any] = []
    for size in reversed(sizes[1:]):
        index.insert(0, i % size)
        i = i // size
    return data[(i, *index, k)] if sizes else data[k]


def _flat(sizes: list[int], axes: tuple[Any, ...]) -> Any:
    index: Any = axes[0]
    for size, axis in zip(sizes[1:], axes[1:], strict=True):
        index = index * size + axis
    return index


def dense(data: Any, weight: Any, columns: int, cut: Cut) -> Any:
    """data [..., K] times `weight` [ceil(columns/panel), K, panel] as `packing.pack_dense` leaves it: [..., columns]."""
    lead, depth = [int(size) for size in data.shape[:-1]], int(data.shape[-1])
    panels, _, panel = (int(size) for size in weight.shape)
    rows = 1
    for size in lead:
        rows *= size
    total = cut.covered(rows)
    k = te.reduce_axis((0, depth), "k")

    def value(i: Any, j: Any) -> Any:
        row = i if total == rows else tirx.min(i, rows - 1)
        return te.sum(_row(data, row, k) * weight[j // panel, k, j % panel], axis=[k])

    notes = cut.attrs(panel // cut.tile.vectors, 2 * rows * depth * columns)
    sums = te.compute((total, panels * panel), value, name=DENSE, attrs=notes)
    return te.compute((*lead, columns), lambda *axes: sums[_flat(lead, axes[:-1]), axes[-1]], name=STORE)
