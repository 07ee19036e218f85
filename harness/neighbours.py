"""The interference test on the machine itself: one candidate served in every lane, the first lane measured alone and beside
the others under load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from harness import measurement as measuring
from harness import observe
from harness.drive import Bay, Driver, Setting
from harness.interference import ORDER, Interference, Slice, judge
from harness.nouns import Candidate, Failure, LoadProfile
from harness.reached.nouns import Servable
from harness.records import CLOSED, RunRecord
from harness.visit import server_cpus

SLICE_S = 3.0
QUADRUPLES = 4


def measure(
    candidate: Candidate, artifact: Servable, bays: Sequence[Bay], setting: Setting, pool: ThreadPoolExecutor
) -> Interference:
    """Serve `candidate` in all lanes (at least two), load them in ABBA slices with closed loops, and leave nothing running.

    `pool` has a thread for each lane. A server that does not start decides for serial. Raises Interrupted when cancelled.
    """
    with ExitStack() as stack:
        drivers = []
        for bay in bays:
            found = stack.enter_context(_serving(candidate, artifact, bay, setting))
            if isinstance(found, Failure):
                return judge((), f"{candidate.id} did not start in lane {bay.lane.index}: {found.reason}")
            drivers.append(found)
        slices = []
        for number, letter in enumerate(ORDER * QUADRUPLES):
            beside = letter == "B"
            setting.now(f"testing lanes for interference, slice {number + 1} of {len(ORDER) * QUADRUPLES}")
            loaded = drivers if beside else drivers[:1]
            runs = list(pool.map(partial(_drive, candidate, number), loaded))
            slices.append(_slice(drivers[0], runs[0], beside=beside))
            for driver, run in zip(loaded, runs, strict=True):
                driver.discard(run)
    return judge(slices)


@contextmanager
def _serving(candidate: Candidate, artifact: Servable, bay: Bay, setting: Setting) -> Iterator[Driver | Failure]:
    """A driver on a server of its own, which is stopped at the end, or why the server did not start."""
    index, cpus = bay.lane.index, server_cpus(candidate, bay)
    log = setting.folder / "logs" / f"interference-{index}.log"
    endpoint = setting.workbench.serve(
        candidate, artifact, setting.model_folder, setting.requests, cpus, log, setting.cancelled
    )
    if isinstance(endpoint, Failure):
        yield endpoint
        return
    try:
        yield Driver(
            name=f"interference-{index}",
            endpoint=endpoint,
            server_cpus=cpus,
            bay=bay,
            setting=setting,
            patience_s=SLICE_S,
        )
    finally:
        endpoint.stop()


def _drive(candidate: Candidate, number: int, driver: Driver) -> RunRecord:
    load = LoadProfile(arrivals="closed", duration_s=SLICE_S, seed=number, users=candidate.workers)
    return driver.drive(CLOSED, load, number)


def _slice(driver: Driver, run: RunRecord, *, beside: bool) -> Slice:
    samples = driver.samples(run)
    seconds = run.reply.active_ns / 1e9
    return Slice(
        beside=beside,
        service_ms=observe.median_service_ms(samples),
        throughput_per_s=measuring.counts(samples).succeeded / seconds if seconds > 0 else 0.0,
    )
