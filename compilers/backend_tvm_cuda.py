"""Apache TVM's kernels for a GPU by name: compiled, and proven to be for it, with no GPU here; checked where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from compilers.interface import CannotCompile, CannotRun, CheckSession, Session, other_precision
from compilers.targets import Target, resolve, tvm_target
from harness.nouns import CompileOptions, ModelSpec

_FILE, _CUBIN, _PTX, _SOURCE = "model.so", "kernels.cubin", "kernels.ptx", "kernels.cu"


class TvmCuda:
    name = "tvm-cuda"
    packages = ("apache-tvm", "apache-tvm-ffi", "pyelftools")
    extra = "cuda"
    computes = True
    threads_matter = False
    reads_onnx = True

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        from compilers.targets.reach import look, reach

        target = resolve(options.target, options.target_options)
        if target.gpu is None:
            return "tvm-cuda compiles for an NVIDIA GPU by name, such as --target sm_80 (see `loadstone targets --arch cuda`)"
        if options.rpc:
            return "--rpc checks CPU code; run this where the GPU is"
        found = reach(target, look())
        missing = [each for each in (found.never, found.code_needs, found.link_needs) if each is not None]
        return other_precision(options, ("fp32",)) or (f"needs {'; and '.join(missing)}" if missing else None)

    def tools(self, options: CompileOptions) -> Mapping[str, str]:
        """What the artifact and its check depend on besides packages: part of its key."""
        from compilers.edge.toolchain import toolchain
        from compilers.gpu.session import capabilities
        from compilers.gpu.toolkit import choose
        from compilers.targets.reach import look

        target, here = resolve(options.target, options.target_options), look()
        tool = choose(target, here) or ""
        release = here.cuda if tool == "nvcc" else here.nvrtc
        return {"linker": toolchain(target).version, "cuda": f"{tool} {release}", "checked": " ".join(capabilities())}

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        from compilers.gpu import cubin
        from compilers.gpu.toolkit import choose, compile_source
        from compilers.targets.reach import look

        target = resolve(options.target, options.target_options)
        tool = choose(target, look())
        if target.gpu is None or tool is None:
            raise CannotCompile(f"nothing here compiles for {target.name}")
        arch = target.gpu.arch
        source = _build(model, folder, target, out / _FILE)
        code = compile_source(source, arch, tool)
        contents, text = cubin.read(code.cubin), cubin.read_ptx(code.ptx)
        wrong = cubin.why_not_for(contents, arch, frozenset(text.kernels)) or cubin.why_not_for(text, arch, frozenset())
        if wrong is not None or not contents.kernels:
            raise CannotCompile(wrong or "the code has no kernel at all")
        (out / _CUBIN).write_bytes(code.cubin)
        (out / _PTX).write_bytes(code.ptx)
        (out / _SOURCE).write_text(code.source, encoding="utf-8")
        return {
            "target": target.name,
            "form": "cuda",
            "gpu": {"arch": contents.arch, "kernels": len(contents.kernels), "cubin_bytes": len(code.cubin)},
            "compiled_with": dict(self.tools(options))["cuda"],
        }

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> Session:
        from compilers.gpu.session import OnGpu

        return OnGpu(artifact / _FILE, artifact / _CUBIN, model)

    def load_to_check(self, artifact: Path, model: ModelSpec, options: CompileOptions) -> CheckSession:
        from compilers.gpu.session import OnGpu
        from compilers.targets.host import detect
        from compilers.targets.reach import why_not_here

        target = resolve(options.target, options.target_options)
        driver = why_not_here(replace(target, gpu=None), detect())
        if target.gpu is None or driver is not None:
            raise CannotRun(f"it is driven by code for {target.arch}: {driver}")
        return OnGpu(artifact / _FILE, artifact / _CUBIN, model)


def _build(model: ModelSpec, folder: Path, target: Target, out: Path) -> str:
    """TVM's library for the CPU that drives the GPU, into `out`; returns the kernels' CUDA source, which is in it too."""
    import tvm
    from tvm.s_tir import dlight

    from compilers.edge.toolchain import toolchain
    from compilers.tvm import frontend, pipeline

    tools = toolchain(target)
    code = tvm.target.Target(tvm_target(target))
    rules = (
        dlight.gpu.Matmul(),
        dlight.gpu.GEMV(),
        dlight.gpu.Reduction(),
        dlight.gpu.GeneralReduction(),
        dlight.gpu.Fallback(),
    )
    try:
        module = frontend.load(folder / "model.onnx", {spec.name: spec.shape for spec in model.inputs})
        with code, tvm.transform.PassContext(opt_level=3):
            module = tvm.relax.get_pipeline("zero")(module)
            module = dlight.ApplyDefaultSchedule(*rules)(module)
            executable = tvm.compile(module, target=code)
        executable.export_library(str(out), fcompile=lambda path, objects, **_: tools.link_module(objects, Path(path)))
    except CannotCompile:
        raise
    except Exception as error:
        raise CannotCompile(f"TVM cannot compile the model: {pipeline.first_line(error)}") from error
    sources = _sources(executable.mod)
    if len(sources) != 1:
        raise CannotCompile(f"TVM left {len(sources)} modules of GPU code instead of one")
    return sources[0]


def _sources(module: Any) -> list[str]:
    """The CUDA source of every GPU module below `module`."""
    own = [str(module.inspect_source())] if module.kind == "cuda" else []
    return [*own, *(source for below in module.imports for source in _sources(below))]
