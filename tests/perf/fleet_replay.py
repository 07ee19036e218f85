"""The recommended scaling target, tried live: `python -m tests.perf.fleet_replay --json OUT` (about 5 minutes).

A trace of 50 minutes passes in 100 s. Two replicas at most stand behind a router; the project's own policy code decides after
every minute of the trace from what the router counted, replicas are really started and drained, and an instance takes its time
to be provisioned. First the replica is measured (start-up, service times, capacity), then `autoscale`'s sweep recommends a
target, then the trace is replayed with it, and once more with a target that the simulator says will break the SLO.

The replicas do not compute: they are truth servers, whose answers take as long as a seeded law says. Two that compute would
share this machine's one free CPU and slow each other down, as instances do not. Everything is stretched alike: a service of
20 ms stands for 0.6 s, so the queues are those of the trace. Router, controller and replicas have the first CPU, the generator
the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.capacity import estimate
from harness.errors import InfrastructureError
from harness.fleet import policies, service, sweep
from harness.fleet.demand import Demand
from harness.fleet.nouns import Day, Fleet, Policy
from harness.fleet.policies import State
from harness.fleet.service import ServiceTimes
from harness.fleet.simulate import simulate
from harness.fleet.sweep import Question, Trial
from harness.nouns import LoadProfile
from harness.requestset import write_requests
from harness.scaling import PROVISIONING_S
from harness.slo import parse
from harness.truth.launch import truth_server
from loadprofiles.generator import Generator
from loadprofiles.samples import Samples
from loadprofiles.traces import read_trace
from tests.perf.live import Loader, closed, latency_ms, open_run, per_second, poisson, same_arrivals
from tests.perf.router import Replica, Router

STRETCH = 30.0
"""Seconds of the trace that pass in a second."""
LAW = "lognormal:20ms,sigma=0.5;servers=1"
LIVE_LIMIT_MS = 200.0
SLO = parse(f"p99<{LIVE_LIMIT_MS * STRETCH:g}ms")
PER_S = (*[15.0] * 6, *np.linspace(15, 40, 7)[1:], *[40.0] * 12, *[12.0] * 26)
"""Requests a second as replayed, minute by minute of the trace: one replica's worth, more than one can carry, and back."""
SHARES = tuple(np.round(np.arange(0.4, 1.61, 0.1), 2).tolist())
SEEDS = range(40)


class Replicas:
    """Starts and stops truth servers from one thread, which outlives them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, 0
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._running: dict[int, AbstractContextManager[int]] = {}
        self.starts_s: list[float] = []

    async def start(self) -> Replica:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._start)

    async def stop(self, replica: Replica) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._stop, replica.port)

    def close(self) -> None:
        for port in tuple(self._running):
            self._thread.submit(self._stop, port).result()
        self._thread.shutdown()

    def _start(self) -> Replica:
        self._made += 1
        begun = time.monotonic()
        context = truth_server(f"{LAW};seed={self._made}", output=self._folder / f"replica-{self._made}.log")
        port = context.__enter__()
        self.starts_s.append(time.monotonic() - begun)
        self._running[port] = context
        return Replica(port=port)

    def _stop(self, port: int) -> None:
        self._running.pop(port).__exit__(None, None, None)


class Controller:
    """One replay: after every minute of the trace the policy decides, and what it wants is done."""

    def __init__(self, policy: Policy, replicas: Replicas) -> None:
        self._policy, self._replicas = policy, replicas
        self.router = Router(self._answered)
        self._begun: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._share = 0.0
        self._up: list[tuple[Replica, float]] = []
        self._changes: set[asyncio.Task[None]] = set()
        self.paid_s = 0.0
        self.rows: list[dict[str, float]] = []

    async def begin(self) -> int:
        """One replica up; returns the router's port."""
        first = await self._replicas.start()
        self.router.admit(first)
        self._up.append((first, 0.0))
        return await self.router.start()

    async def control(self, minutes: int) -> None:
        """From the first answer on."""
        assert self._policy.tracking is not None
        begun = await self._begun
        self._up = [(replica, begun) for replica, _ in self._up]
        state, points = State(now_s=0.0, capacity=1, serving=1), list[float | None]()
        for minute in range(1, minutes + 1):
            serving = self.router.serving
            await asyncio.sleep(max(0.0, begun + minute * 60 / STRETCH - time.monotonic()))
            points.append(self._share)
            self.rows.append({"answered": self._share * serving, "serving": serving, "capacity": state.capacity})
            self._share = 0.0
            state = replace(state, now_s=60.0 * minute, serving=serving)
            wanted = policies.combined([policies.track(self._policy.tracking, points, state)], [], state)
            after = policies.applied(wanted, self._policy.limits, state)
            self._change(after.capacity - state.capacity)
            state = after

    async def end(self) -> None:
        """Everything is answered: stop what runs, and add up what was paid."""
        await asyncio.gather(*self._changes)
        now = time.monotonic()
        for replica, since in self._up:
            self.paid_s += now - since
            await self._replicas.stop(replica)
        await self.router.stop()

    def _answered(self) -> None:
        self._share += 1 / max(1, self.router.serving)
        if not self._begun.done():
            self._begun.set_result(time.monotonic())

    def _change(self, count: int) -> None:
        for _ in range(abs(count)):
            task = asyncio.create_task(self._grow() if count > 0 else self._shrink())
            self._changes.add(task)

    async def _grow(self) -> None:
        since = time.monotonic()
        await asyncio.sleep(PROVISIONING_S / STRETCH)
        replica = await self._replicas.start()
        self.router.admit(replica)
        self._up.append((replica, since))

    async def _shrink(self) -> None:
        replica, since = self._up.pop()
        await self.router.drain(replica)
        self.paid_s += time.monotonic() - since
        await self._replicas.stop(replica)


async def measured(replicas: Replicas, loader: Loader) -> tuple[ServiceTimes, float]:
    """(service times, capacity under the SLO in requests/s), both in the trace's time, of one replica behind the router."""
    router, seconds, rate = Router(lambda: None), 25.0, 30.0
    for _ in range(2):
        await replicas.stop(await replicas.start())  # for the start-up times alone
    replica = await replicas.start()
    router.admit(replica)
    port = await router.start()
    try:
        alone = await asyncio.to_thread(loader.run, "alone", port, closed(1, 15.0))
        opened = await asyncio.to_thread(loader.run, "open", port, poisson(rate, seconds, 5))
    finally:
        await router.stop()
        await replicas.stop(replica)
    times = service.measured([alone], [opened], 1)
    limits = parse(f"p99<{LIVE_LIMIT_MS:g}ms")
    run = open_run(opened, rate, seconds)
    found = estimate([run], limits, servers=1, closed_capacity_per_s=per_second(alone), seed=0).estimate
    if times is None or not found.value:
        raise InfrastructureError(f"the replica could not be measured: {found.reason}")
    stretched = tuple((level * STRETCH).astype(np.int64) for level in times.levels)
    return ServiceTimes(levels=stretched, source=times.source), found.value / STRETCH


async def replay(policy: Policy, replicas: Replicas, loader: Loader, trace: Path, name: str) -> tuple[Samples, Controller]:
    """The samples of the trace replayed under a policy, and the controller with what it did."""
    controller, minutes = Controller(policy, replicas), len(PER_S)
    port = await controller.begin()
    load = LoadProfile(arrivals="trace", trace=str(trace), compress=STRETCH, duration_s=minutes * 60 / STRETCH, seed=77)
    steering = asyncio.create_task(controller.control(minutes))
    try:
        run = await asyncio.to_thread(loader.run, name, port, load)
        await steering
    finally:
        steering.cancel()
        await controller.end()
    return run, controller


def beside(trial: Trial, question: Question, run: Samples, controller: Controller) -> dict[str, Any]:
    """What was seen beside what was predicted: for any such trace, and for these very arrivals."""
    late = latency_ms(run) > LIVE_LIMIT_MS
    own = same_arrivals([run], STRETCH)
    days = [simulate(question.fleet, trial.policy, own, SLO, seed, initial=1) for seed in SEEDS]
    ratios = [day.violation_ratio for day in days]
    hours = [day.instance_hours for day in days]
    return {
        "target_share": trial.share,
        "target_per_min": trial.target,
        "predicted": {
            "kept_share": trial.kept_share,
            "violation_ratio": {"median": float(np.median(ratios)), "least": min(ratios), "most": max(ratios)},
            "p99_ms": float(np.median([day.p99_ms or np.inf for day in days])) / STRETCH,
            "instance_hours": {"median": float(np.median(hours)), "least": min(hours), "most": max(hours)},
            "serving": _serving(days[0]),
        },
        "live": {
            "n": len(run),
            "violation_ratio": float(late.mean()),
            "p99_ms": float(np.quantile(latency_ms(run), 0.99)),
            "keeps_slo": bool(late.mean() <= SLO.tail.allowed),
            "instance_hours": controller.paid_s * STRETCH / 3600,
            "serving": [int(row["serving"]) for row in controller.rows],
            "refused": controller.router.refused,
        },
    }


def _serving(day: Day) -> list[int]:
    return [row.serving for row in day.minutes]


async def proof(folder: Path, generator: Generator) -> dict[str, Any]:
    replicas = Replicas(folder)
    requests = write_requests("truth", [{"x": np.zeros((1, 8), np.float32)}], folder / "requests")
    loader = Loader(generator=generator, requests=requests, folder=folder)
    trace = folder / "trace.csv"
    counts = [round(rate * 60 / STRETCH) for rate in PER_S]
    trace.write_text("minute,count\n" + "".join(f"{minute},{count}\n" for minute, count in enumerate(counts)))
    try:
        times, capacity = await measured(replicas, loader)
        question = Question(
            fleet=Fleet(
                service=times,
                workers=1,
                starts_s=tuple(start * STRETCH for start in replicas.starts_s),
                provisioning_s=PROVISIONING_S,
                queue_limit=10**6,
            ),
            demand=Demand(trace=read_trace(trace)),
            slo=SLO,
            capacity_per_s=capacity,
            usd_per_hour=None,
            least=1,
            most=2,
        )
        trials = list(sweep.sweep(question, [sweep.TRACKING], SHARES, SEEDS, lambda _: None))
        best = sweep.choose(trials)
        if best is None:
            raise InfrastructureError("no target keeps the SLO in the simulation, so there is none to try")
        rows = {}
        breaking = next((trial for trial in trials if trial.share > best.share and trial.kept_share == 0), None)
        for name, trial in (("recommended", best), ("too_high", breaking)):
            if trial is not None:
                run, controller = await replay(trial.policy, replicas, loader, trace, name)
                rows[name] = beside(trial, question, run, controller)
    finally:
        replicas.close()
    return {
        "law": LAW,
        "stretch": STRETCH,
        "slo_live": f"p99<{LIVE_LIMIT_MS:g}ms",
        "service": times.source,
        "start_s": replicas.starts_s,
        "capacity_per_s": capacity * STRETCH,
        "sweep": [{"share": trial.share, "kept": trial.kept_share, "hours": trial.instance_hours_per_day} for trial in trials],
        **rows,
        "kept_as_predicted": bool(rows["recommended"]["live"]["keeps_slo"]),
        "broke_as_predicted": None if breaking is None else not rows["too_high"]["live"]["keeps_slo"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args(arguments)
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[:1])
    with tempfile.TemporaryDirectory() as name, Generator(cpus[-1:], Path(name) / "generator.log") as generator:
        result = asyncio.run(proof(Path(name), generator))
    print(json.dumps(result, indent=1))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
