"""Reads `targets.toml`: systems, CPUs, GPUs and the devices made of them, each device as a resolved `Target`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from compilers.targets.isa import cpu_features, vector_unit, with_attributes
from compilers.targets.noun import Gpu, Target

ANDROID_API = 24
"""The API level of an Android target when nobody says: Android 7.0, which nearly every device in use has passed."""

_DRIVER = {"system": "linux-x86_64", "cpu": "x86-64-v3"}
"""The machine around a GPU that is named alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """An operating system on an architecture. Each of `linkers` is a program, or `python:` and a module that can link."""

    name: str
    os: str
    arch: str
    triple: str
    cpu: str
    """The LLVM name of the oldest CPU that the system runs on."""
    float_abi: str | None
    neo: str | None
    """Os and Arch of Neo's TargetPlatform, or None where Neo has no such platform."""
    linkers: tuple[str, ...]
    how_to_link: str
    emulator: str | None
    """The program that runs its binaries on another machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A target of the table with its other names, whether Neo has it, and where its facts are from."""

    name: str
    aliases: tuple[str, ...]
    neo: bool
    system: System
    target: Target
    source: str
    date: str


def rows() -> Mapping[str, Row]:
    """Every target by its name: Neo's devices, the others, then systems and GPUs by themselves."""
    return _rows()


def names() -> Mapping[str, str]:
    """The row of every name a target goes by, aliases included."""
    found = {alias: row.name for row in _rows().values() for alias in row.aliases}
    return {**found, **{name: name for name in _rows()}}


def systems() -> Mapping[str, System]:
    """Every system by its name."""
    return {name: _system(name) for name in _raw()["system"]}


def gpu(arch: str) -> Gpu | None:
    """The GPU of a compute capability such as `sm_86`, or None when the table has none."""
    facts = _raw()["gpu"].get(arch)
    if facts is None:
        return None
    first, *last = facts["cuda"]
    # CUDA C++ Programming Guide, table of compute capabilities: the same for all but the 32-bit registers of a block.
    return Gpu(
        arch=arch,
        max_threads_per_block=1024,
        warp_threads=32,
        shared_memory_per_block_bytes=48 << 10,
        registers_per_block=facts.get("registers_per_block", 65536),
        cuda_first=first,
        cuda_last=last[0] if last else None,
    )


def gpu_precisions(arch: str) -> tuple[str, ...]:
    """What a GPU computes in, by the first capability whose PTX instructions do (PTX ISA: fma, dp4a)."""
    number = int(arch.removeprefix("sm_"))
    first = {"fp16": 53, "bf16": 80, "int8": 61}
    return ("fp32", *(precision for precision, since in first.items() if number >= since))


def cpu_facts(mcpu: str) -> Mapping[str, Any]:
    """What the table has on a CPU beyond its instructions: words, l1d_bytes, l2_bytes; empty for one it does not list."""
    facts = _raw()["cpu"].get(mcpu, {})
    sizes = {f"{name}_bytes": facts[f"{name}_kib"] << 10 for name in ("l1d", "l2") if f"{name}_kib" in facts}
    return {**sizes, **({"words": facts["words"]} if facts else {})}


def cpus_in_cpuinfo() -> Mapping[str, Mapping[str, Any]]:
    """How /proc/cpuinfo names each CPU the table can recognise: vendor with family and models, or vendor with part."""
    return {name: facts["cpuinfo"] for name, facts in _raw()["cpu"].items() if "cpuinfo" in facts}


@cache
def _raw() -> dict[str, Any]:
    return tomllib.loads(resources.files("compilers.targets").joinpath("targets.toml").read_text(encoding="utf-8"))


@cache
def _rows() -> dict[str, Row]:
    raw = _raw()
    devices = {name: _row(name, facts) for name, facts in raw["target"].items()}
    platforms = {name: _row(name, {"system": name, "source": _source_of_system(name)}) for name in raw["system"]}
    alone = {name: _row(name, {**_DRIVER, "gpu": name, "source": "nvidia", **facts}) for name, facts in raw["gpu"].items()}
    return {**devices, **platforms, **alone}


def _source_of_system(name: str) -> str:
    return "android" if name.startswith("android") else "neo"


def _system(name: str) -> System:
    facts = _raw()["system"][name]
    return System(
        name=name,
        os=facts["os"],
        arch=facts["arch"],
        triple=facts["triple"],
        cpu=facts["cpu"],
        float_abi=facts.get("float_abi"),
        neo=facts.get("neo"),
        linkers=tuple(facts["linkers"]),
        how_to_link=facts["how_to_link"],
        emulator=facts.get("emulator"),
    )


def _row(name: str, facts: Mapping[str, Any]) -> Row:
    raw, system = _raw(), _system(facts["system"])
    return Row(
        name=name,
        aliases=tuple(facts.get("aliases", ())),
        neo=facts.get("neo", False),
        system=system,
        target=_target(name, system, facts),
        source=raw["sources"][facts["source"]],
        date=raw["date"],
    )


def _target(name: str, system: System, facts: Mapping[str, Any]) -> Target:
    mcpu, mattr = facts.get("cpu", system.cpu), tuple(facts.get("mattr", ()))
    unit = vector_unit(system.arch, with_attributes(system.arch, cpu_features(system.arch, mcpu), mattr))
    known, graphics = cpu_facts(mcpu), facts.get("gpu")
    precisions = gpu_precisions(graphics) if graphics else unit.precisions
    builder = facts.get("builder", "tvm")
    why_not = facts.get("why_not")
    return Target(
        name=name,
        builder="" if builder == "none" else builder,
        os=facts.get("os", system.os),
        arch=system.arch,
        processor=facts.get("words", known.get("words", mcpu)),
        mtriple=f"{system.triple}{ANDROID_API}" if system.os == "android" else system.triple,
        mcpu=mcpu,
        mattr=mattr,
        float_abi=system.float_abi,
        lanes=unit.lanes,
        vector_registers=unit.registers,
        num_cores=facts.get("cores"),
        l1d_bytes=known.get("l1d_bytes"),
        l2_bytes=facts["l2_kib"] << 10 if "l2_kib" in facts else known.get("l2_bytes"),
        precisions=tuple(facts.get("precisions", precisions)),
        gpu=gpu(graphics) if graphics else None,
        why_not=why_not,
        note=facts.get("note", ""),
    )
