"""From Relax operators to kernels: each one that a rule covers becomes TE stages of that rule; the rest is TVM's own TE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, topi
from tvm.relax.transform.legalize_ops.common import _call_topi_without_attr
from tvm.relax.transform.legalize_ops.linear_algebra import _matmul
from tvm.relax.transform.legalize_ops.nn import _nn_conv2d, _nn_layer_norm, _nn_softmax

from compilers.targets import Target
from compilers.tvm import packing
from compilers.tvm.layouts import CONV2D, is_constant, static_shape
from compilers.tvm.rules import approx, conv, dense, depthwise, rows
from compilers.tvm.rules import winograd as rule_winograd
from compilers.tvm.tiles import Tile, choose_tile, winograd_tile
from compilers.tvm.winograd import transform_weight

OUT_FUSABLE = {"op_pattern": 4}  # kOutEWiseFusable: what is elementwise may follow in the same kernel

_APPROXIMATIONS = {"erf": approx.erf, "exp": approx.exp, "tanh": approx.tanh, "sigmoid": approx.sigmoid}
_PLAIN = {name: _call_topi_without_attr(getattr(topi, name)) for name in _APPROXIMATIONS}

Legaliser = Callable[[Any, Any], Any]


def legalise(target: Target, *, winograd: int) -> Any:
    """The pass. It leaves no operator of Relax; those without a rule get TVM's plain definition.

    `winograd` is the largest output tile that a 3x3 convolution may be computed in: 4, 2, or 0 for none.
    """
    rules: dict[str, Legaliser] = {
        CONV2D: lambda builder, call: _conv2d(builder, call, target, winograd),
        "relax.matmul": lambda builder, call: _matrix_product(builder, call, target),
        "relax.nn.layer_norm": lambda builder, call: _layer_norm(builder, call, target),
        "relax.nn.softmax": lambda builder, call: _softmax(builder, call, target),
        **{f"relax.{name}": _approximation(name, stages) for name, stages in _APPROXIMATIONS.items()},
    }
    return relax.transform.LegalizeOps(rules)


def _approximation(name: str, stages: Any) -> Legaliser:
    def legaliser(builder: Any, call: Any) -> Any:
        if str(call.ty.dtype) != "float32":
            return _PLAIN[name](builder, call)
        return builder.call_te(stages, call.args[0], primfunc_name_hint=name)

    return legaliser


def _row_width(call: Any, axes: list[int], target: Target) -> int | None:
    """How many columns a normalisation along the last axis takes at once, or None where the rule does not hold."""
    shape = static_shape(call.args[0])
    if shape is None or len(shape) < 2 or axes not in ([-1], [len(shape) - 1]) or str(call.ty.dtype) != "float32":
        return None
    return next((target.lanes * many for many in (4, 2, 1) if shape[-1] % (target.lanes * many) == 0), None)


def _layer_norm(builder: Any, call: Any, target: Target) -> Any:
    width = _row_width(call, [int(axis) for axis in call.attrs.axes], target)
    if width is None or not (call.attrs.center and call.attrs.scale):
        return _nn_layer_norm(builder, call)
    epsilon = float(call.attrs.epsilon)
    return builder.call_te(
        lambda x, g, b: rows.layer_norm(x, g, b, epsilon, width),
        *call.args,
        primfunc_name_hint="layer_norm",
        primfunc_attrs=OUT_FUSABLE,
    )


def _softmax(builder: Any, call: Any, target: Target) -> Any:
    width = _row_width(call, [int(call.attrs.axis)], target)
    if width is None:
        return _nn_softmax(builder, call)
    return builder.call_te(
        lambda x: rows.softmax(x, width), call.args[0], primfunc_name_hint="softmax", primfunc_attrs=OUT_FUSABLE
    )


def conv_shape(call: Any) -> conv.ConvShape | None:
    """The sizes of a Relax conv2d whose data is NCHW or NCHW[c] and whose weight is OIHW; None for anything else."""
    data, weight = static_shape(call.args[0]), static_shape(call.args[1])
    if data is None or weight is None or str(call.attrs.kernel_layout) != "OIHW":
        return None
    batch, channels, height, width = data[0], data[1] * (data[4] if len(data) == 5 else 1), data[2], data[3]
    top, left, bottom, right = (int(value) for value in call.attrs.padding)
    strides, dilation = call.attrs.strides, call.attrs.dilation
    return conv.ConvShape(
        batch=batch,
        channels=channels,
        height=height,
        width=width,
        filters=weight[0],
        kernel=(weight[2], weight[3]),
        strides=(int(strides[0]), int(strides[1])),
        padding=(top, left, bottom, right),
        dilation=(int(dilation[0]), int(dilation[1])),
        groups=int(call.attrs.groups),
    )


def _conv2d(builder: Any, call: Any, target: Target, winograd: int) -> Any:
    shape = conv_shape(call)
    if shape is None or not str(call.attrs.out_layout).endswith("c") or not is_constant(call.args[1]):
        return _nn_conv2d(builder, call)
    weight, in_chunk = call.args[1].value.numpy(), _in_chunk(call)
    out_chunk = int(call.ty.shape.values[-1])
    vectors = shape.filters // shape.groups // out_chunk

    def tile(rows: int, count: int) -> Tile:
        return choose_tile(rows, count, lanes=out_chunk, registers=target.vector_registers)

    if shape.is_depthwise and in_chunk is not None:
        return _depthwise(builder, call, shape, weight, tile(shape.out_width, 1))
    m = winograd_tile(shape.out_height, shape.out_width, largest=winograd) if _suits_winograd(shape, in_chunk) else 0
    if m and in_chunk is not None:
        tiles = shape.batch * -(-shape.out_height // m) * -(-shape.out_width // m)
        return _winograd(builder, call, shape, weight, tile(tiles, vectors), m)
    if shape.is_pointwise and shape.groups == 1 and in_chunk is not None:
        return _pointwise(builder, call, shape, weight, tile(shape.out_height * shape.out_width, vectors))
    return _direct(builder, call, shape, weight, tile(shape.out_width, vectors))


def _in_chunk(call: Any) -> int | None:
    """How many channels of the data lie side by side; None where they are not blocked."""
    sizes = static_shape(call.args[0]) or ()
    return sizes[4] if len(sizes) == 5 else None


def _suits_winograd(shape: conv.ConvShape, in_chunk: int | None) -> bool:
    plain = shape.strides == shape.dilation == (1, 1) and shape.groups == 1 and shape.kernel == (3, 3)
    # With few channels the transforms outweigh what the products save.
    return plain and in_chunk is not None and min(shape.channels, shape.filters) >= 32


def _depthwise(builder: Any, call: Any, shape: conv.ConvShape, weight: Any, tile: Tile) -> Any:
    packed = packing.pack_depthwise(weight, chunk=int(call.ty.shape.values[-1]))
    return _kernel(builder, "conv2d_depthwise", call, packed, lambda d, w: depthwise.depthwise(d, w, shape, tile))


def _winograd(builder: Any, call: Any, shape: conv.ConvShape, weight: Any, tile: Tile, m: int) -> Any:
    panel = tile.vectors * int(call.ty.shape.values[-1])
    packed = transform_weight(weight, m, in_chunk=_in_chunk(call) or shape.channels, panel=panel)
    return _kernel(builder, f"conv2d_winograd{m}", call, packed, lambda d, w: rule_winograd.winograd(d, w, shape, tile, m))


def _pointwise(builder: Any, call: Any, shape: conv.ConvShape, weight: Any, tile: Tile) -> Any:
    out_chunk = int(call.ty.shape.values[-1])
    packed = packing.pack_conv(weight, in_chunk=_in_chunk(call) or shape.channels, panel=tile.vectors * out_chunk)
    return _kernel(builder, "conv2d_1x1", call, packed, lambda d, w: conv.pointwise(d, w, shape, tile, out_chunk=out_chunk))


def _direct(builder: Any, call: Any, shape: conv.ConvShape, weight: Any, tile: Tile) -> Any:
    out_chunk, chunked = int(call.ty.shape.values[-1]), _in_chunk(call) is not None
    packed = packing.pack_conv(weight, in_chunk=_in_chunk(call) or shape.channels, panel=tile.vectors * out_chunk)

    def stages(data: Any, panels: Any) -> Any:
        return conv.direct(data, panels, shape, tile, chunked=chunked, out_chunk=out_chunk)

    return _kernel(builder, "conv2d", call, packed, stages)


def _kernel(builder: Any, name: str, call: Any, weight: np.ndarray, stages: Any) -> Any:
    return builder.call_te(stages, call.args[0], relax.const(weight), primfunc_name_hint=name, primfunc_attrs=OUT_FUSABLE)


def _matrix_product(builder: Any, call: Any, target: Target) -> Any:
    left, right = static_shape(call.args[0]), static_shape(call.args[1])
    constant = is_constant(call.args[1])
    if left is None or right is None or len(right) != 2 or not constant or str(call.ty.dtype) != "float32":
        return _matmul(builder, call)
    rows, columns = int(np.prod(left[:-1])), right[1]
    vectors = -(-columns // target.lanes)
    tile = choose_tile(rows, vectors, lanes=target.lanes, registers=target.vector_registers, whole_vectors=False)
    packed = packing.pack_dense(call.args[1].value.numpy(), panel=tile.vectors * target.lanes)
    return _kernel(builder, "dense", call, packed, lambda d, w: dense.dense(d, w, columns, tile))
