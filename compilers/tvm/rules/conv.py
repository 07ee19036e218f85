"""Direct convolution in a blocked layout, NCHW[c]: 1x1 as a matrix product over pixels, anything else by rows of the output.

Register tiles are computed whole: a dimension that a tile does not divide is rounded up in the accumulator stage, and only
what exists is stored. Reads of what does not exist are clamped (1x1) or fall into a widened border (other kernels).
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from compilers.tvm.cuts import Cut
from compilers.tvm.tiles import round_up
from compilers.tvm.work import ConvShape

CONV, POINTWISE = "conv_tile", "pointwise_tile"
GATHER, STORE = "conv_gather", "conv_store"


def _reader(data: Any, chunked: bool) -> Any:
    """data[b, c, y, x, v] of a tensor that is blocked or plain NCHW (then c is 0 and v the channel)."""
    return (lambda b, c, y, x, v: data[b, c, y, x, v]) if chunked else (lambda b, c, y, x, v: data[b, v, y, x])


def padded(data: Any, shape: ConvShape, *, chunked: bool, extra_columns: int = 0, name: str = GATHER) -> Any:
    """`data` as [b, C/c, y, x, c] with its border of zeros, and `extra_columns` more on the right."""
    top, left, bottom, right = shape.padding
    read = _reader(data, chunked)
    blocks, lanes = (int(data.shape[1]), int(data.shape[4])) if chunked else (1, shape.channels)
    zero = tirx.const(0, "float32")
    size = (shape.batch, blocks, shape.height + top + bottom, shape.width + left + right + extra_columns, lanes)

    def value(b: Any, c: Any, y: Any, x: Any, v: Any) -> Any:
        inside = tirx.all(y >= top, y < shape.height + top, x >= left, x < shape.width + left)
        return tirx.if_then_else(inside, read(b, c, y - top, x - left, v), zero)

    return te.compute(size, value, name=name)


def direct(data: Any, weight: Any, shape: ConvShape, cut: Cut, *, chunked: bool, out_chunk: int) -> Any:
    """Convolution by output rows. `weight` is packed as [O/panel, I/c, kh, kw, c, panel] with panel = vectors * out_chunk."""
    wide = round_up(shape.out_width, cut.tile.rows)
    (stride_y, stride_x), (dilate_y, dilate_x) = shape.strides, shape.dilation
    needed = (wide - 1) * stride_x + (shape.kernel[1] - 1) * dilate_x + 1
    _, left, _, right = shape.padding
    extra = max(0, needed - (shape.width + left + right))
    copied = any(shape.padding) or extra > 0 or not chunked
    read: Any = _reader(data, chunked)
    if copied:
        border = padded(data, shape, chunked=chunked, extra_columns=extra)
        read = _reader(border, True)
    blocks, lanes = int(weight.shape[1]), int(weight.shape[4])
    per_group = shape.filters // out_chunk // shape.groups
    ic, iv = te.reduce_axis((0, blocks), "ic"), te.reduce_axis((0, lanes), "iv")
    kh, kw = te.reduce_axis((0, shape.kernel[0]), "kh"), te.reduce_axis((0, shape.kernel[1]), "kw")

    def value(b: Any, o: Any, y: Any, x: Any, v: Any) -> Any:
        block = ic if shape.groups == 1 else o // per_group * blocks + ic
        pixel = read(b, block, y * stride_y + kh * dilate_y, x * stride_x + kw * dilate_x, iv)
        return te.sum(
            pixel * weight[o // cut.tile.vectors, ic, kh, kw, iv, o % cut.tile.vectors * out_chunk + v], axis=[ic, kh, kw, iv]
        )

    size = (shape.batch, shape.filters // out_chunk, shape.out_height, wide, out_chunk)
    sums = te.compute(size, value, name=CONV, attrs=cut.attrs(out_chunk, shape.flops))
    return te.compute((*size[:3], shape.out_width, out_chunk), lambda b, o, y, x, v: sums[b, o, y, x, v], name=STORE)


def pointwise(data: Any, weight: Any, shape: ConvShape, cut: Cut, *, out_chunk: int) -> Any:
    """A 1x1 convolution over pixels as one axis; a stride gathers its pixels first. `weight` as in `direct`, ungrouped."""
    wide, pixels = shape.out_width, shape.out_height * shape.out_width
    stride_y, stride_x = shape.strides
    read: Any = lambda b, c, p, v: data[b, c, p // wide, p % wide, v]  # noqa: E731
    if shape.strides != (1, 1):
        blocks, lanes = int(data.shape[1]), int(data.shape[4])
        gathered = te.compute(
            (shape.batch, blocks, shape.out_height, wide, lanes),
            lambda b, c, y, x, v: data[b, c, y * stride_y, x * stride_x, v],
            name=GATHER,
        )
        read = lambda b, c, p, v: gathered[b, c, p // wide, p % wide, v]  # noqa: E731
    total = cut.covered(pixels)
    ic = te.reduce_axis((0, int(weight.shape[1])), "ic")
    iv = te.reduce_axis((0, int(weight.shape[4])), "iv")

    def value(b: Any, o: Any, p: Any, v: Any) -> Any:
        pixel = p if total == pixels else tirx.min(p, pixels - 1)
        panel = weight[o // cut.tile.vectors, ic, 0, 0, iv, o % cut.tile.vectors * out_chunk + v]
        return te.sum(read(b, ic, pixel, iv) * panel, axis=[ic, iv])

    filters = shape.filters // out_chunk
    sums = te.compute((shape.batch, filters, total, out_chunk), value, name=POINTWISE, attrs=cut.attrs(out_chunk, shape.flops))
    size = (shape.batch, filters, shape.out_height, wide, out_chunk)
    return te.compute(size, lambda b, o, y, x, v: sums[b, o, y * wide + x, v], name=STORE)
