"""What a run cost the machine: the server's CPU and memory, and what others took from the same cores.

Read from /proc at the start and the end of a run, memory also once a second between. Linux only; a figure the kernel does not
give is None.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUse:
    """Over one run: `server_cpu_s` of the server and its children, `steal_share` of the lane's CPU time taken by the
    hypervisor, `foreign_share` of the server's CPUs used by anybody else. Shares are 0..1 of one run's CPU time."""

    wall_s: float
    server_cpus: int
    server_cpu_s: float | None
    peak_rss_bytes: int | None
    steal_share: float | None
    foreign_share: float | None


class ResourceMeter:
    """Meters one process on `server_cpus` between `start` and `stop`."""

    def __init__(self, pid: int, server_cpus: Sequence[int], lane_cpus: Sequence[int]) -> None:
        self._pid, self._server_cpus, self._lane_cpus = pid, tuple(server_cpus), tuple(lane_cpus)
        self._peak_rss: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> ResourceMeter:
        self._begin = (time.monotonic(), _cpu_times(), _process_cpu_s(self._pid))
        self._thread.start()
        return self

    def stop(self) -> ResourceUse:
        self._ended.set()
        self._thread.join()
        self._sample_memory()
        start, before, cpu_before = self._begin
        after, cpu_after = _cpu_times(), _process_cpu_s(self._pid)
        wall_s = time.monotonic() - start
        server_cpu_s = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
        return ResourceUse(
            wall_s=wall_s,
            server_cpus=len(self._server_cpus),
            server_cpu_s=server_cpu_s,
            peak_rss_bytes=self._peak_rss,
            steal_share=_steal_share(before, after, self._lane_cpus),
            foreign_share=_foreign_share(before, after, self._server_cpus, server_cpu_s, wall_s),
        )

    def _watch(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            self._sample_memory()

    def _sample_memory(self) -> None:
        try:
            rss = psutil.Process(self._pid).memory_info().rss
        except psutil.NoSuchProcess:
            return
        self._peak_rss = max(rss, self._peak_rss or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CpuTimes:
    """Ticks of one CPU since boot."""

    busy: int
    steal: int
    total: int


def _cpu_times() -> dict[int, _CpuTimes]:
    """Per CPU, from /proc/stat: user nice system idle iowait irq softirq steal (guest time is inside user)."""
    times = {}
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    for line in lines:
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in fields[:8])
            busy = user + nice + system + irq + softirq
            times[int(name[3:])] = _CpuTimes(busy=busy, steal=steal, total=busy + idle + iowait + steal)
    return times


def _steal_share(before: dict[int, _CpuTimes], after: dict[int, _CpuTimes], cpus: Sequence[int]) -> float | None:
    total = sum(after[cpu].total - before[cpu].total for cpu in cpus if cpu in before and cpu in after)
    if total <= 0:
        return None
    return sum(after[cpu].steal - before[cpu].steal for cpu in cpus if cpu in before and cpu in after) / total


def _foreign_share(
    before: dict[int, _CpuTimes],
    after: dict[int, _CpuTimes],
    cpus: Sequence[int],
    server_cpu_s: float | None,
    wall_s: float,
) -> float | None:
    """Busy time of the server's CPUs that was not the server's, as a share of the time there was."""
    if server_cpu_s is None or wall_s <= 0 or any(cpu not in before or cpu not in after for cpu in cpus):
        return None
    busy_s = sum(after[cpu].busy - before[cpu].busy for cpu in cpus) / _TICKS_PER_S
    return max(0.0, busy_s - server_cpu_s) / (wall_s * len(cpus))


def _process_cpu_s(pid: int) -> float | None:
    """CPU seconds of a process, its ended and its living children; None when it is gone."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        return float(own + sum(sum(child.cpu_times()[:2]) for child in process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return None
