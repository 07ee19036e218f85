"""ONNX Runtime on the CPU: the graph optimised at compile time, loaded as it is afterwards."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers import calibration, canonical, flops
from compilers.interface import CannotCompile, Layer, only_on_host
from compilers.precision import FP32, INT8, INT8_DYNAMIC
from compilers.targets import resolve
from harness.nouns import CompileOptions, ModelSpec

PRECISIONS = (FP32, INT8, INT8_DYNAMIC)
_FILE = "model.onnx"
_PROFILED = 5
_CPU = "CPUExecutionProvider"


class OrtSession:
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
    reads_onnx = True

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
        canonical.rewrite(out / _FILE)
        if source.parent == out:
            source.unlink()
        return {"graph_optimisation": "all", "provider": "CPUExecutionProvider", **details}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> OrtSession:
        import onnxruntime as ort

        settings = _settings(threads)
        # Already optimised for this CPU; doing it again would only cost start time.
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(str(artifact / _FILE), settings, providers=["CPUExecutionProvider"])
        return OrtSession(session, [output.name for output in model.outputs])

    def profile(self, artifact: Path, model: ModelSpec, threads: int, payload: Mapping[str, np.ndarray]) -> list[Layer]:
        """Every node of the optimised graph, by ONNX Runtime's own profiler: the fastest of some runs."""
        import onnxruntime as ort

        settings = _settings(threads)
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.enable_profiling = True
        with tempfile.TemporaryDirectory() as scratch:
            settings.profile_file_prefix = str(Path(scratch) / "profile")
            session = ort.InferenceSession(str(artifact / _FILE), settings, providers=["CPUExecutionProvider"])
            names = [output.name for output in model.outputs]
            for _ in range(_PROFILED):
                session.run(names, dict(payload))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return layers_of(events)


def layers_of(events: Sequence[Mapping[str, Any]], meant: str = _CPU) -> list[Layer]:
    """One layer per node that ran, from the events of ONNX Runtime's profile; those off the provider `meant` fell back."""
    best: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
            known = best.get(event["name"])
            best[event["name"]] = event if known is None or event["dur"] < known["dur"] else known
    return [_layer(name.removesuffix("_kernel_time"), event, meant) for name, event in best.items()]


def _layer(name: str, event: Mapping[str, Any], meant: str) -> Layer:
    facts = event["args"]
    kind = str(facts["op_name"])
    operation = flops.Operation(
        name=name, kind=kind, inputs=_shapes(facts["input_type_shape"]), outputs=_shapes(facts["output_type_shape"])
    )
    return Layer(
        name=name,
        kind=kind,
        time_ns=int(event["dur"]) * 1000,
        flops=flops.count([operation]).flops or None,
        # A graph with an operator that no provider has is refused whole.
        fallen_back=facts.get("provider", meant) != meant,
    )


def _shapes(entries: Sequence[Mapping[str, Sequence[int]]]) -> list[tuple[int, ...]]:
    return [tuple(shape) for entry in entries for shape in entry.values()]


def load_model(path: Path, model: ModelSpec, threads: int) -> OrtSession:
    """The ONNX file at `path` as ONNX Runtime runs it when nothing is prepared: optimised while it is loaded."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), _settings(threads), providers=["CPUExecutionProvider"])
    return OrtSession(session, [output.name for output in model.outputs])


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
