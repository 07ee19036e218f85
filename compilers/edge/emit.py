"""A plan as C++: the tables that runtime.cpp executes, and the weights as the bytes beside them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from compilers.edge.plan import ALIGNMENT, Plan, Value
from harness.nouns import TensorSpec

PREFIX = "__tvm_ffi_"
"""Of a kernel's symbol in the object file that TVM writes."""

_CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
"""DLPack's type codes by numpy's kinds."""


def weights(plan: Plan) -> bytes:
    """The content of every constant at its offset."""
    content = bytearray(plan.weights_bytes)
    for at in plan.constants:
        constant = plan.graph.values[at].constant
        assert constant is not None
        offset = plan.places[at].offset
        content[offset : offset + constant.nbytes] = constant.tobytes()
    return bytes(content)


def model(
    plan: Plan, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], tolerance: float, weights_file: str
) -> str:
    """model.cpp: its tables, and `weights_file` (in the folder where it is compiled) as the library's own data."""
    graph = plan.graph
    arguments = [at for call in graph.calls for at in call.arguments]
    starts = np.cumsum([0, *(len(call.arguments) for call in graph.calls)])
    steps = [
        f'{{{PREFIX}{call.kernel}, "{call.kernel}", {start}, {len(call.arguments)}}}'
        for call, start in zip(graph.calls, starts, strict=False)
    ]
    tensors = [_tensor(plan, at) for at in range(len(graph.values))]
    names = sorted({call.kernel for call in graph.calls})
    return "\n".join(
        (
            '#include "plan.h"',
            "",
            f'__asm__(".section .rodata\\n.balign {ALIGNMENT}\\n.globl loadstone_weights\\n.hidden loadstone_weights\\n"',
            f'        "loadstone_weights:\\n.incbin \\"{weights_file}\\"\\n.byte 0\\n.previous\\n");',
            "",
            'extern "C" {',
            "extern const unsigned char loadstone_weights[];",
            *(f"int32_t {PREFIX}{kernel}(void *, const Any *, int32_t, Any *);" for kernel in names),
            "}",
            "",
            "namespace {",
            *(
                f"const int64_t {_shape_name(shape)}[] = {{{_list(shape or (1,))}}};"
                for shape in _shapes(plan, inputs, outputs)
            ),
            _table("loadstone::Tensor", "tensors", tensors),
            _table("int32_t", "arguments", map(str, arguments)),
            _table("loadstone::Step", "steps", steps),
            _table("loadstone_tensor", "inputs", map(_port, inputs)),
            _table("int32_t", "input_tensors", map(str, graph.inputs)),
            _table("loadstone_tensor", "outputs", map(_port, outputs)),
            _table("int32_t", "output_tensors", map(str, graph.outputs)),
            "}  // namespace",
            "",
            "namespace loadstone {",
            f"extern const Plan plan = {{{json.dumps(name)}, {tolerance!r}, loadstone_weights, {plan.arena_bytes}ULL,",
            f"                          tensors, {len(tensors)}, arguments, {len(arguments)}, steps, {len(steps)},",
            f"                          inputs, input_tensors, {len(inputs)}, outputs, output_tensors, {len(outputs)}}};",
            "}  // namespace loadstone",
            "",
        )
    )


def _table(kind: str, name: str, rows: Iterable[str]) -> str:
    """An array; C++ has none of no elements, so one is always there."""
    body = ",\n    ".join(rows) or "{}"
    return f"const {kind} {name}[] = {{\n    {body}}};"


def _tensor(plan: Plan, at: int) -> str:
    value, place = plan.graph.values[at], plan.places[at]
    where = f"{int(place.in_weights)}, {place.offset}ULL"
    return f"{{{where}, {len(value.shape)}, {_shape_name(value.shape)}, {_data_type(value)}}}"


def _data_type(value: Value) -> str:
    dtype = np.dtype(value.dtype)
    return f"{{{_CODES[dtype.kind]}, {8 * dtype.itemsize}, 1}}"


def _port(spec: TensorSpec) -> str:
    size = int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
    return f"{{{json.dumps(spec.name)}, {json.dumps(spec.dtype)}, {len(spec.shape)}, {_shape_name(spec.shape)}, {size}U}}"


def _shapes(plan: Plan, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> list[tuple[int, ...]]:
    of_ports = {tuple(spec.shape) for spec in (*inputs, *outputs)}
    return sorted({value.shape for value in plan.graph.values} | of_ports)


def _shape_name(shape: tuple[int, ...]) -> str:
    return "shape_" + ("_".join(map(str, shape)) or "scalar")


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
