"""torch.compile's Inductor ahead of time: the program as C++ built for this CPU, in one package."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compilers.backend_torch import PRECISIONS, TorchSession, program_in, use_threads
from compilers.interface import CannotCompile, needs_program, not_native, only_on_host
from compilers.precision import BF16
from harness.nouns import CompileOptions, ModelSpec

_FILE = "model.pt2"


class Inductor:
    name = "inductor"
    packages = ("torch",)
    extra = "torch"
    computes = True
    threads_matter = True
    reads_onnx = False

    def why_not(self, model: ModelSpec, options: CompileOptions) -> str | None:
        return needs_program(model) or only_on_host(options, PRECISIONS) or not_native(options, BF16) or _no_compiler()

    def compile(self, model: ModelSpec, folder: Path, options: CompileOptions, out: Path) -> Mapping[str, Any]:
        # Set before torch is imported: no pool of compile workers that outlives us, and our own scratch folder; torch shares
        # only its precompiled headers between compilations, which saves half a minute each.
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        scratch = out.with_name("inductor-scratch")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(scratch)
        import torch
        import torch._inductor

        use_threads(options.threads)
        program = program_in(options.precision, folder, model)
        settings = {"freezing": True, "max_autotune": False, "cpp.threads": options.threads}
        try:
            with torch.no_grad(), torch._inductor.config.patch(settings):
                torch._inductor.aoti_compile_and_package(program, package_path=str(out / _FILE))
        except Exception as error:
            raise CannotCompile(f"Inductor: {type(error).__name__}: {_last_line(error)}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return {
            "freezing": True,
            "max_autotune": False,
            "threads": options.threads,
            "not_reproducible": "the C++ that torch generates names its scratch folder and addresses of its own functions",
        }

    def load(self, artifact: Path, model: ModelSpec, threads: int) -> TorchSession:
        import torch

        use_threads(threads)
        # What aoti_load_package wraps; importing the compiler around it would add seconds to every server start.
        loader = torch._C._aoti.AOTIModelPackageLoader(str(artifact / _FILE), "model", False, 1, -1)
        return TorchSession(lambda *tensors: loader.run(list(tensors)), model, keeps_gil=True)


def _no_compiler() -> str | None:
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        return f"needs a C++ compiler and {compiler!r} is not there: apt install g++"
    return None


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[0] if lines else "")[:300]
