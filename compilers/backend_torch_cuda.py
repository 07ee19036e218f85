"""Eager torch on an NVIDIA GPU: the exported program moved to it; fp32 without TensorFloat, bf16 or fp16."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers import cuda
from compilers.backend_torch import load_program, program_in, use_threads
from compilers.interface import Unavailable, needs_program, only_on_host
from compilers.precision import BF16, FP16, FP32
from harness.nouns import CompileOptions, ModelSpec

PRECISIONS = (FP32, BF16, FP16)
_FILE = "model.pt2"
_DEVICE = "cuda"


class _Session:
    def __init__(self, call: Any, model: ModelSpec) -> None:
        self._call = call
        self._names = [spec.name for spec in model.inputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        import torch

        with torch.inference_mode():
            result = self._call(*(torch.tensor(inputs[name], device=_DEVICE) for name in self._names))
        leaves = result if isinstance(result, (tuple, list)) else (result,)
        return [np.asarray(leaf.cpu().numpy(), order="C") for leaf in leaves]  # waits for the GPU


class TorchCuda:
    name = "torch-cuda"
    packages = ("torch",)
    extra = "torch"
    computes = True
    threads_matter = False
    reads_onnx = False

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        other = needs_program(model) or only_on_host(options, PRECISIONS)
        return other or cuda.reasons(cuda.why_no_gpu(), cuda.why_no_torch(cuda.installed))

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        device = _gpu()
        if options.precision == FP32:
            shutil.copyfile(folder / _FILE, out / _FILE)
        else:
            import torch

            torch.export.save(program_in(options.precision, folder, model), out / _FILE)
        return {"mode": "eager", "device": device, "tensor_float": False}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        from torch.export.passes import move_to_device_pass

        use_threads(threads)
        _gpu()
        moved = move_to_device_pass(load_program(artifact / _FILE), _DEVICE)
        return _Session(moved.module(check_guards=False), model)


def _gpu() -> str:
    """The GPU's name, fp32 set to mean fp32; raises Unavailable."""
    import torch

    if not torch.cuda.is_available():
        raise Unavailable(f"torch {torch.__version__} finds no GPU that it can use (torch.cuda.is_available() is false)")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return str(torch.cuda.get_device_name(0))
