"""From what a user says (a name, Neo's TargetPlatform or OutputConfig, options) to one resolved target, or a UsageError."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from compilers.targets import options as compiler_options
from compilers.targets.host import detect
from compilers.targets.noun import Target
from compilers.targets.table import gpu, gpu_precisions, names, rows, systems
from harness.errors import UsageError

HOST = "host"
_OS = ("LINUX", "ANDROID")
_ARCH = ("X86_64", "X86", "ARM64", "ARM_EABIHF", "ARM_EABI")
_ACCELERATOR = ("NVIDIA", "MALI", "INTEL_GRAPHICS", "NNA")

_NEEDS = {
    "MALI": "code for a Mali GPU runs only with a TVM runtime built with OpenCL, and the packaged one is not; "
    "leave Accelerator out to build for the CPU",
    "INTEL_GRAPHICS": "code for Intel graphics runs only with a TVM runtime built with OpenCL, and the packaged one is not; "
    "leave Accelerator out to build for the CPU",
    "NNA": "a neural-network accelerator needs its maker's compiler, and which one a platform alone does not say; "
    "leave Accelerator out to build for the CPU",
}


def resolve(
    spec: str | Mapping[str, Any], options: str | Mapping[str, Any] = "", *, host: Callable[[], Target] = detect
) -> Target:
    """The target that `spec` and `options` mean.

    `spec` is `host`, a name or alias of the table, or Neo's TargetPlatform or OutputConfig as a mapping or its JSON text.
    `options` are Neo's CompilerOptions as a mapping or text. Raises UsageError for anything the table or the target does
    not have. A target that nothing here builds for is resolved too; its `why_not` says so.
    """
    wanted = _mapping(spec)
    if isinstance(wanted, Mapping):
        platform, inner = _unwrap(wanted)
        if inner and options:
            raise UsageError("options are given twice: in the target's CompilerOptions and as --options")
        options = inner or options
    else:
        platform = wanted
    parsed = compiler_options.parse(options) if isinstance(options, str) else options
    if isinstance(platform, Mapping):
        return _platform(platform, parsed)
    target = host() if platform == HOST else _named(platform)
    return compiler_options.apply(target, parsed)


def _mapping(spec: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    if not isinstance(spec, str) or not spec.lstrip().startswith("{"):
        return spec
    try:
        value: dict[str, Any] = json.loads(spec)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--target is not JSON ({error}); give a name or {_example()}") from error
    return value


def _unwrap(wanted: Mapping[str, Any]) -> tuple[str | Mapping[str, Any], str | Mapping[str, Any]]:
    """The device or platform in an OutputConfig, and its CompilerOptions; a bare TargetPlatform is itself."""
    if "Os" in wanted or "Arch" in wanted:
        return wanted, ""
    # Where AWS puts the result and how it encrypts it has no meaning here.
    unknown = set(wanted) - {"TargetDevice", "TargetPlatform", "CompilerOptions", "S3OutputLocation", "KmsKeyId"}
    given = [wanted[key] for key in ("TargetDevice", "TargetPlatform") if key in wanted]
    if unknown or len(given) != 1:
        what = f"has the key {sorted(unknown)[0]!r}" if unknown else "needs exactly one of TargetDevice and TargetPlatform"
        raise UsageError(f"the target {what}; give {_example()}")
    options = wanted.get("CompilerOptions", "")
    if not isinstance(given[0], str | Mapping) or not isinstance(options, str | Mapping):
        raise UsageError(f"the target's values must be names, objects or text; give {_example()}")
    return given[0], options


def _named(name: str) -> Target:
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name.lower(), [HOST, *known], n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else "`loadstone targets` lists them"
        raise UsageError(f"unknown target {name!r} ({hint})")
    return rows()[known[name]].target


def _platform(platform: Mapping[str, Any], options: Mapping[str, Any] | str) -> Target:
    unknown = set(platform) - {"Os", "Arch", "Accelerator"}
    if unknown:
        raise UsageError(f"TargetPlatform has no key {sorted(unknown)[0]!r}; give {_example()}")
    os, arch = _one_of(platform, "Os", _OS), _one_of(platform, "Arch", _ARCH)
    accelerator = _one_of(platform, "Accelerator", _ACCELERATOR) if platform.get("Accelerator") is not None else None
    system = next((each for each in systems().values() if each.neo == f"{os} {arch}"), None)
    if system is None:
        raise UsageError(f"{os} has no {arch} ABI; {os} takes {', '.join(_archs_of(os))}")
    target = rows()[system.name].target
    if accelerator == "NVIDIA":
        return _nvidia(target, options)
    if accelerator is not None:
        target = replace(target, name=f"{target.name}-{accelerator.lower()}", builder="", why_not=_NEEDS[accelerator])
    return compiler_options.apply(target, options)


def _nvidia(target: Target, options: Mapping[str, Any] | str) -> Target:
    """As in Neo, gpu-code says which GPU: the platform alone does not."""
    if target.os != "linux" or target.arch not in ("x86_64", "arm64"):
        raise UsageError(f"there is no NVIDIA GPU on {target.name}; it goes with LINUX on X86_64 or ARM64")
    code = options.get("gpu-code", options.get("gpu_code")) if isinstance(options, Mapping) else None
    if code is None:
        raise UsageError('Accelerator NVIDIA needs the option gpu-code, such as {"gpu-code": "sm_75"}')
    chosen = gpu(str(code))
    if chosen is None:
        near = difflib.get_close_matches(str(code), [name for name in rows() if name.startswith("sm_")], n=3, cutoff=0.4)
        raise UsageError(f"gpu-code {code!r} is not a GPU in the table (nearest: {', '.join(near) or 'none'})")
    with_gpu = replace(target, name=f"{target.name}-nvidia", gpu=chosen, precisions=gpu_precisions(chosen.arch))
    return compiler_options.apply(with_gpu, options)


def _one_of(platform: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = platform.get(key)
    if value not in allowed:
        near = difflib.get_close_matches(str(value).upper(), allowed, n=1)
        hint = f"did you mean {near[0]}? " if near and value is not None else ""
        raise UsageError(f"TargetPlatform needs {key}: {hint}one of {', '.join(allowed)}, not {value!r}")
    return str(value)


def _archs_of(os: str) -> list[str]:
    return [each.neo.split()[1] for each in systems().values() if each.neo is not None and each.neo.startswith(os)]


def _example() -> str:
    return '{"Os": "LINUX", "Arch": "ARM64"}'
