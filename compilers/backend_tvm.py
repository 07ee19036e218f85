"""Apache TVM: ONNX through Relax to native code by the deterministic compile pass of `compilers.tvm`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from compilers.interface import CannotCompile, must_run_here, other_precision
from compilers.spec_io import read_payloads
from compilers.targets import resolve, tvm_target
from harness.errors import UsageError
from harness.nouns import CompileOptions, ModelSpec, Tolerance

_FILE = "model.so"


class _Machine:
    """One compiled module: arrays in by name, arrays out."""

    def __init__(self, library: Path, names: Sequence[str]) -> None:
        import tvm

        self.machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
        self._main = self.machine["main"]
        self._tensor = tvm.runtime.tensor
        self._names = names

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        result = self._main(*(self._tensor(np.asarray(inputs[name], order="C")) for name in self._names))
        outputs = [result] if hasattr(result, "numpy") else list(result)
        return [np.asarray(output.numpy(), order="C") for output in outputs]


class _Session:
    """A model, and where it has a batch axis the other batch sizes that it was compiled for."""

    def __init__(self, artifact: Path, model: ModelSpec) -> None:
        from compilers.tvm import variants

        names = [spec.name for spec in model.inputs]
        self._whole = _Machine(artifact / _FILE, names)
        self._runs: dict[int, variants.Run] | None = None
        if model.batch_axis == 0:
            others = {size: _Machine(artifact / variants.file_of(size), names) for size in variants.sizes_in(artifact)}
            self._runs = {1: self._whole, **others}
            self._join = variants.joined

    def run(self, inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        return self._whole(inputs) if self._runs is None else self._join(self._runs, inputs)


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

        from compilers.tvm import pipeline, report, tune

        resolved = resolve(options.target, options.target_options)
        target = tvm.target.Target(tvm_target(resolved))
        winograd = winograd_allowed(model.tolerance)
        module = _imported(folder / "model.onnx", {spec.name: spec.shape for spec in model.inputs})
        try:
            choose, told = tune.tuned(module, resolved, target, options, winograd=winograd, tvm_version=str(tvm.__version__))
            compile_one = partial(pipeline.compile_module, target=resolved, tvm_target=target, winograd=winograd, choose=choose)
            compiled = compile_one(module)
            compiled.executable.export_library(str(out / _FILE))
            _other_batches(compile_one, model, folder, options.batches, out)
        except CannotCompile:
            raise
        except UsageError as error:  # of the record file, which changed since it was checked
            raise CannotCompile(str(error)) from error
        except Exception as error:
            raise CannotCompile(f"TVM cannot compile the model: {pipeline.first_line(error)}") from error
        machine = _Machine(out / _FILE, ()).machine
        payload = read_payloads(folder)[0]
        inputs = [tvm.runtime.tensor(np.asarray(payload[spec.name], order="C")) for spec in model.inputs]
        names = frozenset(kernel.name for kernel in compiled.kernels)
        done = report.summary(compiled.kernels, report.measure(machine, inputs, names))
        extra = {"search": told} if told is not None else {}
        return {"target": str(target), "tvm": tvm.__version__, "winograd": winograd, **extra, **done}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        _use_threads(threads)
        # tvm imports torch wherever it is installed, to exchange tensors; a server that never does would pay 2 s for it.
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
        return _Session(artifact, model)


def _imported(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    from compilers.tvm import frontend, pipeline

    try:
        return frontend.load(path, shapes)
    except Exception as error:
        raise CannotCompile(f"TVM cannot import the model: {pipeline.first_line(error)}") from error


def _other_batches(compile_one: Callable[[Any], Any], model: ModelSpec, folder: Path, sizes: Sequence[int], out: Path) -> None:
    """A module of its own for each batch size besides 1, checked against the reference of its parts."""
    from compilers.tvm import variants

    for size in sorted({*sizes} - {1}):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "model.onnx"
            shapes = variants.write_onnx(folder, model, size, path)
            module = _imported(path, shapes)
        library = out / variants.file_of(size)
        compile_one(module).executable.export_library(str(library))
        variants.check(_Machine(library, [spec.name for spec in model.inputs]), folder, model, size)


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
