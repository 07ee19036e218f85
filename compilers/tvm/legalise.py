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
from compilers.tvm.cuts import Choose, Cut
from compilers.tvm.layouts import CONV2D, is_constant, static_shape
from compilers.tvm.rules import approx, conv, dense, depthwise, rows
from compilers.tvm.rules import winograd as rule_winograd
from compilers.tvm.winograd import transform_weight
from compilers.tvm.work import Convolution, ConvShape, Product

OUT_FUSABLE = {"op_pattern": 4}  # kOutEWiseFusable: what is elementwise may follow in the same kernel

_APPROXIMATIONS = {"erf": approx.erf, "exp": approx.exp, "tanh": approx.tanh, "sigmoid": approx.sigmoid}
_PLAIN = {name: _call_topi_without_attr(getattr(topi, name)) for name in _APPROXIMATIONS}

Legaliser = Callable[[Any, Any], Any]
Stages = Callable[[Any, Any], Any]


def legalise(target: Target, choose: Choose) -> Any:
    """The pass. It leaves no operator of Relax; those without a rule get TVM's plain definition.

    `choose` says how a convolution or a product with constant weights is cut.
    """
    rules: dict[str, Legaliser] = {
        CONV2D: lambda builder, call: _conv2d(builder, call, choose),
        "relax.matmul": lambda builder, call: _matrix_product(builder, call, target, choose),
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


def conv_shape(call: Any) -> ConvShape | None:
    """The sizes of a Relax conv2d whose data is NCHW or NCHW[c] and whose weight is OIHW; None for anything else."""
    data, weight = static_shape(call.args[0]), static_shape(call.args[1])
    if data is None or weight is None or str(call.attrs.kernel_layout) != "OIHW":
        return None
    batch, channels, height, width = data[0], data[1] * (data[4] if len(data) == 5 else 1), data[2], data[3]
    top, left, bottom, right = (int(value) for value in call.attrs.padding)
    strides, dilation = call.attrs.strides, call.attrs.dilation
    return ConvShape(
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


def _conv2d(builder: Any, call: Any, choose: Choose) -> Any:
    shape = conv_shape(call)
    if shape is None or not str(call.attrs.out_layout).endswith("c") or not is_constant(call.args[1]):
        return _nn_conv2d(builder, call)
    work = Convolution(shape=shape, in_chunk=_in_chunk(call), out_chunk=int(call.ty.shape.values[-1]))
    name, packed, stages = convolution(work, choose(work), call.args[1].value.numpy())
    return _kernel(builder, name, call, packed, stages)


def _in_chunk(call: Any) -> int | None:
    """How many channels of the data lie side by side; None where they are not blocked."""
    sizes = static_shape(call.args[0]) or ()
    return sizes[4] if len(sizes) == 5 else None


def convolution(work: Convolution, cut: Cut, weight: np.ndarray) -> tuple[str, np.ndarray, Stages]:
    """The name of the kernel, its packed weight, and its stages as a function of data and that weight."""
    shape, out, panel = work.shape, work.out_chunk, cut.tile.vectors * work.out_chunk
    inner = work.in_chunk or shape.channels
    if shape.is_depthwise and work.in_chunk is not None:
        packed = packing.pack_depthwise(weight, chunk=out)
        return "conv2d_depthwise", packed, lambda d, w: depthwise.depthwise(d, w, shape, cut)
    if cut.winograd:
        packed = transform_weight(weight, cut.winograd, in_chunk=inner, panel=panel)
        return f"conv2d_winograd{cut.winograd}", packed, lambda d, w: rule_winograd.winograd(d, w, shape, cut)
    packed = packing.pack_conv(weight, in_chunk=inner, panel=panel)
    if shape.is_pointwise and work.in_chunk is not None:
        return "conv2d_1x1", packed, lambda d, w: conv.pointwise(d, w, shape, cut, out_chunk=out)
    chunked = work.in_chunk is not None
    return "conv2d", packed, lambda d, w: conv.direct(d, w, shape, cut, chunked=chunked, out_chunk=out)


def _kernel(builder: Any, name: str, call: Any, weight: np.ndarray, stages: Any) -> Any:
    return builder.call_te(stages, call.args[0], relax.const(weight), primfunc_name_hint=name, primfunc_attrs=OUT_FUSABLE)


def _matrix_product(builder: Any, call: Any, target: Target, choose: Choose) -> Any:
    left, right = static_shape(call.args[0]), static_shape(call.args[1])
    constant = is_constant(call.args[1])
    if left is None or right is None or len(right) != 2 or not constant or str(call.ty.dtype) != "float32":
        return _matmul(builder, call)
    work = Product(rows=int(np.prod(left[:-1])), depth=right[0], columns=right[1])
    name, packed, stages = product(work, choose(work), call.args[1].value.numpy(), target.lanes)
    return _kernel(builder, name, call, packed, stages)


def product(work: Product, cut: Cut, weight: np.ndarray, lanes: int) -> tuple[str, np.ndarray, Stages]:
    """As `convolution`, for a matrix product."""
    packed = packing.pack_dense(weight, panel=cut.tile.vectors * lanes)
    return "dense", packed, lambda d, w: dense.dense(d, w, work.columns, cut)
