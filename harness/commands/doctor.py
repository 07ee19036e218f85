"""`doctor`: what this machine offers, what could spoil its figures, and what each backend and feature still needs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil

from compilers import cuda, registry
from compilers.cache import default_cache
from harness import checkup, environment, kernel, lanes
from harness.checkup import Machine, Need
from harness.commands.lists import print_rows

_WATCH_S = 1.0
_COMPILER = "apt install g++ (Debian), dnf install gcc-c++ (Fedora)"
_BUILDS = ("inductor", "tvm")
_GPUS = ("ort-cuda", "torch-cuda")
_NEURON = "an instance with Inferentia or Trainium (inf1, inf2, trn1) and AWS's Neuron packages"
_FEATURES = (
    ("built-in models", ("torch", "transformers", "onnxscript"), "torch", "resnet50, bert_base …; .onnx files need nothing"),
    ("autoscaling at speed", ("numba",), "autoscale", "without it `autoscale` simulates some hundred times slower"),
    ("table.parquet", ("pyarrow",), "parquet", "of `loadstone report`"),
    ("AWS prices", ("boto3",), "aws", "of `loadstone instances`; needs credentials"),
)


def doctor(*, as_json: bool) -> int:
    """Print the check-up; returns the exit code, which is 0 whatever was found."""
    seen = _machine()
    plan = lanes.plan_lanes(seen.cores, 1, None)
    found = [*checkup.machine(seen, plan), *checkup.needs(list(_needs()))]
    rows = [asdict(each) | {"state": each.state.value} for each in found]
    shown = [{"what": row["what"], "": row["state"], "found": row["found"], "note": row["do"]} for row in rows]
    note = "Reports need no browser to be made. Other hardware: `loadstone targets`."
    return print_rows(rows, shown, as_json=as_json, note=note)


def _machine() -> Machine:
    cores = environment.usable_cores()
    cache = default_cache()
    cache.mkdir(parents=True, exist_ok=True)
    described = environment.describe()
    memory = psutil.virtual_memory()
    steal, busy = _watched({cpu for core in cores for cpu in core})
    return Machine(
        cores=cores,
        online_cpus=os.cpu_count() or sum(map(len, cores)),
        quota_cpus=quota_cpus(),
        governor=described["governor"],
        virtual=described["hypervisor"] is not None,
        steal_share=steal,
        busy_share=busy,
        memory_bytes=memory.total,
        memory_available_bytes=memory.available,
        disk_free_bytes=shutil.disk_usage(cache).free,
        cache=str(cache),
    )


def _watched(cpus: set[int]) -> tuple[float | None, float | None]:
    """Steal and busy time of `cpus` as shares of one second in which we sleep."""
    before = _times()
    time.sleep(_WATCH_S)
    after = _times()
    both = [(before[cpu], after[cpu]) for cpu in cpus if cpu in before and cpu in after]
    total = sum(now.total - then.total for then, now in both)
    if total <= 0:
        return None, None
    return sum(now.steal - then.steal for then, now in both) / total, sum(now.busy - then.busy for then, now in both) / total


def _times() -> dict[int, kernel.CpuTimes]:
    try:
        return kernel.parse_cpus((kernel.PROC / "stat").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}


def quota_cpus(proc: Path = kernel.PROC) -> float | None:
    """The smallest CPU quota of this process's cgroups, in CPUs; None without one."""
    found = []
    for stat in kernel.quota_files([os.getpid()], proc):
        try:
            if (stat.parent / "cpu.max").is_file():
                quota, period = (stat.parent / "cpu.max").read_text(encoding="ascii").split()
            else:
                quota, period = (
                    (stat.parent / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
                )
            if quota != "max" and int(quota) > 0:
                found.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue  # a group of another kind, or one that is being taken away
    return min(found, default=None)


def _needs() -> Iterator[Need]:
    for name in registry.BACKENDS:
        backend = registry.backend(name)
        # The package of ONNX Runtime with CUDA takes the place of the one without, so no extra can bring it.
        replaced = name == "ort-cuda"
        yield Need(
            what=f"backend {name}",
            versions=() if replaced else tuple((package, environment.version(package)) for package in backend.packages),
            extra=backend.extra,
            programs=tuple(_programs(name)),
            ready="a floor for the serving path" if name == "null" else "",
        )
    for what, packages, extra, ready in _FEATURES:
        yield Need(what=what, versions=tuple((name, environment.version(name)) for name in packages), extra=extra, ready=ready)


def _programs(name: str) -> Iterator[tuple[str, bool, str]]:
    """What a backend needs that no Python package brings: (what, whether it is here, how to get it)."""
    if name in _BUILDS:
        yield "a C++ compiler", any(shutil.which(each) for each in ("g++", "c++")), _COMPILER
    if name == "ort-cuda":
        found = environment.version("onnxruntime-gpu") is not None
        yield "onnxruntime-gpu", found, "pip install onnxruntime-gpu in place of onnxruntime"
    if name in _GPUS:
        yield "an NVIDIA GPU", cuda.why_no_gpu() is None, "a machine with one and its driver"
    if name == "neuron":
        yield "a Neuron device", any(Path("/dev").glob("neuron*")), _NEURON
