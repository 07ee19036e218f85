"""What can be built and run from here, and what it would take: the decision is pure, `look` finds out what is here."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from compilers.targets.host import detect
from compilers.targets.isa import cpu_features, with_attributes
from compilers.targets.noun import Target
from compilers.targets.options import out_of_range
from compilers.targets.table import ANDROID_API, System, systems

_NVCC_S = 10.0
_NVRTC = ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc")
_PACKAGED_CUDA = "12.9"
"""Of the package that the extra `cuda` installs: the last release that knows GPUs from before Turing."""
_RUNTIMES = ("linux", "android")
_NOT_EMULATED = frozenset({"avx512f", "avxvnni", "amx-int8", "amx-bf16"})
"""What QEMU's translation of x86 does not have: a program that uses it ends with an illegal instruction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What this machine has: itself as a target, programs by name, Python modules by name, the release of its nvcc."""

    host: Target
    has_program: Callable[[str], bool]
    has_module: Callable[[str], bool]
    cuda: str | None
    """The release of its nvcc, such as 13.0; None without one."""
    nvrtc: str | None = None
    """The release of the CUDA runtime compiler that came as a Python package; None without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a target can be served from here. Each text is None where there is nothing in the way."""

    never: str | None
    """Why no code can be made for it, whatever is installed."""
    code_needs: str | None
    """What making its code needs that is not here."""
    link_needs: str | None
    """What linking its code into a library needs that is not here."""
    run_needs: str | None
    """Why its code does not run here."""
    linker: str | None
    """What would link it."""
    emulator: str | None
    """What would run it, when this machine cannot itself and the emulator is here."""

    @property
    def builds(self) -> str:
        """`yes`, `needs …`, or `no: …`, for code linked into a library."""
        if self.never is not None:
            return f"no: {self.never}"
        missing = [each for each in (self.code_needs, self.link_needs) if each is not None]
        return f"needs {'; and '.join(missing)}" if missing else "yes"

    @property
    def runs(self) -> str:
        """`here`, `under …`, or `on the device`."""
        if self.never is not None:
            return ""
        if self.run_needs is None:
            return "here"
        return f"under {self.emulator}" if self.emulator else "on the device"


def look() -> Here:
    """This machine, its PATH and its Python packages."""
    return Here(
        host=detect(),
        has_program=lambda name: shutil.which(name) is not None,
        has_module=lambda name: importlib.util.find_spec(name) is not None,
        cuda=_nvcc_release(),
        nvrtc=_nvrtc_release(),
    )


def reach(target: Target, here: Here) -> Reach:
    """How far `target` can be served from `here`."""
    run_needs = why_not_here(target, here.host)
    linker, link_needs = _link(target, here)
    emulator = emulator_of(target) if run_needs is not None else None
    return Reach(
        never=why_never(target),
        code_needs=_code_needs(target, here),
        link_needs=link_needs,
        run_needs=run_needs,
        linker=linker,
        emulator=emulator if emulator is not None and here.has_program(emulator) else None,
    )


def why_never(target: Target) -> str | None:
    """Why nothing is built for `target`, whatever is installed, and what would be needed."""
    if target.why_not is None and target.builder == "tvm" and target.os not in _RUNTIMES:
        return (
            f"TVM makes the code, but the bundle's runtime is written for Linux and Android; {target.os} would need threads "
            "and loading of its own, or the import library of TVM's runtime, which its packages do not have"
        )
    return target.why_not


def emulator_of(target: Target) -> str | None:
    """The program that runs `target`'s code on another machine, here or not; None where none knows all its instructions."""
    if target.gpu is not None or target.builder != "tvm" or features(target) & _NOT_EMULATED:
        return None
    return system_of(target).emulator


def why_not_here(target: Target, host: Target) -> str | None:
    """Why code for `target` does not run on `host`, or None when it does: same system, and no instruction that the host
    lacks."""
    if target.builder == "neuron":
        return "it runs on the accelerator only"
    if target.gpu is not None:
        return f"it runs on an NVIDIA GPU ({target.gpu.arch}) only"
    if (target.os, target.arch) != (host.os, host.arch):
        return f"it runs on {target.os} {target.arch}, and this machine is {host.os} {host.arch}"
    lacking = sorted(features(target) - features(host))
    return f"this machine's CPU ({host.mcpu}) lacks {', '.join(lacking)}" if lacking else None


def features(target: Target) -> frozenset[str]:
    """The telling features its code may use."""
    if not target.mcpu:
        return frozenset()
    return with_attributes(target.arch, cpu_features(target.arch, target.mcpu), target.mattr)


def _code_needs(target: Target, here: Here) -> str | None:
    if target.builder == "neuron":
        # PyPI's packages of these names are placeholders; the compiler's real one brings this module.
        found = here.has_module("neuronxcc") and here.has_module("torch_neuronx")
        return None if found else "torch-neuronx and neuronx-cc from https://pip.repos.neuron.amazonaws.com"
    if not here.has_module("tvm"):
        return "TVM (pip install 'loadstone[tvm]')"
    if target.gpu is None:
        return None
    first, last = target.gpu.cuda_first, target.gpu.cuda_last
    releases = [release for release in (here.cuda, here.nvrtc) if release is not None]
    if any(out_of_range(first, last, release) is None for release in releases):
        return None
    wanted = f"CUDA {first} {f'to {last}' if last else 'or later'}"
    said = f" (here is {releases[0]})" if releases else ""
    package = ", or pip install 'loadstone[cuda]'" if out_of_range(first, last, _PACKAGED_CUDA) is None else ""
    return f"nvcc of {wanted}{said}{package}"


def _link(target: Target, here: Here) -> tuple[str | None, str | None]:
    """What links for the target's system, or else what to get. This machine's own compiler does for its own system."""
    if target.why_not is not None or target.builder != "tvm":
        return None, None
    system = system_of(target)
    own = (target.os, target.arch) == (here.host.os, here.host.arch)
    level = (re.search(r"android(\d+)$", target.mtriple) or ("", str(ANDROID_API)))[1]
    for linker in (*(("g++",) if own else ()), *system.linkers):
        name = linker.format(api=level)
        module = name.removeprefix("python:")
        if here.has_module(module) if name != module else here.has_program(name):
            return module, None
    return None, f"a linker: {'apt install g++' if own else system.how_to_link}"


def system_of(target: Target) -> System:
    """The system of the table that `target` is for."""
    same = [each for each in systems().values() if (each.os, each.arch) == (target.os, target.arch)]
    return next((each for each in same if each.float_abi == target.float_abi), same[0])


def _nvrtc_release() -> str | None:
    for package in _NVRTC:
        try:
            return ".".join(metadata.version(package).split(".")[:2])
        except metadata.PackageNotFoundError:
            continue
    return None


def _nvcc_release() -> str | None:
    if shutil.which("nvcc") is None:
        return None
    try:
        said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, timeout=_NVCC_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"release (\d+\.\d+)", said)
    return found[1] if found else None
