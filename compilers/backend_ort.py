"""ONNX Runtime on the CPU: the graph optimised at compile time, loaded as it is afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.interface import CannotCompile, only_fp32_on_host
from harness.nouns import CompileOptions, ModelSpec

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
        return only_fp32_on_host(options)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        import onnxruntime as ort

        settings = _settings(options.threads)
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        settings.optimized_model_filepath = str(out / _FILE)
        try:
            ort.InferenceSession(str(folder / "model.onnx"), settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CannotCompile(f"ONNX Runtime cannot optimise the model: {error}") from error
        return {"graph_optimisation": "all", "provider": "CPUExecutionProvider"}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        import onnxruntime as ort

        settings = _settings(threads)
        # Already optimised for this CPU; doing it again would only cost start time.
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(artifact / _FILE), settings, providers=["CPUExecutionProvider"])
        return _Session(session, [output.name for output in model.outputs])


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
