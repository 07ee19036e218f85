"""FLOPs of a graph from its multiply-accumulates. Pure.

Counted are the operators that dominate: convolutions and matrix products, at 2 FLOPs per multiply-accumulate; the elementwise
rest is left out, as in the published figures (torchvision, timm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One node: its shapes are None where inference did not find them."""

    name: str
    kind: str
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape | None]
    equation: str = ""
    """Of an Einsum."""
    transposed_a: bool = False
    """transA of a Gemm."""
    known: bool = True
    """False for an operator whose arithmetic this module does not know, such as a fused one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """FLOPs of one inference, or None with the reason."""

    flops: int | None
    reason: str | None = None


def count(operations: Iterable[Operation]) -> Count:
    """The FLOPs of `operations`; None when a counted one has no known shape."""
    total = 0
    for operation in operations:
        if not operation.known:
            return Count(flops=None, reason=f"the arithmetic of {operation.kind} (node {operation.name!r}) is not known")
        counter = _COUNTERS.get(operation.kind)
        if counter is None:
            continue
        macs = counter(operation)
        if macs is None:
            return Count(flops=None, reason=f"the shapes of {operation.kind} node {operation.name!r} are not known")
        total += 2 * macs
    return Count(flops=total)


def _convolution(operation: Operation, weight_at: int = 1) -> int | None:
    """Output elements × (input channels per group × kernel); weight is [out, in/groups, *kernel]."""
    weight, output = _at(operation.inputs, weight_at), _at(operation.outputs, 0)
    return None if weight is None or output is None else prod(output) * prod(weight[1:])


def _transposed_convolution(operation: Operation) -> int | None:
    """Input elements × (output channels per group × kernel); weight is [in, out/groups, *kernel]."""
    data, weight = _at(operation.inputs, 0), _at(operation.inputs, 1)
    return None if data is None or weight is None else prod(data) * prod(weight[1:])


def _matmul(operation: Operation) -> int | None:
    """Output elements × the contracted axis, the last of the first operand."""
    left, output = _at(operation.inputs, 0), _at(operation.outputs, 0)
    return None if not left or output is None else prod(output) * left[-1]


def _gemm(operation: Operation) -> int | None:
    left, output = _at(operation.inputs, 0), _at(operation.outputs, 0)
    if left is None or output is None or len(left) != 2:
        return None
    return prod(output) * left[0 if operation.transposed_a else 1]


def _einsum(operation: Operation) -> int | None:
    """The product of the sizes of all subscripts."""
    terms = operation.equation.replace(" ", "").split("->")[0].split(",")
    if "." in operation.equation or len(terms) != len(operation.inputs):
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, operation.inputs, strict=True):
        if shape is None or len(shape) != len(term):
            return None
        sizes.update(zip(term, shape, strict=True))
    return prod(sizes.values())


def _at(shapes: Sequence[Shape | None], index: int) -> Shape | None:
    return shapes[index] if index < len(shapes) else None


_COUNTERS: dict[str, Callable[[Operation], int | None]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "FusedConv": _convolution,
    "QLinearConv": partial(_convolution, weight_at=3),
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "FusedMatMul": _matmul,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "Einsum": _einsum,
}
