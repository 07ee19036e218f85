"""Eager torch: the exported program as it is, the usual way to serve when nothing is compiled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.interface import CannotCompile, needs_program, not_native, only_on_host
from compilers.precision import BF16, FP16, FP32
from harness.nouns import CompileOptions, ModelSpec

PRECISIONS = (FP32, BF16)
_FILE = "model.pt2"


class TorchSession:
    """Calls a function of positional tensors, in the order of the model's inputs."""

    def __init__(self, call: Callable[..., Any], model: ModelSpec, *, keeps_gil: bool = False) -> None:
        self._call = call
        self.keeps_gil = keeps_gil
        self._names = [spec.name for spec in model.inputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        import torch

        with torch.inference_mode():
            result = self._call(*(torch.from_numpy(_writable(inputs[name])) for name in self._names))
        leaves = result if isinstance(result, (tuple, list)) else (result,)
        return [np.asarray(leaf.numpy(), order="C") for leaf in leaves]


def _writable(array: np.ndarray) -> np.ndarray:
    """torch shares memory with numpy and has no read-only tensors; request buffers are read-only, so they are copied."""
    return array if array.flags.writeable and array.flags.c_contiguous else np.array(array, order="C")


def load_program(path: Path) -> Any:
    """An exported program of our own writing; torch may unpickle nothing but tensors from it."""
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    import torch

    return torch.export.load(path)


def program_in(precision: str, folder: Path, model: ModelSpec) -> Any:
    """The prepared model's program, computing in `precision` between inputs and outputs of the model's own types."""
    program = load_program(folder / _FILE)
    if precision == FP32:
        return program
    import torch

    narrow = {BF16: torch.bfloat16, FP16: torch.float16}[precision]

    class Cast(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = program.module(check_guards=False).to(narrow)

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            cast = [each.to(narrow) if each.is_floating_point() else each for each in tensors]
            result = self.inner(*cast)
            leaves = result if isinstance(result, (tuple, list)) else (result,)
            return tuple(each.float() if each.is_floating_point() else each for each in leaves)

    example = tuple(torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in model.inputs)
    try:
        with torch.no_grad():
            return torch.export.export(Cast(), example, strict=False)
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise CannotCompile(f"torch cannot express the program in {precision}: {type(error).__name__}: {reason}") from error


def use_threads(threads: int) -> None:
    """Confine torch to `threads` threads; there is no other torch in this process."""
    import torch

    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)


class EagerTorch:
    name = "torch"
    packages = ("torch",)
    extra = "torch"
    computes = True
    threads_matter = False
    reads_onnx = False

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return needs_program(model) or only_on_host(options, PRECISIONS) or not_native(options, BF16)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        if options.precision == FP32:
            shutil.copyfile(folder / _FILE, out / _FILE)
        else:
            import torch

            torch.export.save(program_in(options.precision, folder, model), out / _FILE)
        return {"mode": "eager"}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> TorchSession:
        use_threads(threads)
        # The exported module runs node by node in Python, as eager torch does, without the guards on its inputs.
        return TorchSession(load_program(artifact / _FILE).module(check_guards=False), model)
