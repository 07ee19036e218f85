"""This machine's slices as instances, priced by the user or by the share of the nearest catalogue row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from harness.catalogue.nouns import CatalogueRow
from harness.catalogue.processors import family_of, isa_level, vendor_of
from harness.catalogue.sources import load_catalogue
from harness.environment import Cpu
from harness.errors import UsageError
from harness.nouns import InstanceType


def local_instance(
    name: str, cpu: Cpu, memory_bytes: int, price_per_hour: float | None, rows: Sequence[CatalogueRow] | None = None
) -> InstanceType:
    """The slice `local-k` of this machine, priced by the user or by `nearest_row` of `rows` (default: the whole catalogue).

    Raises UsageError for a name that is not local-1 … local-N with N the number of cores.
    """
    names = [f"local-{cores}" for cores in range(1, cpu.cores + 1)]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or names[:3]
        raise UsageError(
            f"unknown instance {name!r}: this machine offers {names[0]} … {names[-1]} (nearest: {', '.join(near)}); "
            "other instance types are reached with --endpoint NAME=URL,instance=TYPE or projected with --project TYPE"
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
    row, why = nearest_row(cpu, load_catalogue() if rows is None else rows)
    if row is None or row.usd_per_hour is None or row.vcpus is None:
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
        spot_usd_per_hour=None if row.spot_usd_per_hour is None else row.spot_usd_per_hour * vcpus / row.vcpus,
    )


def nearest_row(cpu: Cpu, rows: Sequence[CatalogueRow]) -> tuple[CatalogueRow | None, str]:
    """The smallest priced, non-burstable, CPU-only EC2 row of the nearest processor, and why it is the nearest.

    Nearness is, in this order: same architecture (required), same family of processors, same vendor, same widest instruction
    set, compute-optimised type, fewest vCPUs.
    """
    fit = [
        row
        for row in rows
        if row.service == "ec2"
        and row.arch == cpu.arch
        and row.usd_per_hour is not None
        and row.vcpus is not None
        and row.accelerator is None
        and row.isa
        and not row.burstable
    ]
    if not fit:
        return None, f"the catalogue has no priced {cpu.arch} instance; give --price-per-hour"
    family = family_of(cpu.model)

    def distance(row: CatalogueRow) -> tuple[bool, bool, int, bool, int, float]:
        return (
            not family or family_of(row.cpu_model) != family,
            vendor_of(row.cpu_model) != cpu.vendor,
            abs(isa_level(row.isa) - isa_level(cpu.isa)),
            not row.name.startswith("c"),
            row.vcpus or 0,
            row.usd_per_hour or 0.0,
        )

    best = min(fit, key=distance)
    if family and family_of(best.cpu_model) == family:
        return best, f"of the same processor family, {family}"
    same = [
        what
        for what, agrees in (
            ("vendor", vendor_of(best.cpu_model) == cpu.vendor),
            ("instruction set", isa_level(best.isa) == isa_level(cpu.isa)),
        )
        if agrees
    ]
    return best, f"the nearest by {' and '.join(same)}" if same else "no row of this vendor or instruction set"


def local_row(instance: InstanceType, cpu: Cpu) -> CatalogueRow:
    """A slice in the catalogue's words, for listing beside its rows."""
    return CatalogueRow(
        name=instance.name,
        provider="local",
        service="local",
        arch=cpu.arch,
        isa=cpu.isa,
        cpu_model=cpu.model,
        cpu_confidence="high",
        vcpus=instance.vcpus,
        physical_cores=instance.vcpus // cpu.threads_per_core,
        memory_gib=instance.memory_bytes / 2**30,
        usd_per_hour=instance.usd_per_hour,
        price_source=f"{instance.price_basis}; {instance.price_source}" if instance.price_source else instance.price_basis,
        price_date=instance.price_date,
    )
