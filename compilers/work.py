"""What each operator of a prepared model computes and moves, read from its ONNX graph: FLOPs, weights, activations."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from compilers import flops, onnx_shapes
from harness.errors import UsageError
from harness.projection.nouns import Layer, Work


def read(path: Path) -> Work | str:
    """The work of the graph at `path`, or why it is not known."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    try:
        return of_graph(onnx_shapes.infer(model, path))
    except UsageError as error:
        return str(error)


def of_graph(model: Any) -> Work | str:
    """The work of a graph with inferred shapes, or why it is not known."""
    constants = {tensor.name for tensor in model.graph.initializer}
    layers = []
    for node, operation in zip(model.graph.node, onnx_shapes.operations(model), strict=True):
        counted = flops.count([operation])
        if counted.flops is None:
            return counted.reason or f"the arithmetic of {node.op_type} is not known"
        shapes = [*zip(node.input, operation.inputs, strict=True), *zip(node.output, operation.outputs, strict=True)]
        weights = sum(prod(shape) for name, shape in shapes if shape is not None and name in constants)
        activations = sum(prod(shape) for name, shape in shapes if shape is not None and name not in constants)
        if node.op_type in _FREE:
            continue
        if node.op_type in _LOOKUPS:  # a look-up reads its rows, not its table
            weights, activations = 0, 2 * sum(prod(shape) for shape in operation.outputs if shape is not None)
        layers.append(Layer(flops=counted.flops, weights=weights, activations=activations))
    launched = sum(node.op_type not in _FREE | _FUSED for node in model.graph.node)
    return Work(layers=tuple(layers), operators=launched)


_FREE = frozenset({"Constant", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Shape"})
_LOOKUPS = frozenset({"Gather"})
_FUSED = frozenset({"Relu", "Clip", "BatchNormalization", "Add", "Mul", "Sigmoid", "Erf", "Div", "Sub", "Cast", "Pow", "Sqrt"})
"""What every compiler for accelerators joins to the operator before it."""
