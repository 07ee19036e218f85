"""ONNX files in 8-bit integers, by ONNX Runtime's quantiser. Runs in the compile child."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from compilers import onnx_shapes, reference

PRODUCTS = ("MatMul", "Gemm")
STATIC = ("Conv", *PRODUCTS)
"""What is worth it: the products. Between them values stay floats, which costs little and keeps most of the accuracy."""
DYNAMIC = PRODUCTS
"""ONNX Runtime's convolution of integers with ranges of its own is slower than the one of floats."""


class _Payloads(CalibrationDataReader):  # type: ignore[misc] # the library has no types
    def __init__(self, payloads: Sequence[Mapping[str, np.ndarray]]) -> None:
        self._left = iter(payloads)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next((dict(payload) for payload in self._left), None)


def static(model: Path, out: Path, payloads: Sequence[Mapping[str, np.ndarray]], *, reduce_range: bool) -> None:
    """`model` with quantise and dequantise nodes around its products, ranges from `payloads`, weights by channel.

    `reduce_range` keeps weights to 7 bits, for CPUs whose multiply-add of bytes saturates. Raises what the quantiser raises.
    """
    with tempfile.TemporaryDirectory() as scratch:
        quantize_static(
            str(_plain(model, Path(scratch))),
            str(out),
            _Payloads(payloads),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(STATIC),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def dynamic(model: Path, out: Path, *, reduce_range: bool) -> None:
    """`model` with 8-bit weights, its activations' ranges taken anew from every request. Raises what the quantiser raises."""
    with tempfile.TemporaryDirectory() as scratch:
        quantize_dynamic(
            str(_plain(model, Path(scratch))),
            str(out),
            op_types_to_quantize=list(DYNAMIC),
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
        )


def _plain(model: Path, scratch: Path) -> Path:
    """What is constant computed and batch norms folded, so that whole products are seen; stale shapes dropped."""
    folded, plain = scratch / "folded.onnx", scratch / "plain.onnx"
    reference.fold_constants(model.read_bytes(), folded)
    proto = onnx.load(folded)
    onnx_shapes.drop_unused_domains(proto)
    plain.write_bytes(proto.SerializeToString())
    return plain
