"""What stands between this machine and figures that can be trusted, and what to do about it: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.lanes import LanePlan

DISK_BYTES = 2_000_000_000
"""About what the artifacts of one model with every backend take, and the samples of a few runs."""
MEMORY_BYTES = 2_000_000_000
STEAL, BUSY = 0.01, 0.05
"""Shares of the CPU time, over the second that was watched, from which a run is likely to be called invalid."""


class State(StrEnum):
    """`OK`; `HINT`: it works, and could work better; `MISSING`: something does not work until it is done."""

    OK = "ok"
    HINT = "hint"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the check-up: `found` is what is here, `do` what to do about it, empty when nothing is."""

    what: str
    state: State
    found: str
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was seen. `cores` are the logical CPUs of each usable core; shares are of the second watched; None: not told."""

    cores: tuple[tuple[int, ...], ...]
    online_cpus: int
    quota_cpus: float | None
    governor: str | None
    virtual: bool
    steal_share: float | None
    busy_share: float | None
    memory_bytes: int
    memory_available_bytes: int
    disk_free_bytes: int
    cache: str


def machine(seen: Machine, plan: LanePlan) -> Iterator[Finding]:
    """Cores, quota, clocking, neighbours, memory and disk, in that order."""
    yield _cores(seen, plan)
    cpus = sum(map(len, seen.cores))
    if seen.quota_cpus is not None and seen.quota_cpus < cpus:
        do = "a quota stops server and generator in mid-request: pin the container (--cpuset-cpus) instead of limiting its time"
        yield Finding(what="CPU quota", state=State.HINT, found=f"{seen.quota_cpus:.3g} of {cpus} CPUs", do=do)
    else:
        yield Finding(
            what="CPU quota", state=State.OK, found="none" if seen.quota_cpus is None else f"{seen.quota_cpus:.3g} CPUs"
        )
    if any(len(core) > 1 for core in seen.cores):
        do = "only the first thread of each core is used; keep other work off the siblings, or turn SMT off"
        yield Finding(what="SMT", state=State.HINT, found=f"{max(map(len, seen.cores))} threads a core", do=do)
    else:
        yield Finding(what="SMT", state=State.OK, found="one thread a core is seen here")
    yield _governor(seen)
    yield _share(
        "steal", seen.steal_share, STEAL, "the hypervisor takes time: use a dedicated or larger instance, or bench later"
    )
    yield _share("other load", seen.busy_share, BUSY, "something else is running: stop it before a bench")
    yield _room("memory", seen.memory_available_bytes, seen.memory_bytes, MEMORY_BYTES)
    free, low = f"{seen.disk_free_bytes / 1e9:.1f} GB free", seen.disk_free_bytes < DISK_BYTES
    do = f"free space, or put it elsewhere with LOADSTONE_CACHE: {seen.cache}" if low else seen.cache
    yield Finding(what="artifact cache", state=State.HINT if low else State.OK, found=free, do=do)


def _cores(seen: Machine, plan: LanePlan) -> Finding:
    cores, cpus = len(seen.cores), sum(map(len, seen.cores))
    hidden = f" of {seen.online_cpus} CPUs online" if cpus < seen.online_cpus else ""
    found = f"{cores} core{'s' * (cores != 1)}{hidden}"
    if plan.why_screening is not None:
        do = f"screening only, since {plan.why_screening}: use two cores or more to rank"
        return Finding(what="cores", state=State.HINT, found=found, do=do)
    lanes = len(plan.lanes)
    return Finding(
        what="cores",
        state=State.OK,
        found=found,
        do=f"{lanes} lane{'s' * (lanes != 1)} of one server core and one load core; instances up to local-{cores - 1} can rank",
    )


def _governor(seen: Machine) -> Finding:
    if seen.governor in (None, "performance"):
        found = seen.governor or ("the host's, not seen from a virtual machine" if seen.virtual else "not told by the kernel")
        return Finding(what="CPU governor", state=State.OK, found=found)
    do = "clocks follow the load: sudo cpupower frequency-set -g performance"
    return Finding(what="CPU governor", state=State.HINT, found=seen.governor, do=do)


def _share(what: str, share: float | None, limit: float, do: str) -> Finding:
    if share is None:
        return Finding(
            what=what,
            state=State.HINT,
            found="not told",
            do="this kernel's /proc/stat does not say; runs cannot be checked for it",
        )
    found = f"{100 * share:.1f} % in the last second"
    return Finding(what=what, state=State.HINT if share > limit else State.OK, found=found, do=do if share > limit else "")


def _room(what: str, free: int, whole: int, least: int) -> Finding:
    found = f"{free / 1e9:.1f} of {whole / 1e9:.1f} GB available"
    do = "too little for a large model: close other programs" if free < least else ""
    return Finding(what=what, state=State.HINT if free < least else State.OK, found=found, do=do)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a part of Loadstone needs: `versions` of its packages (None: not installed), the `extra` that brings them (empty:
    the base installation), programs that must be on the PATH with how to get them."""

    what: str
    versions: tuple[tuple[str, str | None], ...]
    extra: str
    programs: tuple[tuple[str, bool, str], ...] = ()
    ready: str = ""
    """What it is for."""


def needs(all_of: Sequence[Need]) -> Iterator[Finding]:
    """A line for each part: ready, or what is missing and the command that brings it."""
    for need in all_of:
        packages = [name for name, version in need.versions if version is None]
        programs = [(name, how) for name, there, how in need.programs if not there]
        if not packages and not programs:
            said = ", ".join(f"{name} {version}" for name, version in need.versions)
            yield Finding(what=need.what, state=State.OK, found="ready", do=said or need.ready)
            continue
        install = f"loadstone[{need.extra}]" if need.extra else "loadstone"
        does = [f"pip install '{install}'"] * bool(packages) + [how for _, how in programs]
        yield Finding(
            what=need.what,
            state=State.MISSING,
            found=f"missing {', '.join(packages + [name for name, _ in programs])}",
            do="; ".join(does) + (f" ({need.ready})" if need.ready else ""),
        )
