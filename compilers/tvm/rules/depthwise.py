"""Depthwise convolution in a blocked layout: each channel by itself, a vector of channels at a time."""

from __future__ import annotations

from typing import Any

from tvm import te

from compilers.tvm.cuts import Cut
from compilers.tvm.rules.conv import STORE, padded
from compilers.tvm.tiles import round_up
from compilers.tvm.work import ConvShape

DEPTHWISE = "depthwise_tile"


def depthwise(data: Any, weight: Any, shape: ConvShape, cut: Cut) -> Any:
    """data [b, C/c, y, x, c] by `weight` [C/c, kh, kw, c] as `packing.pack_depthwise` leaves it."""
    wide, lanes = round_up(shape.out_width, cut.tile.rows), int(data.shape[4])
    (stride_y, stride_x), (dilate_y, dilate_x) = shape.strides, shape.dilation
    needed = (wide - 1) * stride_x + (shape.kernel[1] - 1) * dilate_x + 1
    extra = max(0, needed - (shape.width + shape.padding[1] + shape.padding[3]))
    source = padded(data, shape, chunked=True, extra_columns=extra) if any(shape.padding) or extra else data
    kh, kw = te.reduce_axis((0, shape.kernel[0]), "kh"), te.reduce_axis((0, shape.kernel[1]), "kw")

    def value(b: Any, c: Any, y: Any, x: Any, v: Any) -> Any:
        pixel = source[b, c, y * stride_y + kh * dilate_y, x * stride_x + kw * dilate_x, v]
        return te.sum(pixel * weight[c, kh, kw, v], axis=[kh, kw])

    size = (shape.batch, shape.channels // lanes, shape.out_height, wide, lanes)
    sums = te.compute(size, value, name=DEPTHWISE, attrs=cut.attrs(lanes, shape.flops))
    return te.compute((*size[:3], shape.out_width, lanes), lambda b, c, y, x, v: sums[b, c, y, x, v], name=STORE)
