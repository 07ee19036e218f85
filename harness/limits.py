"""What each signal of a run's timeline may reach: one table, and the function that holds a timeline against it.

A signal has up to three limits. Its mean over the window may pass `warn` or, worse, `invalid`. A single second may pass
`second`; how many may is `seconds_share` of the window's seconds. Where that share is not 0 one second is always forgiven: a
shared machine has such seconds, and in a short window the mean, which that second raises, decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.timeline import Timeline

SHARE, PER_S, MS, PPM = "%", "/s", "ms", "ppm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The limits of one signal, in its own unit (shares 0..1); None where there is none. `source` is where its figures come
    from, `said` how a broken limit is told, with {} for the figure, `name` what it is called where it was not measured."""

    signal: str
    name: str
    said: str
    unit: str
    source: str
    warn: float | None = None
    invalid: float | None = None
    second: float | None = None
    seconds_share: float = 0.1

    def seconds_allowed(self, seconds: int) -> int:
        """How many of so many seconds may pass `second`."""
        return max(1, math.floor(self.seconds_share * seconds)) if self.seconds_share else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One limit that a run broke: the figure seen, and the seconds (0-based, of the window) above the single-second limit."""

    limit: Limit
    seen: float
    allowed: float
    seconds: tuple[int, ...] = ()
    of_seconds: int = 0

    def __str__(self) -> str:
        unit = self.limit.unit
        seen, allowed = _figure(self.seen, unit), _figure(self.allowed, unit)
        if not self.seconds:
            return f"{self.limit.said.format(seen)}, limit {allowed}"
        most = self.limit.seconds_allowed(self.of_seconds)
        return (
            f"{self.limit.said.format(f'up to {seen}')} in {len(self.seconds)} of {self.of_seconds} seconds "
            f"({_listed(self.seconds)}), limit {allowed} in {f'all but {most}' if most else 'any'}"
        )


LIMITS: tuple[Limit, ...] = (
    Limit(
        # Steal of s makes services at most 1 / (1 - s) as long, so this is what keeps a run within 5 % of a quiet one.
        signal="steal",
        name="steal",
        said="the hypervisor took {} of the CPU time (steal)",
        unit=SHARE,
        source="/proc/stat",
        warn=0.005,
        invalid=0.05,
        second=0.15,
    ),
    Limit(
        signal="server_foreign",
        name="foreign CPU use",
        said="others used {} of the server's cores",
        unit=SHARE,
        source="/proc/stat less the server's own threads",
        warn=0.01,
        invalid=0.05,
        second=0.15,
    ),
    Limit(
        # What this does to the load is also seen directly, as lateness and as waiting; the harness itself runs somewhere too.
        signal="generator_foreign",
        name="foreign CPU use beside the generator",
        said="others used {} of the generator's core",
        unit=SHARE,
        source="/proc/stat less the generator's own threads",
        warn=0.05,
        invalid=0.20,
        second=0.50,
    ),
    Limit(
        signal="run_queue_wait",
        name="run-queue wait",
        said="the generator waited for its core {} of the time",
        unit=SHARE,
        source="/proc/PID/schedstat",
        warn=0.005,
        invalid=0.02,
        second=0.10,
    ),
    Limit(
        signal="generator_cpu",
        name="generator CPU",
        said="the generator was busy: {} of its core",
        unit=SHARE,
        source="process CPU clock",
        second=0.70,
        seconds_share=0.0,
    ),
    Limit(
        signal="loop_lag_ms",
        name="loop lag by the second",
        said="the generator stood still for {}",
        unit=MS,
        source="200 Hz timer in the generator's loop",
        second=100.0,
        seconds_share=0.0,
    ),
    Limit(
        signal="generator_switches",
        name="context switches of the generator",
        said="the generator was put off its core {} times a second",
        unit=PER_S,
        source="/proc/PID/task/*/status",
        warn=50.0,
        invalid=500.0,
    ),
    Limit(
        # A server's own threads put one another off its cores, so many switches need not be anybody else's doing.
        signal="server_switches",
        name="context switches of the server",
        said="the server was put off its cores {} times a second",
        unit=PER_S,
        source="/proc/PID/task/*/status",
        warn=500.0,
    ),
    Limit(
        # Of the whole machine: also other lanes' servers, whose threads wait for their own cores.
        signal="cpu_pressure",
        name="CPU pressure",
        said="others waited for a CPU {} of the time",
        unit=SHARE,
        source="/proc/pressure/cpu less what server and generator waited",
        warn=0.10,
    ),
    Limit(
        signal="memory_pressure",
        name="memory pressure",
        said="tasks waited for memory {} of the time",
        unit=SHARE,
        source="/proc/pressure/memory",
        warn=0.0,
        invalid=0.01,
    ),
    Limit(
        # Anybody's disk counts here, also the samples being written, while a loaded model reads nothing: that shows as faults.
        signal="io_pressure",
        name="I/O pressure",
        said="tasks waited for a disk {} of the time",
        unit=SHARE,
        source="/proc/pressure/io",
        warn=0.01,
    ),
    Limit(
        signal="major_faults",
        name="major faults",
        said="server and generator were read back from disk {} times a second (major faults)",
        unit=PER_S,
        source="/proc/PID/stat",
        warn=0.0,
        invalid=10.0,
    ),
    Limit(
        signal="swap_ins",
        name="swap-ins",
        said="{} pages a second came back from swap",
        unit=PER_S,
        source="/proc/vmstat",
        warn=0.0,
        invalid=100.0,
    ),
    Limit(
        signal="throttled",
        name="CPU quota",
        said="a CPU quota stopped server or generator {} times a second",
        unit=PER_S,
        source="cpu.stat nr_throttled",
        invalid=0.0,
    ),
    Limit(
        # 500 ppm is the fastest a clock is slewed; 10 ms within a second is a step, or the machine itself stood still.
        signal="clock_drift",
        name="clock drift",
        said="the wall clock moved against the monotonic one by {}",
        unit=PPM,
        source="clock_gettime",
        warn=200.0,
        second=10_000.0,
        seconds_share=0.0,
    ),
)
"""Starting values from the practice of load generation. Whoever has no figure for a signal gets no verdict from it."""


def hold(
    timelines: Sequence[Timeline], limits: Sequence[Limit] = LIMITS, means: Mapping[str, float | None] | None = None
) -> Verdict:
    """Which limits a run broke, over the seconds of its window, and which signals are not known.

    Each signal is looked up in the first timeline that has it. `means` are figures of whole runs for signals that none has. A
    signal that breaks a limit as its mean is not said again for its seconds.
    """
    broken: list[Broken] = []
    warned: list[Broken] = []
    unknown: list[str] = []
    for limit in limits:
        timeline = next((each for each in timelines if each.seconds(limit.signal)), Timeline())
        mean = timeline.mean(limit.signal)
        if mean is None and means is not None:
            mean = means.get(limit.signal)
        if mean is None:
            unknown.append(limit.name)
            continue
        found = next(_worse(limit, mean, timeline), None)
        if found is not None:
            broken.append(found)
        elif limit.warn is not None and mean > limit.warn:
            warned.append(Broken(limit=limit, seen=mean, allowed=limit.warn))
    return Verdict(broken=tuple(broken), warned=tuple(warned), unknown=tuple(unknown))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `hold` found: limits that make a run invalid, that only warn, and the names of signals nobody measured."""

    broken: tuple[Broken, ...]
    warned: tuple[Broken, ...]
    unknown: tuple[str, ...]


def _worse(limit: Limit, mean: float, timeline: Timeline) -> Iterator[Broken]:
    if limit.invalid is not None and mean > limit.invalid:
        yield Broken(limit=limit, seen=mean, allowed=limit.invalid)
    values = timeline.seconds(limit.signal)
    if limit.second is None:
        return
    if values is None:  # a figure of the whole run, in which no second can have been better than it
        if limit.invalid is None and mean > limit.second:
            yield Broken(limit=limit, seen=mean, allowed=limit.second)
        return
    above = tuple(index for index, value in enumerate(values) if value is not None and value > limit.second)
    if len(above) > limit.seconds_allowed(len(values)):
        worst = max(value for value in values if value is not None)
        yield Broken(limit=limit, seen=worst, allowed=limit.second, seconds=above, of_seconds=len(values))


def _figure(value: float, unit: str) -> str:
    return f"{value:.1%}" if unit == SHARE else f"{value:.4g} {unit}" if unit in (MS, PPM) else f"{value:.4g}"


def _listed(seconds: Sequence[int], most: int = 5) -> str:
    """Counted from 1, the first few."""
    said = ", ".join(str(second + 1) for second in seconds[:most])
    return f"{said}, …" if len(seconds) > most else said
