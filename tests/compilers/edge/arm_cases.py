"""Compiles the rules' cases for an ARM board, runs them under QEMU, and prints how far they are from ONNX Runtime, as JSON:
`python -m tests.compilers.edge.arm_cases rasp4b NAME…` (all cases when none is named).

A process of its own: TVM and torch do not share one well.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import tvm

from compilers.edge import bundle, emit, graph
from compilers.edge.plan import arrange
from compilers.edge.toolchain import Runner, Toolchain, runner, toolchain
from compilers.targets import Target, resolve, tvm_target
from compilers.tvm import frontend, pipeline
from harness.nouns import TensorSpec
from tests.compilers.tvm.cases import CASES, Graph

RUNTIME = Path(bundle.__file__).parent / "runtime"


def outcome(case: Graph, target: Target, tools: Toolchain, emulator: Runner, folder: Path) -> dict[str, Any]:
    """One case: its kernels linked with the runtime (compiled beside them once), run by the bundle's runner."""
    onnx.save(case.model(), folder / "case.onnx")
    module = frontend.load(folder / "case.onnx", {"x": tuple(case.shape)})
    code = tvm.target.Target(tvm_target(target))
    module, made = pipeline.lower(module, target, code, winograd=4)
    module = tvm.relax.transform.RewriteDataflowReshape()(module)
    plan = arrange(graph.read(module))
    tvm.tirx.build(graph.kernels(module), target=code).write_to_file(str(folder / "kernels.o"), "o")
    data = np.random.default_rng(3).standard_normal(case.shape).astype("f")
    (want,) = ort.InferenceSession(case.model().SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": data})
    ports = (TensorSpec(name="x", dtype="float32", shape=data.shape), TensorSpec(name="y", dtype="float32", shape=want.shape))
    (folder / "weights.bin").write_bytes(emit.weights(plan))
    (folder / "model.cpp").write_text(emit.model(plan, "case", ports[:1], ports[1:], 1e-3, "weights.bin"), encoding="utf-8")
    tools.compile(folder / "model.cpp", folder / "model.o")
    objects = [folder / name for name in ("model.o", "runtime.o", "kernels.o")]
    tools.link_library(objects, folder / "libmodel.so", folder / "exports.map")
    command = [*emulator.prefix, str(folder / "run"), "--no-verify", "--threads", "2", "--stream"]
    done = subprocess.run(command, input=data.tobytes(), capture_output=True, check=False, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"the runner ended with {done.returncode}: {done.stderr.decode()}")
    got = np.frombuffer(done.stdout, "f").reshape(want.shape)
    return {
        "rules": sorted({kernel.rule for kernel in made}),
        "error": float(np.abs(got - want).max() / np.abs(want).max()),
        "finite": bool(np.isfinite(got).all()),
    }


def main(argv: list[str]) -> int:
    target = resolve(argv[1])
    emulator = runner(target)
    assert isinstance(emulator, Runner), emulator
    tools = toolchain(target)
    answer: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        for source in RUNTIME.glob("*.[ch]*"):
            shutil.copy(source, folder)
        (folder / "exports.map").write_text("{ global: loadstone_*; local: *; };\n", encoding="utf-8")
        tools.compile(folder / "runtime.cpp", folder / "runtime.o")
        tools.link_program(folder / "run.cpp", folder / "run")
        for case in argv[2:] or CASES:
            try:
                answer[case] = outcome(CASES[case][0](), replace(target, num_cores=None), tools, emulator, folder)
            except Exception as error:  # noqa: BLE001 - the test shows it, and the other cases still run
                answer[case] = {"crashed": f"{type(error).__name__}: {error}"[-500:]}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
