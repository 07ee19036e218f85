"""Loadstone's capacity search on one endpoint: `python -m tests.perf.peers.own_search TASK OUT`.

The task is a search's JSON (see `capacity.Search`). A closed probe, then open-loop runs at the rates the search asks for, then
the estimate over all of them; nothing but load is spent, since the endpoint is up already.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import slo as slos
from harness.capacity import CapacityFinding, ClosedPoint, OpenRun, estimate, next_run
from harness.errors import MeasurementInvalid
from harness.nouns import LoadProfile
from loadprofiles import samples
from loadprofiles.generator import Generator
from tests.perf.peers.capacity import Search
from tests.perf.peers.own_client import drive


def open_run(found: NDArray[Any], rate_per_s: float, duration_s: float) -> OpenRun:
    """The samples of one open-loop run, in the order due, as the capacity sees them."""
    good = found["outcome"] == samples.SUCCEEDED
    return OpenRun(
        start="one",
        rate_per_s=rate_per_s,
        due_ms=found["due_ns"] / 1e6,
        done_ms=np.where(good, found["done_ns"] / 1e6, np.nan),
        good=good,
        duration_s=duration_s,
    )


def probed(generator: Generator, task: Search, folder: Path) -> tuple[float, float, int]:
    """Throughput (1/s) and median service (ms) of one user in a closed loop, and its requests."""
    load = LoadProfile(arrivals="closed", duration_s=task.probe_s, seed=task.seed, users=1)
    reply, found = drive(generator, task.load, load, folder)
    good = found[found["outcome"] == samples.SUCCEEDED]
    if not len(good):
        raise MeasurementInvalid(f"none of {len(found)} requests of the closed probe was answered well")
    return len(good) / (reply.active_ns / 1e9), float(np.median(good["done_ns"] - good["sent_ns"]) / 1e6), len(found)


def search(task: Search, folder: Path) -> dict[str, Any]:
    """Raises InfrastructureError and MeasurementInvalid as the generator does, and the latter when nothing is answered."""
    slo = slos.parse(task.slo)
    runs: list[OpenRun] = []
    finding: CapacityFinding | None = None
    with Generator(None, folder / "generator.log") as generator:
        closed_per_s, service_ms, requests = probed(generator, task, folder)
        closed = (ClosedPoint(users=1, per_s=closed_per_s),)
        while True:
            probe = next_run(finding, slo, closed_per_s, budget=task.steps, service_ms=service_ms)
            if probe.rate_per_s is None:
                break
            seed = int(np.random.SeedSequence([task.seed, len(runs)]).generate_state(1)[0])
            load = LoadProfile(arrivals="poisson", duration_s=task.step_s, seed=seed, rate_per_s=probe.rate_per_s)
            _, found = drive(generator, task.load, load, folder)
            requests += len(found)
            runs.append(open_run(found, probe.rate_per_s, task.step_s))
            finding = estimate(
                runs, slo, servers=1, closed_capacity_per_s=closed_per_s, seed=task.seed, closed=closed, stop_rule=probe.reason
            )
    if finding is None:
        raise MeasurementInvalid(f"the search ended before its first run: {probe.reason}")
    said = finding.estimate.reason or f"by the {finding.method} method"
    return {**asdict(finding.estimate), "requests": requests, "note": said, "finding": finding.to_json()}


def main() -> None:
    task, out = Search.read(Path(sys.argv[1])), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        out.write_text(json.dumps(search(task, Path(name))))


if __name__ == "__main__":
    main()
