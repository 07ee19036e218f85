"""The same network for another batch: an ONNX model whose inputs have a batch of one gets a batch of N.

Exporters bake the batch into constants: a reshape to [1, …] becomes one to [-1, …], a constant of batch 1 that is joined to
data, as a class token is, is repeated, and a gather from the only item gathers from each. Where a one means the batch in
another way, shapes contradict each other or the inputs, and the model is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    of_one = _shapes(infer(made, source))
    for value in graph_inputs(made):
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_value != 1:
            raise UsageError(f"{source}: input {value.name!r} has no batch axis of size 1, so there is no batch of {size}")
        dims[0].dim_value = size
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    del made.graph.value_info[:]
    constants = _constants(made)
    _free_reshapes(made, constants, of_one)
    _repeat_joined(made, constants, size)
    _gather_own_item(made, constants, of_one, size)
    made = infer(made, source)
    for value in made.graph.output:
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_value != size:
            raise UsageError(f"{source}: output {value.name!r} does not follow a batch of {size}; its batch is fixed to 1")
    return made


def _constants(model: Any) -> dict[str, Any]:
    """Every constant tensor by the name of its value: initializers and the outputs of Constant nodes."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            found[node.output[0]] = value
    return found


def _shapes(model: Any) -> dict[str, list[int]]:
    """The static shapes that inference found, by the name of the value."""
    found = {}
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            found[value.name] = [dim.dim_value for dim in dims]
    return found


def _free_reshapes(model: Any, constants: Mapping[str, Any], of_one: Mapping[str, list[int]]) -> None:
    """Let the first dimension of every reshape to a constant shape [1, …] follow from the others, in place.

    The others are those that a batch of one has: a target may leave one of them open.
    """
    import onnx

    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        target = onnx.numpy_helper.to_array(constants[node.input[1]])
        shape = of_one.get(node.output[0], [])
        if target.size and target[0] == 1 and len(shape) == target.size:
            node.input[1] = _added(model, np.array([-1, *shape[1:]], dtype=np.int64), f"{node.output[0]}.batched")


def _repeat_joined(model: Any, constants: Mapping[str, Any], size: int) -> None:
    """Repeat the constants of batch 1 that are concatenated with data along another axis than the first, in place.

    Whether the data's first axis is the batch is not asked here: if it is not, the shapes contradict each other.
    """
    import onnx

    for node in model.graph.node:
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        if node.op_type != "Concat" or axis == 0 or all(name in constants for name in node.input):
            continue
        for at, name in enumerate(node.input):
            if name not in constants:
                continue
            value = onnx.numpy_helper.to_array(constants[name])
            if value.ndim > 1 and value.shape[0] == 1 and axis != -value.ndim:
                node.input[at] = _added(model, np.repeat(value, size, axis=0), f"{node.output[0]}.batched{at}")


def _gather_own_item(model: Any, constants: Mapping[str, Any], of_one: Mapping[str, list[int]], size: int) -> None:
    """Let every GatherND from the only item, as of an attention mask, gather from each item of the batch, in place."""
    import onnx

    for node in model.graph.node:
        if node.op_type != "GatherND" or node.input[0] in constants or node.input[1] not in constants:
            continue
        places = onnx.numpy_helper.to_array(constants[node.input[1]])
        batched_itself = any(each.name == "batch_dims" and each.i for each in node.attribute)
        one_item = of_one.get(node.input[0], [])[:1] == [1] and places.ndim > 1 and places.shape[0] == 1
        if batched_itself or not one_item or places[..., 0].any():
            continue
        items = np.repeat(places, size, axis=0)
        items[..., 0] = np.arange(size).reshape(-1, *[1] * (places.ndim - 2))
        node.input[1] = _added(model, items, f"{node.output[0]}.batched")


def _added(model: Any, value: np.ndarray, name: str) -> str:
    import onnx

    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
    return name


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
