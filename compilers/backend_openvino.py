"""OpenVINO on the CPU: compiled once to a blob, imported by the server; it computes in the precision asked for, no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.backend_ort import quantised
from compilers.interface import CannotCompile, Layer, not_native, only_on_host
from compilers.precision import BF16, FP32, INT8
from harness.nouns import CompileOptions, ModelSpec

_FILE = "model.blob"
_PRECISION = "precision.txt"
_DEVICE = "CPU"
_PROFILED = 5
PRECISIONS = (FP32, BF16, INT8)
_HINTS = {FP32: "f32", BF16: "bf16", INT8: "f32"}
"""What is computed in where the graph itself does not say so: 8-bit products stand in the graph, as ONNX Runtime wrote it."""


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
    reads_onnx = True

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return only_on_host(options, PRECISIONS) or not_native(options, BF16)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        import openvino as ov

        source, details = quantised(model, folder, options, out)
        settings = _settings(options.threads, options.precision)
        try:
            core = ov.Core()
            compiled = core.compile_model(core.read_model(source), _DEVICE, settings)
            (out / _FILE).write_bytes(compiled.export_model().getvalue())
        except RuntimeError as error:
            raise CannotCompile(f"OpenVINO cannot compile the model: {error}") from error
        if source.parent == out:
            source.unlink()
        (out / _PRECISION).write_text(options.precision, encoding="utf-8")
        inference = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return {"inference_precision": inference, "streams": 1, "performance_hint": "LATENCY", **details}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        import openvino as ov

        precision = (artifact / _PRECISION).read_text(encoding="utf-8")
        compiled = ov.Core().import_model((artifact / _FILE).read_bytes(), _DEVICE, _settings(threads, precision))
        return _Session(compiled.create_infer_request(), model)

    def profile(self, artifact: Path, model: ModelSpec, threads: int, payload: Mapping[str, np.ndarray]) -> list[Layer]:
        """Every node that ran, by OpenVINO's own counters: the fastest of some runs."""
        import openvino as ov

        precision = (artifact / _PRECISION).read_text(encoding="utf-8")
        settings = _settings(threads, precision) | {"PERF_COUNT": True}
        request = ov.Core().import_model((artifact / _FILE).read_bytes(), _DEVICE, settings).create_infer_request()
        best: dict[str, Layer] = {}
        for _ in range(_PROFILED):
            request.infer([payload[spec.name] for spec in model.inputs], share_inputs=True)
            for node in request.get_profiling_info():
                spent_ns = round(node.real_time.total_seconds() * 1e9)
                known = best.get(node.node_name)
                if spent_ns and (known is None or spent_ns < known.time_ns):
                    best[node.node_name] = Layer(
                        name=node.node_name,
                        kind=node.node_type,
                        time_ns=spent_ns,
                        flops=None,
                        fallen_back=node.exec_type.startswith("ref"),
                    )
        return list(best.values())


def _settings(threads: int, precision: str) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],  # else a CPU with bfloat16 units computes in bfloat16 unasked
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # the process is pinned already
    }
