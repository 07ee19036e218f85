"""The same network for another batch: an ONNX model whose inputs have a batch of one gets a batch of N.

Exporters bake the batch into constants; a reshape to [1, …] becomes one to [-1, …]. Where a one means the batch in another
way (an Expand, a Concat with a constant), shapes contradict each other or the inputs, and the model is refused.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from compilers.onnx_shapes import graph_inputs, infer
from harness.errors import UsageError


def rebatched(model: Any, size: int, source: Path) -> Any:
    """A copy of `model` with `size` instead of 1 as the first dimension of every input; every output has it too.

    Raises UsageError when the model has no such dimension or depends on its being one.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    for value in graph_inputs(made):
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_value != 1:
            raise UsageError(f"{source}: input {value.name!r} has no batch axis of size 1, so there is no batch of {size}")
        dims[0].dim_value = size
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    del made.graph.value_info[:]
    _free_reshapes(made)
    made = infer(made, source)
    for value in made.graph.output:
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_value != size:
            raise UsageError(f"{source}: output {value.name!r} does not follow a batch of {size}; its batch is fixed to 1")
    return made


def _free_reshapes(model: Any) -> None:
    """Let the first dimension of every constant reshape target that is 1 follow from the others, in place."""
    import onnx

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    outputs = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type != "Reshape":
            continue
        tensor = constants.get(node.input[1])
        if tensor is None and node.input[1] in outputs:
            tensor = next((each.t for each in outputs[node.input[1]].attribute if each.name == "value"), None)
        if tensor is None:
            continue
        target = onnx.numpy_helper.to_array(tensor).copy()
        if target.size and target[0] == 1 and -1 not in target and 0 not in target:
            target[0] = -1
            model.graph.initializer.append(onnx.numpy_helper.from_array(target, f"{node.output[0]}.batched"))
            node.input[1] = model.graph.initializer[-1].name


def chunks(batch: int, sizes: tuple[int, ...]) -> list[int]:
    """A batch as a sum of `sizes`, which hold 1: as many of the largest as fit, then of the next."""
    parts: list[int] = []
    for size in sorted(sizes, reverse=True):
        parts += [size] * (batch // size)
        batch %= size
    return parts


def split(arrays: dict[str, np.ndarray], parts: list[int]) -> list[dict[str, np.ndarray]]:
    """The inputs of a batch as one set of inputs per part."""
    edges = np.cumsum([0, *parts])
    spans = [slice(int(begin), int(end)) for begin, end in pairwise(edges)]
    return [{name: array[span] for name, array in arrays.items()} for span in spans]
