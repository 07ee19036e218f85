"""The payloads that quantisation takes its ranges from: never one that parity is judged on.

Of more payload files than parity needs, the last calibrate; else seeded ones of another seed do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compilers import onnx_checks, onnx_shapes, spec_io
from compilers.payloads import PAYLOADS, seeded
from harness.nouns import ModelSpec

COUNT = 128
"""Seeded payloads differ much in scale; a range that 32 of them span clips some of the next 32."""
SEED = 1  # of the payloads that are compared: 0

Payload = dict[str, np.ndarray]


def split(given: list[Payload]) -> tuple[list[Payload], list[Payload]]:
    """The user's payloads as those to compare, at least `PAYLOADS` and half of them, and at most `COUNT` to calibrate with."""
    spare = min(COUNT, len(given) // 2, max(0, len(given) - PAYLOADS))
    kept = len(given) - spare
    return given[:kept], given[kept:]


def payloads(folder: Path, model: ModelSpec) -> tuple[list[Payload], str]:
    """What to calibrate the prepared model in `folder` with, and where it came from, for the report."""
    given = spec_io.read_calibration(folder)
    if given:
        return given, f"{len(given)} of the given payloads, none of them compared"
    proto = onnx_checks.parse((folder / spec_io.ONNX).read_bytes(), folder)
    made = seeded(model.inputs, count=COUNT, seed=SEED, limits=onnx_shapes.index_limits(proto))
    return made, f"{COUNT} seeded payloads, none of them compared"
