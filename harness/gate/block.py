"""One block on the machine: several servers on the same CPUs, asked in turns by one run of the load generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from harness import observe
from harness.drive import Bay, Setting
from harness.endpoint import Endpoint
from harness.gate.schedule import LATENCY, THROUGHPUT, Turns
from harness.loadplan import IN_FLIGHT_CAP
from harness.nouns import LoadProfile, Validity
from harness.records import RunRecord
from harness.resources import Watched
from harness.statistics import nearest_rank
from loadprofiles import samples as sample_files
from loadprofiles.plan import Plan
from loadprofiles.samples import SUCCEEDED, Samples

KIND = "turns"
_OVERHEAD_S, _DRAIN_S, _TIMEOUT_S = 60.0, 5.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one version showed in one block: the latency of every request of its latency turns (infinite when lost), answers
    per second in its throughput turns, how many requests it did not answer well, and how long its server took to start."""

    latencies_ms: NDArray[np.float64]
    throughput_per_s: float
    lost: int
    start_s: float

    def quantile_ms(self, p: float) -> float:
        """By nearest rank, as everywhere."""
        return float(np.sort(self.latencies_ms)[nearest_rank(self.latencies_ms.size, p) - 1])


def drive(turns: Turns, endpoints: Sequence[Endpoint], cpus: Sequence[int], bay: Bay, setting: Setting, name: str) -> RunRecord:
    """Carry out one block; its samples are in the record's file. Raises Interrupted and what the generator raises."""
    plans, samples = setting.folder / "plans", setting.folder / "samples" / f"{name}.bin"
    plans.mkdir(exist_ok=True)
    samples.unlink(missing_ok=True)
    files = {what: plans / f"{name}.{what}.npy" for what in ("due", "target", "order")}
    np.save(files["due"], turns.offsets_ns)
    np.save(files["target"], turns.version)
    np.save(files["order"], turns.payload)
    first, *others = endpoints
    sizes = {each.response_bytes for each in endpoints}
    plan = Plan(
        host=first.host,
        port=first.port,
        also=tuple(each.port for each in others),
        path=setting.requests.path,
        headers=setting.requests.headers,
        bodies=tuple(map(str, setting.requests.bodies)),
        order=str(files["order"]),
        arrivals=str(files["due"]),
        targets=str(files["target"]) if others else None,
        samples=str(samples),
        duration_s=turns.duration_s,
        connections=IN_FLIGHT_CAP,
        in_flight_cap=IN_FLIGHT_CAP,
        own_core=not bay.lane.shared,
        drain_timeout_s=_DRAIN_S,
        request_timeout_s=_TIMEOUT_S,
        expect_body_bytes=sizes.pop() if len(sizes) == 1 else None,
    )
    watched = Watched(
        server_pid=first.pid,
        other_server_pids=tuple(each.pid for each in others if each.pid is not None),
        server_cpus=tuple(cpus),
        lane_cpus=(*bay.lane.server_cpus, *bay.lane.generator_cpus),
        generator_pid=bay.generator.pid,
        generator_cpus=bay.lane.generator_cpus,
    )
    meter = setting.workbench.meter(watched)
    try:
        reply = bay.generator.run(plan, turns.duration_s + _DRAIN_S + _TIMEOUT_S + _OVERHEAD_S, setting.cancelled)
    finally:
        use = meter.stop()
        for path in files.values():
            path.unlink(missing_ok=True)
    profile = LoadProfile(arrivals="trace", duration_s=turns.duration_s, seed=0, trace="turns of several versions")
    return RunRecord(kind=KIND, profile=profile, reply=reply, resources=use, samples=f"samples/{samples.name}")


def read(run: RunRecord, setting: Setting) -> Samples:
    return sample_files.read(setting.folder / run.samples)


def verdict(run: RunRecord, samples: Samples, setting: Setting) -> Validity:
    """Of the block as a whole: its generator, its machine and its counts are one."""
    return observe.measurement(run, samples, setting.generator_capacity_per_s).validity


def slices(run: RunRecord, samples: Samples, turns: Turns, starts_s: Sequence[float]) -> list[Slice]:
    """What each version showed, in the order of their indices."""
    offsets = samples["due_ns"] - run.reply.start_ns
    at = np.minimum(np.searchsorted(turns.offsets_ns, offsets), len(turns.offsets_ns) - 1)
    return [replace(_slice(samples, turns, at, version), start_s=start_s) for version, start_s in enumerate(starts_s)]


def _slice(samples: Samples, turns: Turns, at: NDArray[np.intp], version: int) -> Slice:
    own = turns.version[at] == version
    good = samples["outcome"] == SUCCEEDED
    waited_ms = np.where(good, (samples["done_ns"] - samples["due_ns"]) / 1e6, np.inf)
    answered, busy_ns = 0, 0
    for cycle in np.unique(turns.cycle):
        burst = samples[own & good & (turns.kind[at] == THROUGHPUT) & (turns.cycle[at] == cycle)]
        if len(burst):
            answered += len(burst)
            busy_ns += int(burst["done_ns"].max() - burst["due_ns"].min())
    return Slice(
        latencies_ms=waited_ms[own & (turns.kind[at] == LATENCY)],
        throughput_per_s=answered / busy_ns * 1e9 if busy_ns else float("nan"),
        lost=int((own & ~good).sum()),
        start_s=float("nan"),
    )
