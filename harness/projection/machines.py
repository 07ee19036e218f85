"""This machine and catalogue rows as hardware of the projection, or why one of them cannot be projected onto. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from harness.catalogue import CatalogueRow
from harness.catalogue.nouns import EDGE
from harness.catalogue.processors import family_of, hybrid
from harness.environment import Cpu
from harness.projection.nouns import CPU, FP16, FP32, GPU, INT8, Hardware

PER_CYCLE = {
    "sse": (8, 16),
    "avx2": (32, 64),
    "avx512": (64, 128),
    "avx512 vnni": (64, 256),
    "amx": (64, 2048),
    "neon": (8, 16),
    "neon dotprod": (16, 64),
    "sve": (32, 128),
}
"""FLOPs of fp32 and operations of int8 a cycle and core, with two units where an instruction set may have one or two."""
NARROW = {"zen4": (32, 128)}
"""Families that run AVX-512 on units half as wide."""


def isa_class(isa: str) -> str:
    """The catalogue's words for instruction sets as a class of `PER_CYCLE`; empty when there is none."""
    text = isa.upper()
    for found, marks in (
        ("amx", ("AMX",)),
        ("avx512 vnni", (") VNNI",)),
        ("avx512", ("AVX-512",)),
        ("avx2", ("AVX2",)),
        ("sve", ("SVE",)),
        ("neon dotprod", ("DOTPROD",)),
        ("neon", ("NEON",)),
    ):
        if any(mark in text for mark in marks):
            return found
    return ""


def here(cpu: Cpu, clock_ghz: float | None, cpu_family: int | None, rows: Sequence[CatalogueRow]) -> Hardware | str:
    """One core of this machine. Clock and memory are those of the catalogue's row of the same family, where there is one: a
    hypervisor's clock says little about the turbo."""
    if hybrid(cpu.model):
        return f"{cpu.model} has cores of several kinds, and which of them a measurement got is not known"
    isa = isa_class(cpu.isa)
    if not isa:
        return f"the instruction set {cpu.isa or 'of this machine'} has no published results"
    family = family_of(cpu.model) or ("zen5" if cpu.vendor == "amd" and cpu_family == 26 else "")
    like = [row for row in rows if family and family_of(row.cpu_model) == family and row.clock_ghz and row.service == "ec2"]
    clock = like[0].clock_ghz if like else clock_ghz
    if clock is None:
        return "the clock of this machine is not known"
    fp32, int8 = NARROW.get(family, PER_CYCLE[isa])
    bandwidth = next(
        (row.memory_gb_per_s / row.physical_cores for row in like if row.memory_gb_per_s and row.physical_cores), None
    )
    source = f"clock of {like[0].name}" if like else "clock as the kernel states it"
    return Hardware(
        name=f"one core of {cpu.model}",
        kind=CPU,
        family=family,
        peaks={FP32: clock * fp32, INT8: clock * int8},
        isa=isa,
        gb_per_s=bandwidth,
        notes=(f"here: {clock:g} GHz ({source}), {fp32} fp32 FLOPs a cycle",),
    )


def there(row: CatalogueRow) -> Hardware | str:
    """An instance type, or in one line why it is refused."""
    if row.burstable:
        return f"{row.name} is burstable: how fast it is depends on the credits it has left, which no roofline knows"
    if hybrid(row.cpu_model):
        return f"{row.name} has cores of several kinds ({row.cpu_model}), and which of them serve is not known"
    if row.accelerator is not None:
        return _accelerated(row)
    isa = isa_class(row.isa) or {"cortex-a72": "neon"}.get(family_of(row.cpu_model), "")
    if not isa or row.physical_cores is None or row.cpu_fp32_gflops is None:
        return f"the catalogue does not know what the CPUs of {row.name} compute ({row.cpu_model or 'no model'})"
    notes = []
    if " or " in row.cpu_model:
        notes.append(f"the fleet is mixed: {row.cpu_model}")
    if row.cpu_confidence == "low":
        notes.append(f"that its CPU is {row.cpu_model} is inferred")
    return Hardware(
        name=row.name,
        kind=CPU,
        family=family_of(row.cpu_model),
        peaks={
            FP32: row.cpu_fp32_gflops,
            INT8: row.cpu_int8_gops or row.cpu_fp32_gflops * PER_CYCLE[isa][1] / PER_CYCLE[isa][0],
        },
        isa=isa,
        cores=row.physical_cores,
        gb_per_s=row.memory_gb_per_s,
        notes=tuple(notes),
    )


def _accelerated(row: CatalogueRow) -> Hardware | str:
    name = row.accelerator or ""
    if not name.startswith("NVIDIA") or row.service == EDGE:
        return f"{row.name} has {name}, on which no projection was validated; reach one with --endpoint"
    if row.accelerator_fp16_tflops is None or row.accelerator_gb_per_s is None:
        return f"the catalogue does not know what {name} computes"
    peaks = {FP16: 1e3 * row.accelerator_fp16_tflops}
    peaks |= {FP32: 1e3 * row.accelerator_fp32_tflops} if row.accelerator_fp32_tflops else {}
    peaks |= {INT8: 1e3 * row.accelerator_int8_tops} if row.accelerator_int8_tops else {}
    notes = [] if row.accelerators in (None, 1) else [f"one server on each of its {row.accelerators} accelerators"]
    return Hardware(
        name=name,
        kind=GPU,
        family="",
        peaks=peaks,
        cores=row.accelerators or 1,
        gb_per_s=row.accelerator_gb_per_s,
        notes=tuple(notes),
    )
