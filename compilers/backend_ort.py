"""ONNX Runtime on the CPU: the graph optimised at compile time, loaded as it is afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers import calibration
from compilers.interface import CannotCompile, only_on_host
from compilers.precision import FP32, INT8, INT8_DYNAMIC
from compilers.targets import resolve
from harness.nouns import CompileOptions, ModelSpec

PRECISIONS = (FP32, INT8, INT8_DYNAMIC)
_FILE = "model.onnx"


class _Session:
    def __init__(self, session: Any, outputs: Sequence[str]) -> None:
        self._session = session
        self._outputs = list(outputs)

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        results: list[np.ndarray] = self._session.run(self._outputs, dict(inputs))
        return results


class OnnxRuntime:
    name = "ort"
    packages = ("onnxruntime",)
    extra = ""
    computes = True
    threads_matter = False

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return only_on_host(options, PRECISIONS)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        import onnxruntime as ort

        source, details = quantised(model, folder, options, out)
        settings = _settings(options.threads)
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.optimized_model_filepath = str(out / _FILE)
        try:
            ort.InferenceSession(str(source), settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CannotCompile(f"ONNX Runtime cannot optimise the model: {error}") from error
        if source.parent == out:
            source.unlink()
        return {"graph_optimisation": "all", "provider": "CPUExecutionProvider", **details}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        import onnxruntime as ort

        settings = _settings(threads)
        # Already optimised for this CPU; doing it again would only cost start time.
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(artifact / _FILE), settings, providers=["CPUExecutionProvider"])
        return _Session(session, [output.name for output in model.outputs])


def quantised(model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> tuple[Path, dict[str, Any]]:
    """The ONNX file in the precision asked for, in `out` unless it is the model's own, and how it was made."""
    if options.precision not in (INT8, INT8_DYNAMIC):
        return folder / "model.onnx", {}
    from compilers import quantise

    made = out / "quantised.onnx"
    # Without a dot product of bytes, sums of two products are kept in 16 bits, and full-range weights overflow them.
    narrow = "int8" not in resolve(options.target, options.target_options).precisions
    details: dict[str, Any] = {"weight_bits": 7 if narrow else 8}
    try:
        if options.precision == INT8:
            payloads, details["calibration"] = calibration.payloads(folder, model)
            quantise.static(folder / "model.onnx", made, payloads, reduce_range=narrow)
        else:
            quantise.dynamic(folder / "model.onnx", made, reduce_range=narrow)
    except Exception as error:
        raise CannotCompile(f"ONNX Runtime cannot quantise the model: {type(error).__name__}: {error}") from error
    return made, details


def _settings(threads: int) -> Any:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 3
    # A pool that spins between requests would take the CPU from the server's own threads and from its neighbours.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return settings
