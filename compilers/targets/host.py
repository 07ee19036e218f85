"""This machine as a target, from /proc/cpuinfo and the caches in /sys; what they do not tell falls back to what is safe."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from compilers.targets.isa import TELLING, cpu_features, vector_unit, with_attributes
from compilers.targets.noun import Target
from compilers.targets.table import cpu_facts, cpus_in_cpuinfo, systems

_CPU0 = "sys/devices/system/cpu/cpu0"
_ARCH = {"x86_64": "x86_64", "amd64": "x86_64", "i686": "x86", "i386": "x86", "aarch64": "arm64", "arm64": "arm64"}

_FEATURE_OF_FLAG = {
    "pni": "sse3",
    "sse4_1": "sse4.1",
    "sse4_2": "sse4.2",
    "abm": "lzcnt",
    "bmi1": "bmi",
    "sha_ni": "sha",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_bitalg": "avx512bitalg",
    "avx512_vpopcntdq": "avx512vpopcntdq",
    "avx512_vnni": "avx512vnni",
    "avx_vnni": "avxvnni",
    "avx512_bf16": "avx512bf16",
    "avx512_fp16": "avx512fp16",
    "amx_int8": "amx-int8",
    "amx_bf16": "amx-bf16",
    "amx_fp16": "amx-fp16",
    "asimd": "neon",
    "crc32": "crc",
    "atomics": "lse",
    "lrcpc": "rcpc",
    "idiva": "hwdiv-arm",
    "idivt": "hwdiv",
    "asimdhp": "fullfp16",
    "asimddp": "dotprod",
    "vfpv4": "vfp4",
}
"""The kernel's flags that LLVM spells otherwise."""

_LEVELS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64": {"sse2"},
}
"""The kernel's flags that each level of the x86-64 psABI adds to the one below, highest first."""


def detect(root: Path = Path("/"), machine: str | None = None) -> Target:
    """The machine whose /proc and /sys are under `root`; `machine` is its `uname -m`, by default this one's.

    The LLVM name is that of the exact CPU where the table recognises it and no feature of its level is hidden (by a
    hypervisor, say), else of the level; features that differ from the named CPU's stand in `mattr`. Raises nothing:
    without /proc/cpuinfo the result is the oldest CPU of the architecture, and `note` says so.
    """
    uname = machine or platform.machine()
    arch = _ARCH.get(uname.lower(), "armv7" if uname.startswith("arm") else "")
    if not arch:
        return _unknown(uname)
    info, cores = _cpuinfo(root)
    flags = set((info.get("flags") or info.get("Features") or "").split())
    features = {_FEATURE_OF_FLAG.get(flag, flag) for flag in flags} & set(TELLING[arch])
    mcpu, note = _name(arch, info, flags, features)
    implied = cpu_features(arch, mcpu)
    # Without any flags nothing is known against the oldest CPU of the architecture.
    mattr = _differences(arch, implied, features) if flags else ()
    unit = vector_unit(arch, with_attributes(arch, implied, mattr))
    system = next(each for each in systems().values() if (each.os, each.arch) == ("linux", arch))
    return Target(
        name="host",
        builder="tvm",
        os="linux",
        arch=arch,
        processor=info.get("model name") or str(cpu_facts(mcpu).get("words", uname)),
        mtriple=system.triple,
        mcpu=mcpu,
        mattr=mattr,
        float_abi=system.float_abi,
        lanes=unit.lanes,
        vector_registers=unit.registers,
        num_cores=cores,
        precisions=unit.precisions,
        note=note,
        cache_line_bytes=_line_bytes(root),
        **_cache_sizes(root, mcpu),
    )


def _unknown(uname: str) -> Target:
    return Target(
        name="host",
        builder="",
        os="linux",
        arch=uname,
        processor=uname,
        mtriple="",
        mcpu="",
        lanes=1,
        vector_registers=8,
        why_not=f"{uname} is an architecture without a row in the table; there are x86_64, x86, arm64 and armv7",
    )


def _cpuinfo(root: Path) -> tuple[dict[str, str], int | None]:
    """The first processor's fields and how many processors there are."""
    try:
        text = (root / "proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}, None
    first = text.strip().split("\n\n")[0].splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
    return fields, len(re.findall(r"^processor\s*:", text, flags=re.MULTILINE)) or None


def _name(arch: str, info: Mapping[str, str], flags: set[str], features: set[str]) -> tuple[str, str]:
    """The LLVM name to compile for, and what is worth saying about it."""
    fitting = [name for name, said in cpus_in_cpuinfo().items() if _is(said, info)]
    fitting = [name for name in fitting if _usable(arch, name, flags)]
    if fitting:
        # Generations that share a model number differ in features: take the one nearest to those seen.
        return min(fitting, key=lambda name: len(cpu_features(arch, name) ^ features)), ""
    if arch == "x86_64":
        level = _level(flags)
        return level, "" if flags else "no /proc/cpuinfo: compiled for any x86-64"
    oldest = next(each.cpu for each in systems().values() if (each.os, each.arch) == ("linux", arch))
    return oldest, "" if flags else f"no /proc/cpuinfo: compiled for any {arch}"


def _is(said: Mapping[str, Any], info: Mapping[str, str]) -> bool:
    if "part" in said:
        return (info.get("CPU implementer"), info.get("CPU part")) == (said["vendor"], said["part"])
    family, model = info.get("cpu family", ""), info.get("model", "")
    if info.get("vendor_id") != said["vendor"] or family != str(said["family"]) or not model.isdecimal():
        return False
    return any(low <= int(model) <= high for low, high in said["models"])


def _usable(arch: str, name: str, flags: set[str]) -> bool:
    """Whether the machine has the whole psABI level that the named CPU has: a hypervisor may hide parts of it."""
    if arch not in ("x86_64", "x86"):
        return True
    have = cpu_features(arch, name)
    wanted = "x86-64-v4" if "avx512f" in have else "x86-64-v3" if "avx2" in have else "x86-64-v2"
    order = list(_LEVELS)
    return order.index(_level(flags)) <= order.index(wanted)


def _level(flags: set[str]) -> str:
    """The highest level all of whose flags, and those of every level below, are there."""
    reached = "x86-64"
    for level in reversed(_LEVELS):
        if not _LEVELS[level] <= flags:
            break
        reached = level
    return reached


def _differences(arch: str, implied: frozenset[str], features: set[str]) -> tuple[str, ...]:
    missing = [f"-{name}" for name in TELLING[arch] if name in implied and name not in features]
    added = [f"+{name}" for name in TELLING[arch] if name in features and name not in implied]
    return (*missing, *added)


class _Sizes(TypedDict):
    l1d_bytes: int | None
    l2_bytes: int | None


def _cache_sizes(root: Path, mcpu: str) -> _Sizes:
    """Sizes from /sys, each a core's part; else the table's for this CPU."""
    known = cpu_facts(mcpu)
    found = _Sizes(l1d_bytes=known.get("l1d_bytes"), l2_bytes=known.get("l2_bytes"))
    cpu = root / _CPU0
    threads = _count(_read(cpu / "topology/thread_siblings_list")) or 1
    for index in sorted((cpu / "cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if not size.endswith("K") or not size[:-1].isdecimal():
            continue
        cores = max(1, (_count(_read(index / "shared_cpu_list")) or 1) // threads)
        part = (int(size[:-1]) << 10) // cores
        if (level, kind) == ("1", "Data"):
            found["l1d_bytes"] = part
        elif (level, kind) == ("2", "Unified"):
            found["l2_bytes"] = part
    return found


def _line_bytes(root: Path) -> int:
    line = _read(root / _CPU0 / "cache/index0/coherency_line_size")
    return int(line) if line.isdecimal() and int(line) > 0 else 64


def _count(cpus: str) -> int:
    """How many CPUs a kernel list such as `0-3,8` names."""
    parts = [part.split("-") for part in cpus.split(",") if part]
    return sum(int(part[-1]) - int(part[0]) + 1 for part in parts if all(number.isdecimal() for number in part))


def _read(path: Path) -> str:
    try:
        return os.fsdecode(path.read_bytes()).strip()
    except OSError:
        return ""
