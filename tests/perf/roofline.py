"""What bounds each kernel of a compiled model: `python -m tests.perf.roofline resnet50 [--threads 1]`.

Every kernel's rate stands beside two limits of this machine, measured in the same minute: the core's peak of fused
multiply-adds, and how fast one core reads memory that is in no cache. A kernel that reads each of its operands once from
memory and computes at the peak takes the longer of the two times; its share of the measured time says how near it is.
Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

RUNS = 25
_READ_BYTES, _PIECE_BYTES = 512 << 20, 4 << 20
_WINOGRAD = {"winograd2": 16 / 36, "winograd4": 36 / 144}
"""The share of a direct convolution's multiplications that are left; the transforms are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kernel in one inference: all its calls together."""

    name: str
    rule: str
    calls: int
    time_us: float
    flops: int | None
    """By the definition: of a Winograd kernel more than it computes."""
    weight_bytes: int
    """Constants, which every inference reads from memory when the model is larger than the caches."""

    def bound_us(self, gflop_per_s: float, read_gb_per_s: float) -> tuple[float, str]:
        """The least time at those limits, and which one it is."""
        left = next((share for kind, share in _WINOGRAD.items() if kind in self.name), 1.0)
        compute, memory = left * (self.flops or 0) / gflop_per_s / 1e3, self.weight_bytes / read_gb_per_s / 1e3
        return (compute, "arithmetic") if compute >= memory else (memory, "weights from memory")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--winograd", type=int, default=4)
    parser.add_argument("--top", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if not arguments.child:
        cpus = sorted(os.sched_getaffinity(0))[: arguments.threads]
        environment = os.environ | {
            "TVM_NUM_THREADS": str(arguments.threads),
            "TVM_BIND_THREADS": "0",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = ["taskset", "-c", ",".join(map(str, cpus)), sys.executable, "-m", "tests.perf.roofline", "--child", *argv]
        return subprocess.run(command, check=False, env=environment).returncode
    limits = measured_limits(arguments.threads)
    found = {model: kernel_rows(model, arguments.winograd) for model in arguments.models}
    for model, rows in found.items():
        print(render(model, rows, limits, arguments.top))
    if arguments.json:
        value = {"limits": limits, "models": {model: [asdict(row) for row in rows] for model, rows in found.items()}}
        arguments.json.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return 0


def measured_limits(threads: int) -> dict[str, float]:
    """GFLOP/s and GB/s read from memory; both per core, and the former times the number of threads."""
    from compilers.peak import measure

    core = measure()
    if core.gflop_per_s is None:
        raise SystemExit(f"no roofline without the core's peak: {core.reason}")
    values = np.ones(_READ_BYTES // 4, dtype="float32")
    spent = []
    for piece in np.split(values, _READ_BYTES // _PIECE_BYTES):
        begun_s = time.perf_counter()
        np.dot(piece, piece)
        spent.append(time.perf_counter() - begun_s)
    # Each piece is cold; the lower quartile is of those that nothing disturbed.
    quarter_s = sorted(spent)[len(spent) // 4]
    return {"gflop_per_s": core.gflop_per_s * threads, "read_gb_per_s": _PIECE_BYTES / quarter_s / 1e9}


def kernel_rows(model: str, winograd: int) -> list[Row]:
    """The kernels of `model`, the slowest first; each call's time is the least of some inferences."""
    import tvm

    from compilers import spec_io
    from compilers.targets import resolve, tvm_target
    from compilers.tvm import frontend, pipeline
    from tests.perf.compile_speed import _prepared

    folder, target = _prepared(model), resolve("host")
    spec, payload = spec_io.read_spec(folder), spec_io.read_payloads(folder)[0]
    module = frontend.load(folder / "model.onnx", {item.name: item.shape for item in spec.inputs})
    code = tvm.target.Target(tvm_target(target))
    lowered, _ = pipeline.lower(module, target, code, winograd=winograd)
    weights = weights_read(lowered)
    compiled = pipeline.compile_module(module, target, code, winograd=winograd)
    machine = tvm.relax.VirtualMachine(compiled.executable, tvm.cpu())
    kernels = {kernel.name: kernel for kernel in compiled.kernels}
    inputs = [tvm.runtime.tensor(payload[item.name]) for item in spec.inputs]
    times = _timed(machine, inputs, frozenset(kernels))
    rows = []
    for name, spent in times.items():
        calls = len(spent) // RUNS
        least_us = float(np.array(spent).reshape(RUNS, calls).min(axis=0).sum()) / 1e3
        kernel = kernels[name]
        flops = None if kernel.flops is None else kernel.flops * calls
        rows.append(
            Row(
                name=name,
                rule=kernel.rule,
                calls=calls,
                time_us=least_us,
                flops=flops,
                weight_bytes=weights.get(name, 0),
            )
        )
    return sorted(rows, key=lambda row: -row.time_us)


def _timed(machine: Any, inputs: Sequence[Any], names: frozenset[str]) -> dict[str, list[int]]:
    """Nanoseconds of every call of every kernel, in order."""
    spent: dict[str, list[int]] = defaultdict(list)
    entered_ns = 0

    def observe(_function: Any, name: str, before: bool, _result: Any, *_arguments: Any) -> None:
        nonlocal entered_ns
        if before:
            entered_ns = time.perf_counter_ns()
        elif name in names:
            spent[name].append(time.perf_counter_ns() - entered_ns)

    machine["main"](*inputs)
    machine.set_instrument(observe)
    for _ in range(RUNS):
        machine["main"](*inputs)
    return spent


def weights_read(module: Any) -> dict[str, int]:
    """The bytes of the constants that each kernel reads in one inference, over all its calls."""
    import tvm

    found: dict[str, int] = defaultdict(int)
    for _, function in module.functions_items():
        if not isinstance(function, tvm.relax.Function):
            continue
        for block in function.body.blocks:
            for binding in block.bindings:
                call = binding.value
                if getattr(getattr(call, "op", None), "name", "") != "relax.call_tir":
                    continue
                operands = getattr(call.args[1], "fields", [call.args[1]])
                constants = [each for each in operands if isinstance(each, tvm.ir.GenericConst)]
                found[str(call.args[0].name_hint)] += sum(each.value.numpy().nbytes for each in constants)
    return dict(found)


def render(model: str, rows: Sequence[Row], limits: Mapping[str, float], top: int) -> str:
    total = sum(row.time_us for row in rows)
    head = f"{model}: {total / 1e3:.2f} ms in {len(rows)} kernels; peak {limits['gflop_per_s']:.0f} GFLOP/s"
    lines = [
        f"{head}, memory {limits['read_gb_per_s']:.1f} GB/s read by one core",
        "",
        "| kernel | rule | calls | ms | share | GFLOP/s | of the peak | weights, GB/s | at least, ms | bound by |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows[:top]:
        rate = row.flops / row.time_us / 1e3 if row.flops else None
        least_us, why = row.bound_us(limits["gflop_per_s"], limits["read_gb_per_s"])
        lines.append(
            f"| {row.name} | {row.rule} | {row.calls} | {row.time_us / 1e3:.3f} | {row.time_us / total:.1%} | "
            + (f"{rate:.0f} | {rate / limits['gflop_per_s']:.0%}" if rate else "– | –")
            + f" | {row.weight_bytes / row.time_us / 1e3:.1f} | {least_us / 1e3:.3f} | {why} |"
        )
    least = sum(row.bound_us(limits["gflop_per_s"], limits["read_gb_per_s"])[0] for row in rows)
    lines += ["", f"At those limits all of it would take {least / 1e3:.2f} ms, {least / total:.0%} of what it takes."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
