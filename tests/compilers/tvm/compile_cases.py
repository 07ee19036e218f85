"""Compiles the cases with TVM and compares them with ONNX Runtime: `python -m tests.compilers.tvm.compile_cases` prints JSON.

A process of its own, as in the product: TVM and torch do not share one well.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import tvm

from compilers.targets import Target, resolve, tvm_target
from compilers.tvm import frontend, pipeline
from tests.compilers.tvm.cases import CASES, Graph


def imported(graph: Graph, folder: Path) -> Any:
    path = folder / "case.onnx"
    onnx.save(graph.model(), path)
    return frontend.load(path, {"x": tuple(graph.shape)})


def outcome(graph: Graph, target: Target, folder: Path) -> dict[str, Any]:
    code = tvm.target.Target(tvm_target(target))
    made = pipeline.compile_module(imported(graph, folder), target, code, winograd=4)
    data = np.random.default_rng(3).standard_normal(graph.shape).astype("f")
    session = ort.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": data})
    result = tvm.relax.VirtualMachine(made.executable, tvm.cpu())["main"](tvm.runtime.tensor(data))
    got = (result if hasattr(result, "numpy") else result[0]).numpy()
    return {
        "rules": sorted({kernel.rule for kernel in made.kernels}),
        "reasons": [kernel.reason for kernel in made.kernels if kernel.reason],
        "flops": sum(kernel.flops or 0 for kernel in made.kernels),
        "shapes": [list(got.shape), list(want.shape)],
        "error": float(np.abs(got - want).max() / np.abs(want).max()),
        "finite": bool(np.isfinite(got).all()),
    }


def assembly(name: str, target: Target, folder: Path) -> str:
    """The code of a case's kernels, whether or not this machine can run them."""
    code = tvm.target.Target(tvm_target(target))
    module, _ = pipeline.lower(imported(CASES[name][0](), folder), target, code, winograd=4)
    kernels = [function for _, function in module.functions_items() if isinstance(function, tvm.tirx.PrimFunc)]
    texts = []
    for number, kernel in enumerate(kernels):
        executable = tvm.compile(kernel.with_attr("global_symbol", f"kernel{number}"), target=code)
        texts.append(str(executable.mod.inspect_source("asm")))
    return "\n".join(texts)


def main() -> int:
    host = resolve("host", "")
    # What AVX2 would choose runs on AVX-512 too; the other way round it is only compiled.
    narrow = replace(host, lanes=min(8, host.lanes), vector_registers=min(16, host.vector_registers))
    answer: dict[str, Any] = {"cases": {}, "assembly": {}}
    with TemporaryDirectory() as folder:
        for name, (build, _) in CASES.items():
            try:
                answer["cases"][name] = outcome(build(), narrow, Path(folder))
            except Exception as error:  # noqa: BLE001 - the test shows it, and the other cases still run
                answer["cases"][name] = {"crashed": f"{type(error).__name__}: {pipeline.first_line(error)}"}
        for target in ("haswell", "skylake-avx512", "rasp4b"):
            answer["assembly"][target] = assembly("1x1, long", resolve(target, ""), Path(folder))
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    os.environ["TVM_NUM_THREADS"] = "2"
    sys.exit(main())
