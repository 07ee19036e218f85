"""What a run cost the machine, and what others took from it meanwhile, second by second.

The kernel's counters are read once a second and their differences kept. Linux only; a figure the kernel does not give is None.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from harness.kernel import TICKS_PER_S, Counters, Reader
from harness.timeline import Timeline

_PERIOD_S = 1.0
_SHORTEST_S = 0.2
"""A last interval shorter than this says nothing: CPU time is counted in ticks of 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceUse:
    """Over one run: `server_cpu_s` of the server and its children, `steal_share` of the lane's CPU time taken by the
    hypervisor, `foreign_share` of the server's CPUs used by anybody else. Shares are 0..1 of one run's CPU time.

    `seconds` is what `interval` saw, second by second; None when nobody watched.
    """

    wall_s: float
    server_cpus: int
    server_cpu_s: float | None
    peak_rss_bytes: int | None
    steal_share: float | None
    foreign_share: float | None
    seconds: Timeline | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Whom a meter watches: the server (process and CPUs), the CPUs of its lane, and the generator if it is on this machine."""

    server_pid: int | None
    """None where the server is not on this machine."""
    server_cpus: tuple[int, ...]
    lane_cpus: tuple[int, ...]
    other_server_pids: tuple[int, ...] = ()
    """Servers that take turns with the first on its CPUs; what they use is no foreign use."""
    generator_pid: int | None = None
    generator_cpus: tuple[int, ...] = ()


class ResourceMeter:
    """Meters one process on `server_cpus` between `start` and `stop`, and the load generator beside it when it is named."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._peak_rss: int | None = None
        self._rows: list[dict[str, float | None]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> ResourceMeter:
        watched = self._watched
        servers = (watched.server_pid, *watched.other_server_pids)
        self._reader = Reader([pid for pid in (*servers, watched.generator_pid) if pid is not None])
        self._cpu_before = _servers_cpu_s(watched)
        self._first = self._last = self._reader.read()
        self._edges = [self._first.monotonic_ns]
        self._thread.start()
        return self

    def stop(self) -> ResourceUse:
        self._ended.set()
        self._thread.join()
        self._sample_memory()
        after, cpu_after, watched = self._reader.read(), _servers_cpu_s(self._watched), self._watched
        if after.monotonic_ns - self._last.monotonic_ns >= _SHORTEST_S * 1e9:
            self._keep(after)
        wall_s = (after.monotonic_ns - self._first.monotonic_ns) / 1e9
        server_cpu_s = None if self._cpu_before is None or cpu_after is None else cpu_after - self._cpu_before
        foreign = _busy_share(self._first, after, watched.server_cpus)
        if foreign is not None:
            foreign = None if server_cpu_s is None else max(0.0, foreign - server_cpu_s / (wall_s * len(watched.server_cpus)))
        return ResourceUse(
            wall_s=wall_s,
            server_cpus=len(watched.server_cpus),
            server_cpu_s=server_cpu_s,
            peak_rss_bytes=self._peak_rss,
            steal_share=_steal_share(self._first, after, watched.lane_cpus),
            foreign_share=foreign,
            seconds=Timeline.of(self._edges, self._rows),
        )

    def _watch(self) -> None:
        _give_way()
        due = time.monotonic() + _PERIOD_S
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self._keep(self._reader.read())
            self._sample_memory()
            due = max(due + _PERIOD_S, time.monotonic())

    def _keep(self, now: Counters) -> None:
        self._rows.append(interval(self._last, now, self._watched, self._reader.families))
        self._edges.append(now.monotonic_ns)
        self._last = now

    def _sample_memory(self) -> None:
        if self._watched.server_pid is None:
            return
        try:
            rss = psutil.Process(self._watched.server_pid).memory_info().rss
        except psutil.NoSuchProcess:
            return
        self._peak_rss = max(rss, self._peak_rss or 0)


def interval(
    before: Counters, after: Counters, watched: Watched, families: dict[int, tuple[int, ...]]
) -> dict[str, float | None]:
    """The signals between two readings; shares are 0..1, of one CPU where not said otherwise, and rates per second.

    `steal` is of the lane's CPU time, `server_cpu` of the server's. `..._foreign` is the busy time of the server's or the
    generator's CPUs that is neither's own; it can come out just below zero, since the kernel counts CPUs in ticks and threads
    in ns. `cpu_pressure` is the time in which some task waited for a CPU, less what server and generator waited themselves.
    """
    wall_s = (after.monotonic_ns - before.monotonic_ns) / 1e9
    servers = (watched.server_pid or -1, *watched.other_server_pids)
    server = _process(before, after, [member for pid in servers for member in families.get(pid, ())])
    generator = _process(before, after, families.get(watched.generator_pid or -1, ()))
    waited_s = (server.wait_s if server else 0.0) + (generator.wait_s if generator else 0.0)
    pressure = {name: _grown(before.pressure_us[name], after.pressure_us[name]) for name in after.pressure_us}
    cpu_pressure = pressure.get("cpu")
    faults = [after.major_faults[pid] - before.major_faults.get(pid, 0) for pid in after.major_faults]
    swap_ins, throttled = _grown(before.swap_ins, after.swap_ins), _grown(before.throttled, after.throttled)
    clocks_ns = (after.realtime_ns - before.realtime_ns) - (after.monotonic_ns - before.monotonic_ns)
    return {
        "steal": _steal_share(before, after, watched.lane_cpus),
        "server_cpu": None if server is None else server.cpu_s / (wall_s * max(1, len(watched.server_cpus))),
        "generator_cpu": None if generator is None else generator.cpu_s / wall_s,
        "server_foreign": _foreign(before, after, watched.server_cpus, watched.generator_cpus, server, generator, wall_s),
        "generator_foreign": _foreign(before, after, watched.generator_cpus, watched.server_cpus, generator, server, wall_s),
        "server_wait": None if server is None else server.wait_s / wall_s,
        "generator_wait": None if generator is None else generator.wait_s / wall_s,
        "server_switches": None if server is None else server.involuntary / wall_s,
        "generator_switches": None if generator is None else generator.involuntary / wall_s,
        "cpu_pressure": None if cpu_pressure is None else max(0.0, cpu_pressure / 1e6 - waited_s) / wall_s,
        "memory_pressure": _per(pressure.get("memory"), wall_s * 1e6),
        "io_pressure": _per(pressure.get("io"), wall_s * 1e6),
        "major_faults": sum(faults) / wall_s if faults else None,
        "swap_ins": _per(swap_ins, wall_s),
        "throttled": _per(throttled, wall_s),
        "clock_drift": abs(clocks_ns) / (wall_s * 1e3),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    """What a process and its children did in an interval, all threads together."""

    cpu_s: float
    wait_s: float
    involuntary: int


def _process(before: Counters, after: Counters, family: Sequence[int]) -> _Process | None:
    """A thread that ended in the interval is left out: what it did last is not told."""
    cpu_ns = wait_ns = involuntary = 0
    seen = False
    for key, now in after.threads.items():
        if key[0] in family:
            seen, then = True, before.threads.get(key)
            cpu_ns += now.cpu_ns - (then.cpu_ns if then else 0)
            wait_ns += now.wait_ns - (then.wait_ns if then else 0)
            involuntary += now.involuntary - (then.involuntary if then else 0)
    return _Process(cpu_s=cpu_ns / 1e9, wait_s=wait_ns / 1e9, involuntary=involuntary) if seen else None


def _foreign(
    before: Counters,
    after: Counters,
    cpus: Sequence[int],
    others_cpus: Sequence[int],
    owner: _Process | None,
    other: _Process | None,
    wall_s: float,
) -> float | None:
    busy = _busy_share(before, after, cpus)
    if busy is None or owner is None:
        return None
    own_s = owner.cpu_s + (other.cpu_s if other and set(cpus) & set(others_cpus) else 0.0)
    return busy - own_s / (wall_s * len(cpus))


def _busy_share(before: Counters, after: Counters, cpus: Sequence[int]) -> float | None:
    """Share of the CPUs' time in which they ran anything at all."""
    wall_s = (after.monotonic_ns - before.monotonic_ns) / 1e9
    if not cpus or wall_s <= 0 or any(cpu not in before.cpus or cpu not in after.cpus for cpu in cpus):
        return None
    return sum(after.cpus[cpu].busy - before.cpus[cpu].busy for cpu in cpus) / TICKS_PER_S / (wall_s * len(cpus))


def _steal_share(before: Counters, after: Counters, cpus: Sequence[int]) -> float | None:
    both = [(before.cpus[cpu], after.cpus[cpu]) for cpu in dict.fromkeys(cpus) if cpu in before.cpus and cpu in after.cpus]
    total = sum(now.total - then.total for then, now in both)
    return sum(now.steal - then.steal for then, now in both) / total if total > 0 else None


def _grown(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _per(amount: float | None, unit: float) -> float | None:
    return None if amount is None else amount / unit


def _give_way() -> None:
    """Have this thread take no CPU from what it watches: a reading can wait for an idle moment."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    except OSError:
        pass  # not allowed here, or no such thing: then it reads at once


def _servers_cpu_s(watched: Watched) -> float | None:
    known = [_process_cpu_s(pid) for pid in (watched.server_pid, *watched.other_server_pids)]
    return None if any(each is None for each in known) else sum(each for each in known if each is not None)


def _process_cpu_s(pid: int | None) -> float | None:
    """CPU seconds of a process, its ended and its living children; None when it is gone or nobody's."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        own = times.user + times.system + times.children_user + times.children_system
        return float(own + sum(sum(child.cpu_times()[:2]) for child in process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return None
