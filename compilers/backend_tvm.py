"""Apache TVM: ONNX through Relax to native code by the deterministic compile pass of `compilers.tvm`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.interface import CannotCompile, must_run_here, other_precision
from compilers.spec_io import read_payloads
from compilers.targets import resolve, tvm_target
from harness.nouns import CompileOptions, ModelSpec, Tolerance

_FILE = "model.so"


class _Session:
    def __init__(self, machine: Any, model: ModelSpec) -> None:
        import tvm

        self._main = machine["main"]
        self._tensor = tvm.runtime.tensor
        self._names = [spec.name for spec in model.inputs]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        result = self._main(*(self._tensor(np.asarray(inputs[name], order="C")) for name in self._names))
        outputs = [result] if hasattr(result, "numpy") else list(result)
        return [np.asarray(output.numpy(), order="C") for output in outputs]


class Tvm:
    name = "tvm"
    packages = ("apache-tvm", "apache-tvm-ffi")
    extra = "tvm"
    computes = True
    threads_matter = False
    reads_onnx = True

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return other_precision(options, ("fp32",)) or must_run_here(options)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        _use_threads(options.threads)
        import tvm

        from compilers.tvm import frontend, pipeline, report

        resolved = resolve(options.target, options.target_options)
        target = tvm.target.Target(tvm_target(resolved))
        try:
            module = frontend.load(folder / "model.onnx", {spec.name: spec.shape for spec in model.inputs})
        except Exception as error:
            raise CannotCompile(f"TVM cannot import the model: {pipeline.first_line(error)}") from error
        winograd = winograd_allowed(model.tolerance)
        try:
            compiled = pipeline.compile_module(module, resolved, target, winograd=winograd)
            compiled.executable.export_library(str(out / _FILE))
        except Exception as error:
            raise CannotCompile(f"TVM cannot compile the model: {pipeline.first_line(error)}") from error
        machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(out / _FILE)), tvm.cpu())
        payload = read_payloads(folder)[0]
        inputs = [tvm.runtime.tensor(np.asarray(payload[spec.name], order="C")) for spec in model.inputs]
        names = frozenset(kernel.name for kernel in compiled.kernels)
        done = report.summary(compiled.kernels, report.measure(machine, inputs, names))
        return {"target": str(target), "tvm": tvm.__version__, "winograd": winograd, **done}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        _use_threads(threads)
        # tvm imports torch wherever it is installed, to exchange tensors; a server that never does would pay 2 s for it.
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
        import tvm

        library = tvm.runtime.load_module(str(artifact / _FILE))
        return _Session(tvm.relax.VirtualMachine(library, tvm.cpu()), model)


def winograd_allowed(tolerance: Tolerance) -> int:
    """The largest Winograd tile whose rounding the model's parity bar leaves room for: 4, 2 or 0 for none.

    F(4,3) adds up to about 1e-5 relative error per layer and F(2,3) about 1e-6, as a direct convolution does; the bar
    is on the end result, so ten times that has to fit.
    """
    if tolerance.max_rel >= 1e-4:
        return 4
    return 2 if tolerance.max_rel >= 1e-5 else 0


def _use_threads(threads: int) -> None:
    """TVM reads these when its pool starts. Binding would fight with the pinning of the process."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    os.environ["TVM_BIND_THREADS"] = "0"
