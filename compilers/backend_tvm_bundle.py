"""Apache TVM's kernels as a bundle: the CPU artifact that needs neither TVM nor Python where it runs, such as an edge board."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compilers.backend_tvm import winograd_allowed
from compilers.interface import CannotCompile, CannotRun, CheckSession, Session, other_precision
from compilers.spec_io import read_payloads, read_reference
from compilers.targets import Target, resolve, tvm_target
from harness.nouns import CompileOptions, ModelSpec

_CHECKS = 2
"""Payloads that go into the bundle, for whoever gets it to check it with."""


class TvmBundle:
    name = "tvm-bundle"
    packages = ("apache-tvm", "apache-tvm-ffi", "pyelftools")
    extra = "edge"
    computes = True
    threads_matter = False
    reads_onnx = True

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        from compilers.edge.toolchain import why_no_bundle
        from compilers.targets.reach import look

        return other_precision(options, ("fp32",)) or why_no_bundle(resolve(options.target, options.target_options), look())

    def tools(self, options: CompileOptions) -> Mapping[str, str]:
        """What the artifact and its check depend on besides packages: part of its key."""
        from compilers.edge.toolchain import runner, toolchain

        target = resolve(options.target, options.target_options)
        runs = runner(target)
        where = options.rpc or (runs if isinstance(runs, str) else runs.name)
        return {"linker": toolchain(target).version, "checked": where}

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        from compilers.edge import bundle
        from compilers.edge.plan import arrange
        from compilers.edge.toolchain import toolchain

        target = resolve(options.target, options.target_options)
        tools = toolchain(target)
        with tempfile.TemporaryDirectory(prefix="loadstone-bundle-") as work:
            objects = Path(work) / "kernels.o"
            graph, rules = _kernels(model, folder, target, objects)
            plan = arrange(graph)
            inputs, reference = read_payloads(folder)[:_CHECKS], read_reference(folder)
            payloads = [
                bundle.Payload(inputs=[given[spec.name] for spec in model.inputs], outputs=reference[at])
                for at, given in enumerate(inputs)
            ]
            bundle.write(plan, objects, model, target, tools, payloads, Path(work), out)
        return {
            "target": target.name,
            "form": "bundle",
            "linked_with": tools.version,
            "arena_bytes": plan.arena_bytes,
            "weights_bytes": plan.weights_bytes,
            "rules": rules,
        }

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> Session:
        from compilers.edge.session import Loaded, target_of
        from compilers.edge.toolchain import runner

        runs = runner(target_of(artifact))
        if isinstance(runs, str) or runs.emulated:
            raise CannotRun(f"a server runs what this machine can: {runs if isinstance(runs, str) else runs.name}")
        return Loaded(artifact, model, threads)

    def load_to_check(self, artifact: Path, model: ModelSpec, options: CompileOptions) -> CheckSession:
        from compilers.edge.device import Remote
        from compilers.edge.session import Loaded, Piped
        from compilers.edge.toolchain import runner

        if options.rpc:
            return Remote(artifact, model, options.rpc)
        runs = runner(resolve(options.target, options.target_options))
        if isinstance(runs, str):
            raise CannotRun(f"{runs}; or run it on a device (--rpc HOST:PORT)")
        return Piped(artifact, model, options.threads, runs) if runs.emulated else Loaded(artifact, model, options.threads)


def _kernels(model: ModelSpec, folder: Path, target: Target, out: Path) -> tuple[Any, dict[str, dict[str, int]]]:
    """The model's kernels compiled into the object file `out`, what calls them, and how many each rule made."""
    import tvm

    from compilers.edge import graph
    from compilers.tvm import frontend, pipeline

    code = tvm.target.Target(tvm_target(target))
    try:
        module = frontend.load(folder / "model.onnx", {spec.name: spec.shape for spec in model.inputs})
    except Exception as error:
        raise CannotCompile(f"TVM cannot import the model: {pipeline.first_line(error)}") from error
    try:
        module, made = pipeline.lower(module, target, code, winograd=winograd_allowed(model.tolerance))
        module = tvm.relax.transform.RewriteDataflowReshape()(module)
        calls = graph.read(module)
        built = tvm.tirx.build(graph.kernels(module), target=code)
        built.write_to_file(str(out), "o")
    except CannotCompile:
        raise
    except Exception as error:
        raise CannotCompile(f"TVM cannot compile the model: {pipeline.first_line(error)}") from error
    called = Counter(call.kernel for call in calls.calls)
    rules: dict[str, dict[str, int]] = {}
    for kernel in made:
        if kernel.name in called:
            rule = rules.setdefault(kernel.rule, {"kernels": 0, "calls": 0})
            rule["kernels"] += 1
            rule["calls"] += called[kernel.name]
    return calls, rules
