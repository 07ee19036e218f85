"""No model at all: answers at once with zeros of the right shapes, which shows the floor of the serving path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.nouns import CompileOptions, ModelSpec


class _Zeros:
    def __init__(self, model: ModelSpec) -> None:
        self._outputs = [(spec.shape, spec.dtype) for spec in model.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        return [np.zeros(shape, dtype) for shape, dtype in self._outputs]


class Null:
    name = "null"
    packages: tuple[str, ...] = ()
    extra = ""
    computes = False
    threads_matter = False
    reads_onnx = False

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return None

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        (out / "null.txt").write_text("no model: outputs are zeros\n", encoding="utf-8")
        return {"computes": "nothing: zeros of the output shapes"}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Zeros:
        return _Zeros(model)
