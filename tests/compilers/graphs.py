"""Small ONNX models for the tests, built node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weight(name: str, *shape: int, seed: int = 0) -> Any:
    rng = np.random.default_rng([seed, *shape])
    return numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)


def value(name: str, shape: Sequence[int | str] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    weights: Sequence[Any] = (),
    domains: Sequence[str] = (),
) -> Any:
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(weights))
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def cnn(batch: int | str = 1) -> Any:
    """Convolution, depthwise convolution, residual, pooling, classifier: 8 classes from a 3×16×16 image."""
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu1"),
        helper.make_node("Conv", ["b", "w2"], ["c"], name="depthwise", pads=[1, 1, 1, 1], group=16),
        helper.make_node("Add", ["b", "c"], ["d"], name="residual"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], name="pool"),
        helper.make_node("Flatten", ["e"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3"], ["logits"], name="classifier", transB=1),
    ]
    weights = [weight("w1", 16, 3, 3, 3), weight("w2", 16, 1, 3, 3), weight("w3", 8, 16)]
    return model(nodes, [value("image", [batch, 3, 16, 16])], [value("logits", [batch, 8])], weights)


CNN_FLOPS = 2 * (16 * 16 * 16 * 27 + 16 * 16 * 16 * 9 + 8 * 16)


def embedding(length: int | str = "sequence") -> Any:
    """Token ids looked up in a table of 50 rows and projected."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"], name="lookup"),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="project"),
    ]
    weights = [weight("table", 50, 8), weight("w", 8, 4)]
    return model(nodes, [value("ids", ["batch", length], TensorProto.INT64)], [value("y", ["batch", length, 4])], weights)


def save(proto: Any, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString())
    return path


def save_with_external(proto: Any, path: Path, location: str) -> Path:
    """Save with every weight moved to `location`, written beside the model unless that leads elsewhere."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    offset, blob = 0, b""
    for tensor in proto.graph.initializer:
        content = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", location), ("offset", str(offset)), ("length", str(len(content)))):
            tensor.external_data.add(key=key, value=text)
        offset, blob = offset + len(content), blob + content
    (path.parent / "blob.bin").write_bytes(blob)
    return save(proto, path)
