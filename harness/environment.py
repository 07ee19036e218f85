"""What the measurements were made on, as one comparable value.

Two runs may be compared only when their fingerprints agree: all that is known to move a latency on the same code is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = (
    "loadstone",
    "torch",
    "onnxruntime",
    "openvino",
    "apache-tvm",
    "onnx",
    "locust",
    "gevent",
    "uvicorn",
    "uvloop",
    "numpy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """The processor: `cores` counts the physical cores this process may use, `isa` names its widest instruction sets.

    Clouds sell hardware threads as vCPUs, so one core here is worth `threads_per_core` of theirs.
    """

    model: str
    vendor: str
    arch: str
    isa: str
    cores: int
    threads_per_core: int
    flags_digest: str


def cpu() -> Cpu:
    """This machine's processor, from /proc/cpuinfo; fields are empty where the kernel does not say."""
    info = _cpuinfo()
    cores = usable_cores()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    vendor = {"GenuineIntel": "intel", "AuthenticAMD": "amd"}.get(info.get("vendor_id", ""), "arm")
    arch = {"x86_64": "x86_64", "AMD64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    return Cpu(
        model=info.get("model name", platform.processor() or "unknown"),
        vendor=vendor,
        arch=arch,
        isa=_isa(flags),
        cores=len(cores),
        threads_per_core=max(len(core) for core in cores),
        flags_digest=hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:12],
    )


def usable_cores() -> tuple[tuple[int, ...], ...]:
    """The logical CPUs this process may run on, grouped by physical core: hyper-thread siblings stand together."""
    allowed = os.sched_getaffinity(0)
    groups: dict[str, list[int]] = {}
    for number in sorted(allowed):
        siblings = _read(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list") or str(number)
        groups.setdefault(siblings, []).append(number)
    return tuple(tuple(group) for group in groups.values())


def describe(lanes: Sequence[Any] = ()) -> dict[str, Any]:
    """The environment as plain data, `fingerprint` included. `lanes` are shown as they are."""
    processor = cpu()
    facts: dict[str, Any] = {
        "cpu_model": processor.model,
        "cpu_isa": processor.isa,
        "cpu_flags_digest": processor.flags_digest,
        "arch": processor.arch,
        "cpus": len(os.sched_getaffinity(0)),
        "cores": processor.cores,
        "microcode": _cpuinfo().get("microcode"),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "hypervisor": _read("/sys/hypervisor/type") or ("yes" if "hypervisor" in (_cpuinfo().get("flags") or "") else None),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "transparent_hugepages": _read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "smt": _read("/sys/devices/system/cpu/smt/control"),
        "clock_source": _read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return {**facts, "lanes": list(lanes), "fingerprint": digest[:16]}


def clock_ghz() -> float | None:
    """What the kernel says of the first processor's clock; behind a hypervisor that is the nominal one."""
    said = _cpuinfo().get("cpu MHz")
    return float(said) / 1e3 if said else None


def cpu_family() -> int | None:
    """The x86 family number, which tells what a hypervisor leaves out of the name."""
    said = _cpuinfo().get("cpu family", "")
    return int(said) if said.isdigit() else None


def version(distribution: str) -> str | None:
    """The installed version of a distribution, None when it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _isa(flags: set[str]) -> str:
    """The widest vector instruction sets, in the catalogue's words."""
    if "avx512f" in flags:
        words = ["AVX-512 (2 FMA)"]
        words += ["VNNI"] if "avx512_vnni" in flags else []
        words += ["AMX"] if "amx_tile" in flags else []
        return " ".join(words)
    for flag, word in (("avx2", "AVX2 FMA"), ("sve2", "SVE2"), ("sve", "SVE"), ("asimd", "NEON")):
        if flag in flags:
            return word
    return ""


def _cpuinfo() -> dict[str, str]:
    """The first processor's fields."""
    lines = (_read("/proc/cpuinfo") or "").split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
