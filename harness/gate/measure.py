"""The measuring of one candidate's night: servers of all versions side by side on the same CPUs, one of them asked at a time.

Every block starts them afresh, because a restart moves a server's speed a little: so each block's pair is a replicate of its
own, and the starts are measured on the way. Within a block the versions take turns (`schedule`), and all get the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from harness import observe
from harness.drive import Bay, Driver, Setting
from harness.endpoint import start_s
from harness.errors import MeasurementInvalid
from harness.gate import block as blocks
from harness.gate import schedule
from harness.gate.block import Slice
from harness.gate.decision import METRICS, Evidence, Metric, gaps
from harness.gate.night import Measured
from harness.gate.pooled import pool
from harness.gate.schedule import BASELINE, Load
from harness.nouns import Artifact, Candidate, Failure, LoadProfile
from harness.records import CLOSED
from harness.statistics import nearest_rank, samples_needed
from harness.visit import server_cpus
from loadprofiles.samples import SUCCEEDED

PAUSES_S = (1.0, 5.0)
"""Before an invalid block is repeated for the first and the second time, which is the last: what disturbed it may pass."""
WARM_S = 0.3
P50, P95, THROUGHPUT, START, P99 = METRICS
_LOOK_WARM_S, _LOOK_S = 1.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What is served: a candidate (with its extra work) from an artifact."""

    candidate: Candidate
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A short look at one version alone: what it answers per second in a closed loop, and where an answer's time goes."""

    closed_per_s: float
    service_ms: float
    compute_ms: float | None
    start_s: float


@dataclass(slots=True, kw_only=True)
class Seen:
    """Everything measured on one candidate tonight, and what it took."""

    runs: list[dict[str, list[Slice]]] = field(default_factory=list)
    """The slices of each version, block by block, run by run."""
    blocks: int = 0
    """With those that were repeated."""
    repeated: list[str] = field(default_factory=list)
    """Why a block was repeated, for each time one was."""
    warnings: dict[str, int] = field(default_factory=dict)
    """What was said of blocks that count, and of how many."""

    def side_by_side(self, arm: str) -> tuple[list[Slice], list[Slice]]:
        """The slices of the baseline and of `arm`, of the runs in which both were measured."""
        shared = [run for run in self.runs if arm in run]
        return [each for run in shared for each in run[BASELINE]], [each for run in shared for each in run[arm]]


class Bench:
    """Measures versions of one candidate against its baseline; `versions` has an entry BASELINE."""

    def __init__(
        self,
        name: str,
        versions: Mapping[str, Version],
        load: Load,
        bay: Bay,
        setting: Setting,
        expect: Callable[[int, int], None],
    ) -> None:
        """`expect` hears, before each block, how many are left in the run, and how many versions each has."""
        self._name, self._versions, self._load = name, versions, load
        self._bay, self._setting, self._expect = bay, setting, expect
        self.seen = Seen()

    def measure(self, arms: Sequence[str], pairs: int, seed: int) -> dict[str, Measured]:
        """The metrics of each arm against the baseline, over `pairs` blocks.

        Raises MeasurementInvalid, with the reason, when a server fails or a block stays invalid, and Interrupted.
        """
        slices: dict[str, list[Slice]] = {arm: [] for arm in (BASELINE, *arms)}
        for block in range(pairs):
            self._expect(pairs - block, len(slices))
            self._setting.now(f"gate {self._name}: block {block + 1} of {pairs}, baseline and {', '.join(arms)}")
            for arm, found in self._block(tuple(slices), seed, block).items():
                slices[arm].append(found)
        self.seen.runs.append(slices)
        return {arm: metrics(slices[BASELINE], slices[arm]) for arm in arms}

    def _block(self, arms: Sequence[str], seed: int, block: int) -> dict[str, Slice]:
        """Start all versions, in an order of the block's own, and let them take turns."""
        name = f"{self._name}-run{seed - self._setting.seed + 1}-{block + 1:02d}"
        with ExitStack() as stack:
            drivers: dict[str, Driver] = {}
            for arm in schedule.order(block, arms):
                drivers[arm] = serving(stack, self._versions[arm], f"{name}-{arm}", self._bay, self._setting)
            for driver in drivers.values():
                _discarded(driver, WARM_S)
            return self._turns({arm: drivers[arm] for arm in arms}, name, seed, block)

    def _turns(self, drivers: Mapping[str, Driver], name: str, seed: int, block: int) -> dict[str, Slice]:
        """One valid load over all versions; an invalid one is repeated."""
        setting, endpoints = self._setting, [driver.endpoint for driver in drivers.values()]
        turns = schedule.turns(self._load, len(drivers), block, seed, len(setting.requests.bodies))
        cpus = server_cpus(self._versions[BASELINE].candidate, self._bay)
        why = ""
        for attempt, pause_s in enumerate((*PAUSES_S, None)):
            self.seen.blocks += 1
            run = blocks.drive(turns, endpoints, cpus, self._bay, setting, f"{name}-{attempt}")
            samples = blocks.read(run, setting)
            verdict = blocks.verdict(run, samples, setting)
            found = dict(zip(drivers, blocks.slices(run, samples, turns, [start_s(each) for each in endpoints]), strict=True))
            lost = [f"{_SAID[arm]} did not answer {each.lost} requests well" for arm, each in found.items() if each.lost]
            dead = [arm for arm, driver in drivers.items() if not driver.endpoint.alive()]
            if verdict.valid and not lost and not dead:
                for warning in verdict.warnings:
                    self.seen.warnings[warning] = self.seen.warnings.get(warning, 0) + 1
                return found
            (setting.folder / run.samples).unlink()
            if dead:
                raise MeasurementInvalid(f"the server of {_SAID[dead[0]]} {drivers[dead[0]].endpoint.how_it_ended()}")
            why = lost[0] if lost else verdict.reasons[0]
            if pause_s is not None:
                setting.now(f"gate {self._name}: block {block + 1} again: {why}")
                self.seen.repeated.append(why)
                setting.workbench.pause(pause_s)
        raise MeasurementInvalid(f"a block stayed invalid after {len(PAUSES_S)} repetitions: {why}")


_SAID = {
    schedule.BASELINE: "the baseline",
    schedule.TONIGHT: "tonight's version",
    schedule.TWIN: "the baseline's twin",
    schedule.CANARY: "the canary",
}

_OF_A_SLICE: dict[Metric, Callable[[Slice], float]] = {
    P50: lambda each: each.quantile_ms(0.5),
    P95: lambda each: each.quantile_ms(0.95),
    THROUGHPUT: lambda each: each.throughput_per_s,
    START: lambda each: each.start_s,
}


def metrics(baseline: Sequence[Slice], other: Sequence[Slice]) -> Measured:
    """The evidence on each metric from the slices of two versions, pair by pair."""
    measured: dict[Metric, Evidence] = {}
    for metric, value in _OF_A_SLICE.items():
        try:
            measured[metric] = gaps(metric, [value(each) for each in baseline], [value(each) for each in other])
        except ValueError as error:
            measured[metric] = str(error)
    measured[P99] = pool([each.latencies_ms for each in baseline], [each.latencies_ms for each in other])
    return measured


def figures(slices: Sequence[Slice]) -> dict[str, float | None]:
    """Each metric's own figure: the median over the slices, p99 over all their requests; None where it cannot be had."""
    if not slices:
        return {metric.name: None for metric in METRICS}
    values = {metric.name: median(value(each) for each in slices) for metric, value in _OF_A_SLICE.items()}
    pooled = np.sort(np.concatenate([each.latencies_ms for each in slices]))
    enough = pooled.size >= samples_needed(0.99)
    values[P99.name] = float(pooled[nearest_rank(pooled.size, 0.99) - 1]) if enough else math.nan
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def serving(stack: ExitStack, version: Version, name: str, bay: Bay, setting: Setting) -> Driver:
    """A driver on a server of `version`, which `stack` ends. Raises MeasurementInvalid when it does not start."""
    candidate, cpus = version.candidate, server_cpus(version.candidate, bay)
    log = setting.folder / "logs" / f"{name}.log"
    served = setting.workbench.serve(
        candidate, version.artifact, setting.model_folder, setting.requests, cpus, log, setting.cancelled
    )
    if isinstance(served, Failure):
        raise MeasurementInvalid(f"the server {name} did not start: {served.reason}")
    stack.callback(served.stop)
    return Driver(name=name, endpoint=served, server_cpus=cpus, bay=bay, setting=setting, patience_s=1.0)


def look(version: Version, name: str, bay: Bay, setting: Setting) -> Look:
    """A short look at one version. Raises MeasurementInvalid when it does not answer, and Interrupted."""
    setting.now(f"gate {name}: a look")
    with ExitStack() as stack:
        driver = serving(stack, version, f"{name}-look", bay, setting)
        _discarded(driver, _LOOK_WARM_S)
        profile = LoadProfile(arrivals="closed", duration_s=_LOOK_S, seed=setting.seed, users=version.candidate.workers)
        run = driver.drive(CLOSED, profile, 1)
        samples = driver.samples(run)
        driver.discard(run)
        per_s = observe.measurement(run, samples, setting.generator_capacity_per_s).achieved_per_s
        good = samples[samples["outcome"] == SUCCEEDED]
        if not per_s or not len(good):
            raise MeasurementInvalid(f"the server {name} answered no request well; see {setting.folder / 'logs'}")
        known = good["compute_us"][good["compute_us"] > 0]
        return Look(
            closed_per_s=per_s,
            service_ms=observe.median_service_ms(samples),
            compute_ms=float(np.median(known)) / 1e3 if len(known) else None,
            start_s=start_s(driver.endpoint),
        )


def _discarded(driver: Driver, seconds: float) -> None:
    profile = LoadProfile(arrivals="closed", duration_s=seconds, seed=0, users=1)
    driver.discard(driver.drive(CLOSED, profile, 0))
