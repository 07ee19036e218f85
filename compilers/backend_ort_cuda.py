"""ONNX Runtime on an NVIDIA GPU: its CUDA provider, what that does not take on the CPU; fp32 without TensorFloat, or fp16."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compilers import cuda
from compilers.backend_ort import OrtSession, layers_of
from compilers.interface import CannotCompile, Layer, Unavailable, only_on_host
from compilers.onnx_checks import first_line
from compilers.precision import FP16, FP32
from harness.nouns import CompileOptions, ModelSpec

PRECISIONS = (FP32, FP16)
_FILE = "model.onnx"
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_PROFILED = 5


class OnnxRuntimeCuda:
    name = "ort-cuda"
    packages = ("onnxruntime-gpu",)
    extra = ""
    computes = True
    threads_matter = False
    reads_onnx = True

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        other = only_on_host(options, PRECISIONS)
        return other or cuda.reasons(cuda.why_no_gpu(), cuda.why_no_onnxruntime(cuda.installed))

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        if options.precision == FP16:
            _to_fp16(folder / _FILE, out / _FILE)
        else:
            shutil.copyfile(folder / _FILE, out / _FILE)
        _session(out / _FILE, options.threads)
        # The graph is optimised when it is loaded: what the CUDA provider fuses cannot be saved.
        return {"provider": _CUDA, "tensor_float": False}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> OrtSession:
        return OrtSession(_session(artifact / _FILE, threads), [output.name for output in model.outputs])

    def profile(self, artifact: Path, model: ModelSpec, threads: int, payload: Mapping[str, np.ndarray]) -> list[Layer]:
        """Every node by ONNX Runtime's profiler; those on the CPU fell back."""
        with tempfile.TemporaryDirectory() as scratch:
            session = _session(artifact / _FILE, threads, profile=Path(scratch) / "profile")
            for _ in range(_PROFILED):
                session.run([output.name for output in model.outputs], dict(payload))
            return layers_of(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")), meant=_CUDA)


def _to_fp16(model: Path, out: Path) -> None:
    """Weights and arithmetic in 16 bits, inputs and outputs as they were; raises CannotCompile."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    try:
        onnx.save(convert_float_to_float16(onnx.load(model), keep_io_types=True), out)
    except Exception as error:
        raise CannotCompile(f"ONNX Runtime cannot convert the model to fp16: {first_line(error)}") from error


def _session(path: Path, threads: int, *, profile: Path | None = None) -> Any:
    """A session that really has the GPU: ONNX Runtime would otherwise go on on the CPU with no more than a warning."""
    import onnxruntime as ort

    if _CUDA not in ort.get_available_providers():
        raise Unavailable(f"this onnxruntime {ort.__version__} has no {_CUDA}: pip install onnxruntime-gpu alone")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    if profile is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = str(profile)
    try:
        session = ort.InferenceSession(str(path), settings, providers=[(_CUDA, {"use_tf32": "0"}), _CPU])
    except Exception as error:
        raise CannotCompile(f"ONNX Runtime cannot run the model on CUDA: {first_line(error)}") from error
    if session.get_providers()[0] != _CUDA:
        raise Unavailable(
            f"{_CUDA} does not start here (CUDA or cuDNN libraries missing, or the driver is older than they are)"
        )
    return session
