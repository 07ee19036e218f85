"""Loadstone's generator as a tool among others: `python -m tests.perf.peers.own_client TASK OUT`."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.loadplan import IN_FLIGHT_CAP
from harness.nouns import LoadProfile
from harness.statistics import quantile
from loadprofiles import samples, schedule
from loadprofiles.generator import Generator
from loadprofiles.plan import Plan, Reply
from tests.perf.peers.task import QUANTILES, Said, Task

OPEN_LIMIT = 4 * IN_FLIGHT_CAP
"""Requests that may wait at a time: a stall of 1 s at 100/s holds 100."""


def drive(generator: Generator, task: Task, load: LoadProfile, folder: Path) -> tuple[Reply, NDArray[Any]]:
    """Run one load on the task's endpoint; its samples, in the order due. Raises InfrastructureError, MeasurementInvalid."""
    offsets = schedule.arrivals(load) if load.open_loop else np.zeros(1, np.int64)
    due, order, record = folder / "due.npy", folder / "order.npy", folder / "samples.bin"
    np.save(due, offsets)
    np.save(order, schedule.payload_order(load.seed, len(offsets), 1))
    record.unlink(missing_ok=True)
    plan = Plan(
        host=task.host,
        port=task.port,
        path=task.path,
        headers=task.headers,
        bodies=(task.body,),
        order=str(order),
        samples=str(record),
        duration_s=load.duration_s,
        connections=load.users or OPEN_LIMIT,
        users=load.users,
        arrivals=str(due) if load.open_loop else None,
        in_flight_cap=OPEN_LIMIT if load.open_loop else None,
    )
    reply = generator.run(plan, load.duration_s + plan.drain_timeout_s + plan.request_timeout_s + 10)
    found = samples.read(record)
    return reply, found[np.argsort(found["due_ns"], kind="stable")]


def said(found: NDArray[Any]) -> Said:
    """Latency from due, over all requests; one that was not answered well counts as infinitely slow."""
    good = found[found["outcome"] == samples.SUCCEEDED]
    bad = len(found) - len(good)
    latency_ms = (good["done_ns"] - good["due_ns"]) / 1e6
    figures = {name: quantile(latency_ms, share, failures=bad) for name, share in QUANTILES.items()}
    withheld = [f"{name}: {figure.reason}" for name, figure in figures.items() if figure.reason is not None]
    return Said(
        latency_ms={name: figure.value for name, figure in figures.items()},
        requests=len(found),
        failures=bad,
        note="; ".join(withheld) or None,
    )


def main() -> None:
    task, out = Task.read(Path(sys.argv[1])), Path(sys.argv[2])
    load = LoadProfile(arrivals=task.arrivals, duration_s=task.duration_s, seed=task.seed, rate_per_s=task.rate_per_s)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Generator(None, folder / "generator.log") as generator:
            _, found = drive(generator, task, load, folder)
    out.write_text(json.dumps(asdict(said(found))))


if __name__ == "__main__":
    main()
