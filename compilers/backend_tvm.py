"""Apache TVM: ONNX through Relax to native code, with one generic schedule instead of a search."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compilers.interface import CannotCompile, only_fp32_on_host
from compilers.tvm_schedule import schedule_function
from harness.nouns import CompileOptions, ModelSpec

_FILE = "model.so"


class _Session:
    def __init__(self, machine: Any, model: ModelSpec, threads: int) -> None:
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

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return only_fp32_on_host(options)

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        _use_threads(options.threads)
        import tvm

        target, lanes = _host_target()
        module = _import(folder / "model.onnx", model)
        try:
            executable, scheduled, unscheduled = _compile(module, target, lanes)
            executable.export_library(str(out / _FILE))
        except Exception as error:
            raise CannotCompile(f"TVM cannot compile the model: {_first_line(error)}") from error
        details = {"target": str(target), "tvm": tvm.__version__, "kernels_scheduled": scheduled}
        # Each of these runs as plain serial loops; one of the large ones can decide the model's speed.
        return {**details, "kernels_unscheduled": unscheduled}

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> _Session:
        _use_threads(threads)
        # tvm imports torch wherever it is installed, to exchange tensors; a server that never does would pay 2 s for it.
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
        import tvm

        library = tvm.runtime.load_module(str(artifact / _FILE))
        return _Session(tvm.relax.VirtualMachine(library, tvm.cpu()), model, threads)


def _use_threads(threads: int) -> None:
    """TVM reads these when its pool starts. Binding would fight with the pinning of the process."""
    os.environ["TVM_NUM_THREADS"] = str(threads)
    os.environ["TVM_BIND_THREADS"] = "0"


def _host_target() -> tuple[Any, int]:
    """The LLVM target of this machine and how many fp32 values its vectors hold."""
    import tvm
    from tvm.target import codegen

    target = tvm.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "num-cores": 1})
    return target, max(4, int(codegen.llvm_get_vector_width(target)) // 32)


def _import(path: Path, model: ModelSpec) -> Any:
    import onnx
    from tvm.relax.frontend.onnx import from_onnx

    shapes = {spec.name: list(spec.shape) for spec in model.inputs}
    try:
        return from_onnx(onnx.load(path), shape_dict=shapes, keep_params_in_input=False)
    except Exception as error:
        raise CannotCompile(f"TVM cannot import the model: {_first_line(error)}") from error


def _compile(module: Any, target: Any, lanes: int) -> tuple[Any, int, list[str]]:
    """The executable, how many kernels the schedule took, and the names of those it did not."""
    import tvm
    from tvm import relax
    from tvm.relax.backend.cpu_generic import pipeline

    sequential = tvm.transform.Sequential
    lower = [
        *pipeline.library_dispatch_passes(target),
        *pipeline.legalize_passes(target),
        relax.transform.DeadCodeElimination(),
    ]
    finish = [*pipeline.dataflow_lower_passes(target), *pipeline.finalize_passes(target)]
    with target, tvm.transform.PassContext(opt_level=3):
        module = sequential(lower)(module)
        module, scheduled, unscheduled = _schedule(module, lanes)
        module = sequential(finish)(module)
        return relax.build(module, target, relax_pipeline=None), scheduled, unscheduled


def _schedule(module: Any, lanes: int) -> tuple[Any, int, list[str]]:
    from tvm import s_tir, tirx

    scheduled, unscheduled = 0, []
    for variable, function in list(module.functions_items()):
        if not isinstance(function, tirx.PrimFunc) or function.attrs.get("tirx.is_scheduled"):
            continue
        schedule = s_tir.Schedule(function)
        try:
            schedule_function(schedule, lanes)
        except Exception:  # noqa: BLE001 - a primitive that does not apply leaves the kernel as it was, slow but right
            unscheduled.append(str(variable.name_hint))
            continue
        module.update_func(variable, schedule.mod["main"])
        scheduled += 1
    return module, scheduled, unscheduled


def _first_line(error: Exception) -> str:
    """TVM puts its trace first and the message last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]
