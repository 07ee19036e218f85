"""OpenVINO on the CPU: compiled once to a blob, imported by the server; always in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.interface import CannotCompile, only_fp32_on_host
from harness.nouns import CompileOptions, ModelSpec

_FILE = "model.blob"
_DEVICE = "CPU"


class _Session:
    def __init__(self, request: Any, model: ModelSpec) -> None:
        self._request = request
        self._names = [spec.name for spec in model.inputs]
        self._dtypes = [np.dtype(spec.dtype) for spec in model.outputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        # By position: an exporter may leave names that OpenVINO drops from tensors it folds away.
        results = self._request.infer([inputs[name] for name in self._names], share_inputs=True)
        outputs = [results[at] for at in range(len(self._dtypes))]
        return [np.array(array, dtype=dtype, order="C") for array, dtype in zip(outputs, self._dtypes, strict=True)]


class OpenVino:
    name = "openvino"
    packages = ("openvino",)
    extra = "openvino"
    computes = True
    threads_matter = False

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return only_fp32_on_host(options)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        import openvino as ov

        settings = _settings(options.threads)
        try:
            core = ov.Core()
            compiled = core.compile_model(core.read_model(folder / "model.onnx"), _DEVICE, settings)
            (out / _FILE).write_bytes(compiled.export_model().getvalue())
        except RuntimeError as error:
            raise CannotCompile(f"OpenVINO cannot compile the model: {error}") from error
        inference = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return {"inference_precision": inference, "streams": 1, "performance_hint": "LATENCY"}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        import openvino as ov

        compiled = ov.Core().import_model((artifact / _FILE).read_bytes(), _DEVICE, _settings(threads))
        return _Session(compiled.create_infer_request(), model)


def _settings(threads: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": "f32",  # else a CPU with bfloat16 units computes in bfloat16 unasked
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # the process is pinned already
    }
