"""Instance types and their prices: the catalogue file, and this machine's own slices.

The catalogue (`data/instances.csv`) holds one row per instance type with its price, the price's source and its date. A local
slice `local-k` is k cores of this machine; its price is what the user says, or the share of the nearest catalogue row.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from harness.environment import Cpu
from harness.errors import UsageError
from harness.nouns import InstanceType

_GIB = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRow:
    """One row of the catalogue; None where the source does not say."""

    name: str
    provider: str
    arch: str
    isa: str
    cpu_model: str
    vcpus: int
    memory_gib: float | None
    accelerator: str | None
    usd_per_hour: float | None
    price_source: str
    price_date: str


def load_catalogue() -> tuple[CatalogueRow, ...]:
    """Every row of the shipped catalogue, in file order."""
    with resources.files("harness").joinpath("data/instances.csv").open(encoding="utf-8") as file:
        return tuple(
            CatalogueRow(
                name=row["name"],
                provider=row["provider"],
                arch=row["arch"],
                isa=row["isa"],
                cpu_model=row["cpu_model"],
                vcpus=int(row["vcpus"]),
                memory_gib=float(row["memory_gib"]) if row["memory_gib"] else None,
                accelerator=row["accelerator"] or None,
                usd_per_hour=float(row["usd_per_hour"]) if row["usd_per_hour"] else None,
                price_source=row["price_source"],
                price_date=row["price_date"],
            )
            for row in csv.DictReader(file)
        )


def local_instance(name: str, cpu: Cpu, memory_bytes: int, price_per_hour: float | None) -> InstanceType:
    """The slice `local-k` of this machine, priced by the user or by `nearest_row`.

    Raises UsageError for a name that is not local-1 … local-N with N the number of cores.
    """
    names = [f"local-{cores}" for cores in range(1, cpu.cores + 1)]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names[:3]
        raise UsageError(
            f"unknown instance {name!r}: this machine offers {names[0]} … {names[-1]} (nearest: {', '.join(near)}); "
            "other instance types are reached through an endpoint of theirs"
        )
    cores = int(name.removeprefix("local-"))
    vcpus = cores * cpu.threads_per_core
    share = memory_bytes * cores // cpu.cores
    if price_per_hour is not None:
        return InstanceType(
            name=name,
            vcpus=vcpus,
            memory_bytes=share,
            usd_per_hour=price_per_hour,
            price_basis="given on the command line",
            price_source="--price-per-hour",
            price_date="",
        )
    row, why = nearest_row(cpu, load_catalogue())
    if row is None or row.usd_per_hour is None:
        return InstanceType(
            name=name, vcpus=vcpus, memory_bytes=share, usd_per_hour=None, price_basis=why, price_source="", price_date=""
        )
    return InstanceType(
        name=name,
        vcpus=vcpus,
        memory_bytes=share,
        usd_per_hour=row.usd_per_hour * vcpus / row.vcpus,
        price_basis=f"{vcpus}/{row.vcpus} of {row.name} on demand, {why}",
        price_source=row.price_source,
        price_date=row.price_date,
    )


def nearest_row(cpu: Cpu, rows: Sequence[CatalogueRow]) -> tuple[CatalogueRow | None, str]:
    """The smallest priced, non-burstable, CPU-only cloud row of the nearest processor, and why it is the nearest.

    Nearness is, in this order: same architecture (required), same vendor, same widest instruction set, compute-optimised
    family, fewest vCPUs.
    """
    fit = [
        row
        for row in rows
        if row.provider == "aws"
        and row.arch == cpu.arch
        and row.usd_per_hour is not None
        and row.accelerator is None
        and row.isa
        and not row.name.startswith(("t2", "t3", "t4", "lambda", "serverless"))
    ]
    if not fit:
        return None, f"the catalogue has no priced {cpu.arch} instance; give --price-per-hour"

    def distance(row: CatalogueRow) -> tuple[bool, int, bool, int, float]:
        return (
            vendor_of(row.cpu_model) != cpu.vendor,
            abs(isa_level(row.isa) - isa_level(cpu.isa)),
            not row.name.startswith("c"),
            row.vcpus,
            row.usd_per_hour or 0.0,
        )

    best = min(fit, key=distance)
    same = [
        what
        for what, agrees in (
            ("vendor", vendor_of(best.cpu_model) == cpu.vendor),
            ("instruction set", isa_level(best.isa) == isa_level(cpu.isa)),
        )
        if agrees
    ]
    return best, f"the nearest by {' and '.join(same)}" if same else "no row of this vendor or instruction set"


def vendor_of(cpu_model: str) -> str:
    """`intel`, `amd` or `arm`, from a CPU's marketing name."""
    text = cpu_model.lower()
    if "intel" in text or "xeon" in text:
        return "intel"
    if "amd" in text or "epyc" in text or "ryzen" in text:
        return "amd"
    return "arm"


def isa_level(isa: str) -> int:
    """How wide the vector units are, as a rank within one architecture: NEON 0, AVX2 1, AVX-512 2, VNNI 3, AMX 4, SVE 2."""
    text = isa.upper()
    for level, mark in ((4, "AMX"), (3, ") VNNI"), (2, "AVX-512"), (1, "AVX2"), (3, "SVE2"), (2, "SVE")):
        if mark in text:
            return level
    return 0
