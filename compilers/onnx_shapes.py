"""Static shapes for an ONNX model: symbolic dimensions replaced, shapes inferred, facts read off the graph.

Runs in the intake child.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from compilers import flops
from compilers.onnx_checks import first_line, nodes, tensors
from harness.errors import UsageError
from harness.nouns import TensorSpec

_COMPOSITE = ("If", "Loop", "Scan")


def graph_inputs(model: Any) -> list[Any]:
    """The inputs a caller must give: those without a default in the initializers."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constants]


def fix_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]], source: Path) -> None:
    """Give every input a static shape, in place: as `shapes` says, and 1 for a symbolic first (batch) dimension.

    Raises UsageError naming the input for string, sequence and map inputs, for other symbolic dimensions, and for `shapes`
    that do not fit.
    """
    inputs = {value.name: value for value in graph_inputs(model)}
    if not inputs:
        raise UsageError(f"{source}: the model takes no input, so there is nothing to serve")
    for name in shapes:
        if name not in inputs:
            raise UsageError(f"--shape {name}: {source} has no such input; it takes {', '.join(inputs)}")
    for value in [*inputs.values(), *model.graph.output]:
        _refuse_non_tensor(value, source)
    for name, value in inputs.items():
        _fix(value, shapes.get(name), source)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")  # inferred again below, with the sizes now known
    del model.graph.value_info[:]


def _refuse_non_tensor(value: Any, source: Path) -> None:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise UsageError(f"{source}: {value.name!r} is a {(kind or 'untyped value').removesuffix('_type')}, not a tensor")
    element = value.type.tensor_type.elem_type
    if element == onnx.TensorProto.STRING:
        raise UsageError(f"{source}: {value.name!r} holds strings, which cannot be served")
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    except KeyError as error:
        raise UsageError(f"{source}: {value.name!r} has an unknown element type {element}") from error
    if dtype.kind not in "biuf":
        raise UsageError(f"{source}: {value.name!r} holds {dtype}, which cannot be served")


def _fix(value: Any, given: tuple[int, ...] | None, source: Path) -> None:
    tensor = value.type.tensor_type
    example = f"--shape {value.name}=1x128"
    known = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim]
    if given is None:
        unknown = [index for index, size in enumerate(known) if size is None and index > 0]
        if unknown:
            shown = "x".join(str(size or tensor.shape.dim[at].dim_param or "?") for at, size in enumerate(known))
            raise UsageError(f"{source}: input {value.name!r} has the open shape {shown}; give it, such as {example}")
        given = tuple(size or 1 for size in known)
    fits = len(given) == len(known) and all(want in (None, got) for got, want in zip(given, known, strict=True))
    if not fits or min(given, default=1) < 1:
        shown = "x".join(str(size or "?") for size in known)
        raise UsageError(f"--shape {value.name}={'x'.join(map(str, given))}: the model's input has shape {shown}")
    for dim, size in zip(tensor.shape.dim, given, strict=True):
        dim.Clear()
        dim.dim_value = size


def infer(model: Any, source: Path) -> Any:
    """A copy of `model` with inferred shapes; raises UsageError when its shapes contradict one another."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
        raise UsageError(f"{source}: shapes do not fit together: {first_line(error)}") from error


def is_static(model: Any) -> bool:
    """Whether inference found the shape of everything that the main graph computes, and no node asks for a shape."""
    if any(node.op_type in ("Shape", "Size") for node in model.graph.node):
        return False
    known = {value.name for value in [*model.graph.value_info, *model.graph.output] if _shape(value) is not None}
    return all(name in known for node in model.graph.node for name in node.output if name)


def drop_unused_domains(model: Any) -> None:
    """Remove, in place, the operator sets that no node uses; importers refuse a model for those they do not know."""
    used = {node.domain for node in nodes(model)} | {function.domain for function in model.functions} | {""}
    kept = [entry for entry in model.opset_import if ("" if entry.domain == "ai.onnx" else entry.domain) in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    del model.graph.value_info[:]


def input_specs(model: Any) -> tuple[TensorSpec, ...]:
    """The (by now static) inputs."""
    import onnx

    return tuple(
        TensorSpec(
            name=value.name,
            dtype=onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            shape=tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
        )
        for value in graph_inputs(model)
    )


def parameter_count(model: Any) -> int:
    """Elements of all floating-point and quantised weights with at least one dimension."""
    import onnx

    weights = (tensor for tensor in tensors(model) if tensor.dims and tensor.data_type != onnx.TensorProto.INT64)
    return sum(prod(tensor.dims) for tensor in weights)


def index_limits(model: Any) -> dict[str, int]:
    """For each input that indexes a constant table, directly or through casts, the rows of the smallest such table."""
    rows = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    origin = {value.name: value.name for value in graph_inputs(model)}
    limits: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Identity", "Unsqueeze", "Squeeze", "Reshape") and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        if node.op_type == "Gather" and node.input[0] in rows and node.input[1] in origin:
            name = origin[node.input[1]]
            limits[name] = min(limits.get(name, rows[node.input[0]]), rows[node.input[0]])
    return limits


def operations(model: Any) -> list[flops.Operation]:
    """The graph's nodes with their shapes, for `flops.count`."""
    shapes: dict[str, tuple[int, ...] | None] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        shapes[value.name] = _shape(value)
    return [_operation(node, shapes) for node in model.graph.node]


def _operation(node: Any, shapes: Mapping[str, tuple[int, ...] | None]) -> flops.Operation:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    return flops.Operation(
        name=node.name,
        kind=node.op_type,
        inputs=[shapes.get(name) for name in node.input],
        outputs=[shapes.get(name) for name in node.output],
        equation=attributes["equation"].s.decode() if "equation" in attributes else "",
        transposed_a="transA" in attributes and bool(attributes["transA"].i),
        known=node.op_type not in _COMPOSITE and node.domain in ("", "ai.onnx", "ai.onnx.ml"),
    )


def _shape(value: Any) -> tuple[int, ...] | None:
    """The static shape of a value; None when it has none or an open one. A size of zero is a size."""
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        return None
    static = all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in tensor.shape.dim)
    return tuple(dim.dim_value for dim in tensor.shape.dim) if static else None
