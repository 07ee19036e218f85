"""Small ONNX graphs, one per thing a rule must get right: `{name: (model, rules that must appear)}`.

Sizes are chosen not to divide: partial tiles, partial vectors and borders are where schedules go wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """A chain of ONNX nodes with float32 constants drawn from one seed."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.random = np.random.default_rng(7)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.shape = list(shape)
        self.last = "x"

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int) -> str:
        scale = np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
        return self.constant((self.random.standard_normal(shape) / scale).astype("f"))

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        self.last = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [self.last], **attributes))
        return self.last

    def conv(self, channels: int, filters: int, kernel: int, *, groups: int = 1, bias: bool = True, **attributes: Any) -> str:
        inputs = [self.last, self.weight(filters, channels // groups, kernel, kernel)]
        if bias:
            inputs.append(self.weight(filters))
        return self.add("Conv", *inputs, group=groups, **attributes)

    def model(self) -> Any:
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)]
        outputs = [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "g", inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model)


def convolution(shape: Sequence[int], filters: int, kernel: int, **attributes: Any) -> Graph:
    graph = Graph(shape)
    graph.conv(shape[1], filters, kernel, **attributes)
    return graph


def residual(channels: int, size: int, kernel: int) -> Graph:
    """relu(conv(x) + bias + x), then a clip."""
    graph = Graph([1, channels, size, size])
    graph.conv(channels, channels, kernel, pads=[kernel // 2] * 4)
    graph.add("Relu", graph.add("Add", graph.last, "x"))
    graph.add("Clip", graph.last, graph.constant(np.float32(0.1)), graph.constant(np.float32(1.5)))
    return graph


def pooled(kind: str, **attributes: Any) -> Graph:
    graph = convolution([2, 16, 13, 17], 24, 1)
    graph.add(kind, graph.last, **attributes)
    return graph


def matrix(shape: Sequence[int], columns: int, *, transposed: bool = False) -> Graph:
    graph = Graph(shape)
    depth = shape[-1]
    if transposed:
        graph.add("Gemm", "x", graph.weight(columns, depth), graph.weight(columns), transB=1)
    else:
        graph.add("Add", graph.add("MatMul", "x", graph.weight(depth, columns)), graph.weight(columns))
    return graph


def gelu() -> Graph:
    graph = matrix([1, 13, 48], 72)
    value = graph.last
    inner = graph.add(
        "Add", graph.add("Erf", graph.add("Div", value, graph.constant(np.float32(2**0.5)))), graph.constant(np.float32(1))
    )
    graph.add("Mul", value, graph.add("Mul", graph.constant(np.float32(0.5)), inner))
    return graph


def normalised(columns: int, kind: str) -> Graph:
    graph = Graph([2, 7, columns])
    if kind == "LayerNormalization":
        graph.add(kind, "x", graph.weight(columns), graph.weight(columns), axis=-1, epsilon=1e-5)
    else:
        graph.add(kind, "x", axis=-1)
    return graph


def attention(batch: int, length: int, heads: int, depth: int, *, mask: Callable[[int], np.ndarray] | None) -> Graph:
    """Self-attention as PyTorch's exporter writes it: both sides scaled, the mask added, NaN rows made zeros."""
    width = heads * depth
    graph = Graph([batch, length, width])
    sides = []
    for _ in range(3):
        flat = graph.add("MatMul", "x", graph.weight(width, width))
        shaped = graph.add("Reshape", flat, graph.constant(np.array([batch, length, heads, depth])))
        sides.append(graph.add("Transpose", shaped, perm=[0, 2, 1, 3]))
    query, key, value = sides
    half = graph.constant(np.float32(depth**-0.25))
    key = graph.add("Transpose", key, perm=[0, 1, 3, 2])
    scores = graph.add("MatMul", graph.add("Mul", query, half), graph.add("Mul", key, half))
    if mask is not None:
        scores = graph.add("Add", scores, graph.constant(mask(length)))
    weights = graph.add("Softmax", scores, axis=-1)
    zero = graph.constant(np.float32(0))
    weights = graph.add("Where", graph.add("IsNaN", weights), zero, weights)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])
    graph.add("Reshape", mixed, graph.constant(np.array([batch, length, width])))
    return graph


def causal(length: int) -> np.ndarray:
    return np.triu(np.full((1, 1, length, length), -np.inf, "f"), 1)


def nothing_seen(length: int) -> np.ndarray:
    """A mask whose second row lets no key through."""
    mask = np.zeros((1, 1, length, length), "f")
    mask[..., 1, :] = -np.inf
    return mask


def function(kind: str) -> Callable[[], Graph]:
    def build() -> Graph:
        graph = Graph([3, 5, 40])
        graph.add(kind, "x")
        return graph

    return build


CASES: dict[str, tuple[Callable[[], Graph], set[str]]] = {
    "1x1": (lambda: convolution([1, 24, 7, 9], 40, 1), {"pointwise"}),
    "1x1, stride 2, batch 2": (lambda: convolution([2, 16, 13, 11], 32, 1, strides=[2, 2]), {"pointwise"}),
    "1x1, long": (lambda: convolution([1, 256, 40, 40], 64, 1), {"pointwise"}),
    "3x3, stride 2": (lambda: convolution([1, 16, 15, 13], 32, 3, strides=[2, 2], pads=[1, 1, 1, 1]), {"conv"}),
    "3x3, unequal borders": (lambda: convolution([2, 8, 9, 10], 16, 3, pads=[0, 1, 2, 3]), {"conv"}),
    "3x3, no border": (lambda: convolution([1, 8, 9, 11], 16, 3), {"conv"}),
    "5x3 dilated": (lambda: convolution([1, 16, 17, 19], 8, 3, dilations=[2, 3], pads=[2, 2, 2, 2]), {"conv"}),
    "image": (lambda: convolution([1, 3, 31, 29], 24, 7, strides=[2, 2], pads=[3, 3, 3, 3]), {"conv"}),
    "grouped": (lambda: convolution([1, 32, 9, 9], 48, 3, groups=2, pads=[1, 1, 1, 1]), {"conv"}),
    "half a vector of channels": (lambda: convolution([1, 20, 8, 8], 12, 1), {"pointwise"}),
    "depthwise": (lambda: convolution([2, 24, 15, 17], 24, 3, groups=24, pads=[1, 1, 1, 1]), {"depthwise"}),
    "depthwise, 5x5, stride 2": (
        lambda: convolution([1, 16, 15, 18], 16, 5, groups=16, strides=[2, 2], pads=[2, 2, 2, 2]),
        {"depthwise"},
    ),
    "F(4,3), ragged": (lambda: convolution([1, 32, 30, 29], 48, 3, pads=[1, 1, 1, 1]), {"winograd"}),
    "F(2,3), ragged, batch 2": (lambda: convolution([2, 32, 13, 15], 32, 3, pads=[1, 1, 1, 1]), {"winograd"}),
    "F(2,3), no border": (lambda: convolution([1, 32, 16, 16], 32, 3), {"winograd"}),
    "1x1 with residual": (lambda: residual(16, 9, 1), {"pointwise"}),
    "3x3 with residual": (lambda: residual(16, 9, 3), {"conv"}),
    "Winograd with residual": (lambda: residual(32, 14, 3), {"winograd"}),
    "max pool": (lambda: pooled("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), {"reduction"}),
    "average pool": (lambda: pooled("AveragePool", kernel_shape=[2, 3], strides=[2, 2]), {"reduction"}),
    "mean": (lambda: pooled("GlobalAveragePool"), {"reduction"}),
    "dense, one row": (lambda: matrix([1, 70], 1001, transposed=True), {"dense"}),
    "dense, ragged rows": (lambda: matrix([1, 13, 72], 50), {"dense"}),
    "dense, batch": (lambda: matrix([3, 5, 64], 96), {"dense"}),
    "dense, long": (lambda: matrix([1, 197, 640], 64), {"dense"}),
    "dense, deep": (lambda: matrix([1, 37, 1536], 88), {"dense"}),
    "1x1, deep, batch 2": (lambda: convolution([2, 768, 7, 9], 40, 1), {"pointwise"}),
    "F(2,3), deep": (lambda: convolution([1, 512, 15, 13], 32, 3, pads=[1, 1, 1, 1]), {"winograd"}),
    "dense with GELU": (gelu, {"dense"}),
    "layer norm": (lambda: normalised(96, "LayerNormalization"), {"layer_norm"}),
    "softmax": (lambda: normalised(40, "Softmax"), {"softmax"}),
    "attention": (lambda: attention(1, 32, 2, 16, mask=None), {"attention"}),
    "attention, ragged, batch 2": (lambda: attention(2, 13, 3, 24, mask=None), {"attention"}),
    "attention, causal": (lambda: attention(1, 19, 2, 16, mask=causal), {"attention"}),
    "attention, long": (lambda: attention(1, 197, 2, 32, mask=None), {"attention"}),
    "attention, long, causal": (lambda: attention(2, 150, 1, 16, mask=causal), {"attention"}),
    "attention, a row sees nothing": (lambda: attention(1, 16, 2, 16, mask=nothing_seen), {"attention"}),
    **{kind.lower(): (function(kind), {"elementwise"}) for kind in ("Erf", "Exp", "Tanh", "Sigmoid")},
    "softmax, ragged": (lambda: normalised(37, "Softmax"), {"fallback"}),
    "channels that fill no vector": (lambda: convolution([1, 6, 9, 9], 10, 3), {"reduction"}),
}
"""The last two have no rule of their own: they must be right all the same, and the first is counted as fallen back."""
