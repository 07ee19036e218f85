"""What the Linux kernel counts of CPUs, processes and pressure, read from /proc and the cgroups at one instant.

Counters only ever grow; what happened in between is for `harness.resources` to say. One that the kernel does not tell is None.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PRESSURES = ("cpu", "memory", "io")

_CLOCK_SPREAD_NS = 20_000
_CLOCK_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """Ticks of one CPU since boot; `total` = busy + steal + idle."""

    busy: int
    steal: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadCounters:
    """One thread: time on a CPU, time ready to run without one, and how often it was put off its CPU against its will."""

    cpu_ns: int
    wait_ns: int
    involuntary: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Everything at one instant. `threads` are by (process, thread) id, `pressure_us` the time since boot in which some
    task waited for the resource, `throttled` the periods in which a cgroup of the processes had used up its CPU quota."""

    monotonic_ns: int
    realtime_ns: int
    cpus: dict[int, CpuTimes]
    threads: dict[tuple[int, int], ThreadCounters]
    major_faults: dict[int, int]
    pressure_us: dict[str, int | None]
    swap_ins: int | None
    throttled: int | None


class Reader:
    """Reads the counters of some processes and of the machine; about 1 ms of CPU a reading with twenty threads.

    The processes' descendants are those at the time of making; `cpu.stat` files too are looked up once.
    """

    def __init__(self, pids: Iterable[int], proc: Path = PROC) -> None:
        self._proc = proc
        self.families = {pid: (pid, *_descendants(pid)) for pid in pids}
        self._pids = sorted({member for family in self.families.values() for member in family})
        self._quota_files = quota_files(self._pids, proc)
        self._threads_seen: dict[tuple[int, int], tuple[str | None, ThreadCounters | None]] = {}

    def read(self) -> Counters:
        monotonic_ns, realtime_ns = _both_clocks()
        return Counters(
            monotonic_ns=monotonic_ns,
            realtime_ns=realtime_ns,
            cpus=parse_cpus(_text(self._proc / "stat") or ""),
            threads={(pid, tid): found for pid in self._pids for tid, found in self._threads(pid)},
            major_faults={pid: faults for pid in self._pids if (faults := self._major_faults(pid)) is not None},
            pressure_us={name: parse_pressure(_text(self._proc / "pressure" / name)) for name in PRESSURES},
            swap_ins=parse_counter(_text(self._proc / "vmstat"), "pswpin"),
            throttled=self._throttled(),
        )

    def _threads(self, pid: int) -> Iterable[tuple[int, ThreadCounters]]:
        try:
            names = os.listdir(self._proc / str(pid) / "task")
        except OSError:
            return  # the process is gone
        for name in names:
            folder = f"{self._proc}/{pid}/task/{name}"
            schedstat = _text(f"{folder}/schedstat")
            before, known = self._threads_seen.get((pid, int(name)), (None, None))
            # A thread that was not given a CPU since was not put off it either; most threads of a server only wait.
            found = (
                known if schedstat is not None and schedstat == before else parse_thread(schedstat, _text(f"{folder}/status"))
            )
            if found is not None:
                self._threads_seen[pid, int(name)] = (schedstat, found)
                yield int(name), found

    def _major_faults(self, pid: int) -> int | None:
        """Field 12 of /proc/PID/stat, counted behind the command's closing bracket, which may itself hold spaces."""
        text = _text(self._proc / str(pid) / "stat")
        return None if text is None else int(text.rpartition(")")[2].split()[9])

    def _throttled(self) -> int | None:
        known = [parse_counter(_text(path), "nr_throttled") for path in self._quota_files]
        counts = [count for count in known if count is not None]
        return sum(counts) if counts else None


def parse_cpus(text: str) -> dict[int, CpuTimes]:
    """Per CPU, from /proc/stat: user nice system idle iowait irq softirq steal (guest time is inside user)."""
    times = {}
    for line in text.splitlines():
        if not line.startswith("cpu"):
            break  # the interrupts that follow fill a line of thousands
        name, *fields = line.split()
        if name != "cpu":
            user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            busy = user + nice + system + irq + softirq
            times[int(name[3:])] = CpuTimes(busy=busy, steal=steal, total=busy + idle + iowait + steal)
    return times


def parse_thread(schedstat: str | None, status: str | None) -> ThreadCounters | None:
    """From a thread's schedstat (ns on a CPU, ns waiting for one; Linux, Documentation/scheduler/sched-stats) and status."""
    fields = (schedstat or "").split()
    involuntary = parse_counter(status, "nonvoluntary_ctxt_switches:")
    if len(fields) < 2 or involuntary is None:
        return None
    return ThreadCounters(cpu_ns=int(fields[0]), wait_ns=int(fields[1]), involuntary=involuntary)


def parse_pressure(text: str | None) -> int | None:
    """The total of the `some` line in µs (Linux, Documentation/accounting/psi); None where there is no such file."""
    for line in (text or "").splitlines():
        if line.startswith("some ") and "total=" in line:
            return int(line.rpartition("total=")[2])
    return None


def parse_counter(text: str | None, name: str) -> int | None:
    """The number behind `name` in a file of such lines."""
    found = re.search(rf"^{re.escape(name)}\s+(\d+)", text or "", re.MULTILINE)
    return None if found is None else int(found[1])


def quota_files(pids: Sequence[int], proc: Path = PROC) -> tuple[Path, ...]:
    """Every cpu.stat that tells of throttling for one of the processes: of its cgroup and of all above it, version 1 or 2."""
    mounts = cpu_mounts(proc)
    found: dict[Path, None] = {}
    for pid in pids:
        for line in (_text(proc / str(pid) / "cgroup") or "").splitlines():
            _, controllers, path = line.split(":", 2)
            mount = mounts.get(2 if not controllers else 1)
            if mount is None or (controllers and "cpu" not in controllers.split(",")):
                continue
            group = mount / path.lstrip("/")
            for folder in (group, *group.parents):
                if parse_counter(_text(folder / "cpu.stat"), "nr_throttled") is not None:
                    found[folder / "cpu.stat"] = None
                if folder == mount:
                    break
    return tuple(found)


def cpu_mounts(proc: Path = PROC) -> dict[int, Path]:
    """Where the CPU controllers of cgroup version 1 and 2 are mounted, by version."""
    mounts = {}
    for line in (_text(proc / "self" / "mountinfo") or "").splitlines():
        place, _, source = line.partition(" - ")
        kind, _, options = source.partition(" ")
        if kind == "cgroup2":
            mounts[2] = Path(place.split()[4])
        elif kind == "cgroup" and "cpu" in options.split()[-1].split(","):
            mounts[1] = Path(place.split()[4])
    return mounts


def _both_clocks() -> tuple[int, int]:
    """The monotonic and the real time of one instant; read again when something came in between."""
    best: tuple[int, int, int] | None = None
    for _ in range(_CLOCK_TRIES):
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, real)
        if best[0] <= _CLOCK_SPREAD_NS:
            break
    assert best is not None
    return best[1], best[2]


def _descendants(pid: int) -> tuple[int, ...]:
    try:
        return tuple(child.pid for child in psutil.Process(pid).children(recursive=True))
    except psutil.Error:
        return ()


def _text(path: Path | str) -> str | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().decode("ascii", "replace")
    except OSError:
        return None
