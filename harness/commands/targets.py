"""The command that lists what a model can be compiled for."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from compilers.targets import Target, tvm_target
from compilers.targets.reach import Here, features, look, reach
from compilers.targets.table import Row, rows
from harness.errors import UsageError

_ARCHS = ("x86_64", "x86", "arm64", "armv7", "cuda", "neuron")
_NOTE = (
    "vectors: registers x fp32 lanes. builds: whether code can be made and linked here. What runs here or under an emulator is "
    "compared with the reference; the rest is made unchecked and says so. All facts and sources are in --json."
)


def targets(arch: str | None, *, as_json: bool) -> int:
    """This machine first, then every row of the table, or those of one architecture."""
    if arch is not None and arch not in _ARCHS:
        near = difflib.get_close_matches(arch, _ARCHS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"unknown architecture {arch!r}: {hint}there are {', '.join(_ARCHS)}")
    here = look()
    found = [_row(None, here.host, here), *(_row(row, row.target, here) for row in rows().values())]
    chosen = [each for each in found if arch is None or _is_of(each, arch)]
    if as_json:
        print(json.dumps(chosen, indent=1))
        return 0
    _print(chosen)
    return 0


def _print(chosen: Sequence[Mapping[str, Any]]) -> None:
    """A table, and below it what each number in the column `builds` stands for: many rows need the same."""
    table = Table(box=None, pad_edge=False)
    for title in ("target", "system", "processor", "vectors", "computes in", "builds", "runs"):
        table.add_column(title, overflow="fold", no_wrap=title in ("target", "system", "processor", "vectors"))
    obstacles = dict.fromkeys(row["builds"] for row in chosen if row["builds"] != "yes")
    numbers = {builds: number for number, builds in enumerate(obstacles, 1)}
    for row in chosen:
        table.add_row(*_cells(row, numbers))
    console = Console()
    console.print(table)
    for builds, number in numbers.items():
        console.print(f"({number}) {builds}", highlight=False, markup=False)
    console.print(_NOTE, highlight=False)


def _row(row: Row | None, target: Target, here: Here) -> dict[str, Any]:
    """One target with all that is known of it, as JSON values; `row` is None for this machine."""
    reached = reach(target, here)
    facts = asdict(target)
    options = facts.pop("options")
    return {
        **facts,
        "why_not": reached.never,
        "options": dict(options),
        "features": sorted(features(target)),
        "aliases": list(row.aliases) if row else [],
        "neo": row.neo if row else False,
        "tvm_target": tvm_target(target) if target.builder == "tvm" else None,
        "builds": reached.builds,
        "linker": reached.linker,
        "runs": reached.runs or None,
        "why_not_here": reached.run_needs,
        "source": row.source if row else "/proc/cpuinfo and /sys/devices/system/cpu",
        "date": row.date if row else None,
    }


def _is_of(row: Mapping[str, Any], arch: str) -> bool:
    if arch == "cuda":
        return row["gpu"] is not None
    if arch == "neuron":
        return bool(row["builder"] == "neuron")
    return bool(row["arch"] == arch)


def _cells(row: Mapping[str, Any], numbers: Mapping[str, int]) -> tuple[str, ...]:
    cpu = row["mcpu"] if row["num_cores"] is None else f"{row['num_cores']} x {row['mcpu']}"
    builds: str = row["builds"]
    return (
        "\n".join((row["name"], *(f"= {alias}" for alias in row["aliases"]))),
        f"{row['os']} {row['arch']}",
        "\n".join((cpu, *row["mattr"], *([row["gpu"]["arch"]] if row["gpu"] else []))),
        f"{row['vector_registers']} x {row['lanes']}",
        " ".join(row["precisions"]),
        f"{builds.split(maxsplit=1)[0].rstrip(':')} ({numbers[builds]})" if builds in numbers else builds,
        row["runs"] or "",
    )
