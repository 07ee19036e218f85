"""Which CPUs serve, which generate load, and how many candidates may be measured side by side.

A lane is one server's cores and one generator's core, disjoint. On a machine with hyper-threads only the first thread of each
physical core is used, so that no sibling slows a server unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """`server_cpus` are as many as the largest candidate needs; a smaller one uses the first of them."""

    index: int
    server_cpus: tuple[int, ...]
    generator_cpus: tuple[int, ...]
    shared: bool = False
    """Whether some of these cores are another lane's as well, or serve and generate load at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePlan:
    """`why_screening` says why the results may only screen, None when they may rank."""

    lanes: tuple[Lane, ...]
    why_screening: str | None


def plan_lanes(cores: Sequence[Sequence[int]], server_cores: int, requested: int | None) -> LanePlan:
    """As many lanes of `server_cores` + 1 cores as the machine holds, or `requested`, overlapping if it must be.

    `cores` are the logical CPUs of each physical core. Raises UsageError when not even the server's cores exist.
    """
    cpus = [core[0] for core in cores]
    if server_cores > len(cpus):
        raise UsageError(
            f"an instance with {server_cores} cores does not fit this machine: {len(cpus)} usable; see `loadstone instances`"
        )
    if requested is not None and requested < 1:
        raise UsageError(f"--lanes {requested}: at least 1")
    width = server_cores + 1
    fitting = len(cpus) // width
    wanted = max(fitting, 1) if requested is None else requested
    lanes = tuple(_lane(index, cpus, server_cores, shared=wanted > fitting) for index in range(wanted))
    if fitting == 0:
        return LanePlan(
            lanes=lanes,
            why_screening=f"the server needs {server_cores} of {len(cpus)} cores and the load generator shares one of them",
        )
    if wanted > fitting:
        return LanePlan(
            lanes=lanes,
            why_screening=f"{wanted} lanes of {width} cores overlap on {len(cpus)} cores; {fitting} fit",
        )
    return LanePlan(lanes=lanes, why_screening=None)


def _lane(index: int, cpus: Sequence[int], server_cores: int, *, shared: bool) -> Lane:
    """Lane `index` of consecutive CPUs, wrapping around when lanes outnumber the cores."""
    width = server_cores + 1
    at = [cpus[(index * width + offset) % len(cpus)] for offset in range(width)]
    return Lane(index=index, server_cpus=tuple(at[:server_cores]), generator_cpus=(at[server_cores],), shared=shared)
