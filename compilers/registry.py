"""The backends by name. A new one is one file and one line here."""

from __future__ import annotations

import difflib
import importlib

from compilers.interface import Backend
from compilers.targets import Target
from compilers.targets.host import detect
from compilers.targets.reach import why_not_here
from harness.errors import UsageError

BACKENDS = {
    "ort": "compilers.backend_ort:OnnxRuntime",
    "openvino": "compilers.backend_openvino:OpenVino",
    "inductor": "compilers.backend_inductor:Inductor",
    "torch": "compilers.backend_torch:EagerTorch",
    "tvm": "compilers.backend_tvm:Tvm",
    "ort-cuda": "compilers.backend_ort_cuda:OnnxRuntimeCuda",
    "torch-cuda": "compilers.backend_torch_cuda:TorchCuda",
    "neuron": "compilers.backend_neuron:Neuron",
    "tvm-bundle": "compilers.backend_tvm_bundle:TvmBundle",
    "tvm-cuda": "compilers.backend_tvm_cuda:TvmCuda",
    "null": "compilers.backend_null:Null",
}

DEFAULT_BACKENDS = ("ort", "openvino", "inductor", "torch", "tvm")
"""What a bench tries when nothing is said; `null` is a floor for the serving path, not a candidate, and those of accelerators
are asked for by name."""

DEFAULT_FOR = {"neuron": ("neuron",)}
"""What compiles for a target when nothing is said, by the target's builder; DEFAULT_BACKENDS for any other."""


def backend(name: str) -> Backend:
    """The backend `name`, its library not yet imported; raises UsageError with the nearest names."""
    place = BACKENDS.get(name)
    if place is None:
        near = difflib.get_close_matches(name, BACKENDS, n=2, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(BACKENDS)}"
        raise UsageError(f"unknown backend {name!r}: {hint}")
    module, kind = place.split(":")
    made: Backend = getattr(importlib.import_module(module), kind)()
    return made


def for_target(name: str, target: Target) -> str:
    """The backend that `name` means for `target`: TVM's code for another machine is a bundle, for a GPU it is CUDA's."""
    if name != "tvm":
        return name
    if target.gpu is not None:
        return "tvm-cuda"
    return "tvm-bundle" if why_not_here(target, detect()) is not None else name
