"""One tensor, as bytes or as JSON values, checked against what the model declares. No I/O.

The model's shapes are static, so a tensor either fits exactly or is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.nouns import TensorSpec

Tensor = NDArray[Any]

NUMPY_OF = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
"""Open Inference Protocol datatype to numpy dtype name. BYTES (no fixed size) and BF16 (no numpy dtype) are absent."""

DATATYPE_OF: dict[np.dtype[Any], str] = {np.dtype(name): datatype for datatype, name in NUMPY_OF.items()}
"""By the dtype itself, in native byte order, because `dtype.name` is computed anew at each use."""

ALIGNMENT_BYTES = 64
"""A cache line, and the widest vector load a CPU runtime makes."""

_SHOWN_CHARACTERS = 120
_PYTHON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}


class ProtocolError(Exception):
    """The request is wrong; the message says how, `status` is the 4xx to answer with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A TensorSpec with everything that checking a request needs worked out beforehand."""

    name: str
    datatype: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    shape_list: list[int]
    """The shape as JSON has it, for a comparison without conversion."""
    elements: int
    size_bytes: int


def port(spec: TensorSpec) -> Port:
    """Raises ValueError for a dtype that the protocol cannot carry, or a shape that is not static."""
    dtype = np.dtype(spec.dtype)
    if dtype not in DATATYPE_OF:
        raise ValueError(
            f"tensor {spec.name} has dtype {spec.dtype}, which the Open Inference Protocol cannot carry as numbers"
        )
    if any(dim < 0 for dim in spec.shape):
        raise ValueError(f"tensor {spec.name} has shape {list(spec.shape)}; the server needs static shapes")
    elements = int(np.prod(spec.shape, dtype=np.int64))
    return Port(
        name=spec.name,
        datatype=DATATYPE_OF[dtype],
        dtype=dtype,
        shape=tuple(spec.shape),
        shape_list=list(spec.shape),
        elements=elements,
        size_bytes=elements * dtype.itemsize,
    )


def shown(value: object) -> str:
    """`value` as text short enough for an error message."""
    text = repr(value[:32]) if isinstance(value, list | str) else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def from_bytes(port: Port, body: memoryview, at: int = 0) -> Tensor:
    """The `port.size_bytes` bytes at `at` as a tensor: little endian, row-major. A view of `body`, copied only to align it.

    Raises ProtocolError for a BOOL byte that is neither 0 nor 1.
    """
    flat: Tensor = np.frombuffer(body, port.dtype, port.elements, at)
    if port.datatype == "BOOL" and port.elements and flat.view(np.uint8).max() > 1:
        raise ProtocolError(f"input {port.name} is BOOL and holds a byte that is neither 0 nor 1")
    if not flat.flags.aligned:
        flat = flat.copy()
    return flat.reshape(port.shape)


def from_json(port: Port, data: object) -> Tensor:
    """JSON values, flat in row-major order or nested like the shape, as a tensor.

    Raises ProtocolError for a wrong count, a ragged or too deep list, a value of another type or out of the dtype's range.
    """
    if not isinstance(data, list):
        raise ProtocolError(f"input {port.name}: data must be a list of {port.elements} values")
    flat = data if _is_flat(data) else _flatten(port, data)
    if len(flat) != port.elements:
        raise ProtocolError(f"input {port.name}: data has {len(flat)} values, shape {port.shape_list} needs {port.elements}")
    allowed = _PYTHON_TYPES[port.dtype.kind]
    if not set(map(type, flat)) <= allowed:
        wrong = next(value for value in flat if type(value) not in allowed)
        raise ProtocolError(f"input {port.name} is {port.datatype} and holds {shown(wrong)}")
    return _numbers(port, flat).reshape(port.shape)


def _is_flat(data: list[Any]) -> bool:
    return not data or not isinstance(data[0], list)


def _flatten(port: Port, data: list[Any]) -> list[Any]:
    level: Iterable[Any] = [data]
    for dim in port.shape:
        rows = list(level)
        if any(type(row) is not list or len(row) != dim for row in rows):
            raise ProtocolError(f"input {port.name}: nested data does not have shape {port.shape_list}")
        level = chain.from_iterable(rows)
    return list(level)


def _numbers(port: Port, flat: list[Any]) -> Tensor:
    try:
        if port.dtype.kind != "f":
            return np.array(flat, port.dtype)
        with np.errstate(over="ignore"):
            values: Tensor = np.array(flat, np.float64).astype(port.dtype)
    except OverflowError as error:
        raise ProtocolError(f"input {port.name} holds a value out of the range of {port.datatype}") from error
    if not np.isfinite(values).all():
        raise ProtocolError(f"input {port.name} holds a value out of the range of {port.datatype}")
    return values
