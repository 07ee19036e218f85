"""Asks the installed TVM about the target table and prints the answers as JSON: `python -m tests.compilers.tvm_targets`.

In a process of its own, as in the product: TVM and torch do not share one.
"""

from __future__ import annotations

import json
import re
import sys
from random import Random
from typing import Any

from compilers.targets import Target, isa, llvm_names, resolve, tvm_target
from compilers.targets.table import rows

_REGISTERS = {
    "x86_64": {16: r"zmm\d", 8: r"ymm\d", 4: r"xmm\d"},
    "x86": {16: r"zmm\d", 8: r"ymm\d", 4: r"xmm\d"},
    "arm64": {4: r"v\d+\.4s"},
    "armv7": {4: r"\bq\d"},
}


def main() -> int:
    answers: dict[str, Any] = {"snapshot": llvm_names.collect(), "rows": {}}
    from tvm.target import codegen

    answers["host_cpu"] = codegen.llvm_get_system_cpu()
    answers["attributes"] = _attributes(200)
    built: dict[str, Any] = {}
    for target in (resolve("host"), *(row.target for row in rows().values())):
        if target.builder != "tvm":
            continue
        described = json.dumps(tvm_target(target), sort_keys=True)
        if described not in built:
            print(f"# {target.name} {described}", file=sys.stderr, flush=True)
            built[described] = _build(target)
        answers["rows"][target.name] = built[described]
    print(json.dumps(answers))
    return 0


def _attributes(draws: int) -> list[str]:
    """Where our features of a CPU with attributes differ from LLVM's, over random CPUs and attributes."""
    from tvm.target import Target as TvmTarget
    from tvm.target import codegen

    random, wrong = Random(7), []
    for _ in range(draws):
        arch = random.choice(list(llvm_names.TRIPLES))
        mcpu, names = random.choice(isa.cpu_names(arch)), sorted(isa.feature_names(arch))
        mattr = [random.choice("+-") + random.choice(random.choice([names, isa.TELLING[arch]])) for _ in range(3)]
        described = {"kind": "llvm", "mtriple": llvm_names.TRIPLES[arch], "mcpu": mcpu, "mattr": mattr}
        told = set(codegen.llvm_get_cpu_features(TvmTarget(described))) & set(isa.TELLING[arch])
        ours = isa.with_attributes(arch, isa.cpu_features(arch, mcpu), mattr)
        if told != ours:
            wrong.append(f"{arch} {mcpu} {mattr}: LLVM {sorted(told)}, ours {sorted(ours)}")
    return wrong


def _build(target: Target) -> dict[str, Any]:
    """y = a * b + y over vectors of the target's lanes, or over threads of its GPU, as far as code without a linker goes."""
    import tvm
    from tvm import s_tir, te

    accepted = tvm.target.Target(tvm_target(target))
    width = target.lanes if target.gpu is None else 32
    a, b, y = (te.placeholder((64 * width,), name=name) for name in ("a", "b", "y"))
    function = te.create_prim_func([a, b, y, te.compute(a.shape, lambda i: a[i] * b[i] + y[i], name="fma")])
    schedule = s_tir.Schedule(function)
    (loop,) = schedule.get_loops(schedule.get_sblock("fma"))
    outer, inner = schedule.split(loop, [None, width])
    if target.gpu is not None:
        schedule.bind(outer, "blockIdx.x")
        schedule.bind(inner, "threadIdx.x")
    elif width > 1:
        schedule.vectorize(inner)
    module = tvm.compile(schedule.mod, target=accepted).mod
    if target.gpu is not None:
        (device,) = module.imports
        return {"kernel": device.kind == "cuda" and "__global__" in device.inspect_source()}
    assembly = module.inspect_source("asm")
    name = _REGISTERS[target.arch].get(target.lanes)
    return {
        "vectors": name is not None and re.search(name, assembly) is not None,
        "wider": [
            lanes for lanes, other in _REGISTERS[target.arch].items() if lanes > target.lanes and re.search(other, assembly)
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
