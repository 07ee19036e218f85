"""The measuring of one candidate's night: servers of all versions side by side on the same CPUs, one of them loaded at a time.

Every block starts them afresh, because a restart moves a server's speed a little: so each pair of slices is a replicate of its
own, and the starts are measured on the way. A slice is a closed loop (throughput), then an open one (latency) under the
schedule and payloads that all versions of the block get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import numpy as np
from numpy.typing import NDArray

from harness import measurement as measuring
from harness import observe
from harness.drive import Bay, Driver, Setting
from harness.errors import MeasurementInvalid
from harness.gate import schedule
from harness.gate.decision import METRICS, Evidence, gaps
from harness.gate.night import Measured
from harness.gate.pooled import pool
from harness.gate.schedule import BASELINE
from harness.nouns import Artifact, Candidate, Failure, LoadProfile
from harness.records import CLOSED, RunRecord
from harness.statistics import nearest_rank, samples_needed
from harness.visit import server_cpus
from loadprofiles.samples import SUCCEEDED, Samples

PAUSES_S = (1.0, 5.0)
"""Before an invalid slice is repeated for the first and the second time, which is the last: what disturbed it may pass."""
WARM_S = 0.5
OPEN = "open"
P50, P95, THROUGHPUT, START, P99 = METRICS
_KINDS = (CLOSED, OPEN)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of every slice."""

    rate_per_s: float
    open_s: float

    @property
    def closed_s(self) -> float:
        return schedule.CLOSED_SHARE * self.open_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What one slice of one version showed; a lost request counts as infinitely slow."""

    latencies_ms: NDArray[np.float64]
    throughput_per_s: float
    start_s: float

    def quantile_ms(self, p: float) -> float:
        return float(np.sort(self.latencies_ms)[nearest_rank(self.latencies_ms.size, p) - 1])


@dataclass(slots=True, kw_only=True)
class Seen:
    """Everything measured on one version tonight, and what it took."""

    runs: list[dict[str, list[Slice]]] = field(default_factory=list)
    """The slices of each version, run by run."""
    slices_run: int = 0
    repeated: list[str] = field(default_factory=list)
    """Why a slice was repeated, for each time one was."""
    warnings: dict[str, int] = field(default_factory=dict)

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

        Raises MeasurementInvalid, with the reason, when a server fails or a slice stays invalid, and Interrupted.
        """
        slices: dict[str, list[Slice]] = {arm: [] for arm in (BASELINE, *arms)}
        for block in range(pairs):
            self._setting.now(f"gate {self._name}: block {block + 1} of {pairs}, baseline and {', '.join(arms)}")
            self._expect(pairs - block, len(slices))
            for arm, found in self._block(schedule.order(block, (BASELINE, *arms)), seed, block).items():
                slices[arm].append(found)
        self.seen.runs.append(slices)
        return {arm: metrics(slices[BASELINE], slices[arm]) for arm in arms}

    def _block(self, order: Sequence[str], seed: int, block: int) -> dict[str, Slice]:
        with ExitStack() as stack:
            drivers = {}
            for arm in order:
                drivers[arm] = serving(stack, self._versions[arm], self._file(seed, block, arm), self._bay, self._setting)
            for driver in drivers.values():
                _discarded(driver, WARM_S, 0)
            return {arm: self._slice(arm, drivers[arm], seed, block) for arm in order}

    def _file(self, seed: int, block: int, arm: str) -> str:
        return f"{self._name}-run{seed - self._setting.seed + 1}-{block + 1:02d}-{arm}"

    def _slice(self, arm: str, driver: Driver, seed: int, block: int) -> Slice:
        """Both loops of a version; each is repeated when it is invalid."""
        closed, fast = self._valid(arm, driver, self._profile(CLOSED, seed, block), block)
        _, samples = self._valid(arm, driver, self._profile(OPEN, seed, block), block)
        seconds = observe.measurement(closed, fast, self._setting.generator_capacity_per_s).achieved_per_s
        return Slice(
            latencies_ms=_latencies_ms(samples), throughput_per_s=seconds or math.nan, start_s=driver.endpoint.cold.start_s
        )

    def _profile(self, kind: str, seed: int, block: int) -> LoadProfile:
        drawn = schedule.seed(self._setting.seed, seed, block, _KINDS.index(kind))
        if kind == CLOSED:
            users = self._versions[BASELINE].candidate.workers
            return LoadProfile(arrivals="closed", duration_s=self._load.closed_s, seed=drawn, users=users)
        return LoadProfile(arrivals="poisson", duration_s=self._load.open_s, seed=drawn, rate_per_s=self._load.rate_per_s)

    def _valid(self, arm: str, driver: Driver, profile: LoadProfile, block: int) -> tuple[RunRecord, Samples]:
        why = ""
        for attempt in range(1 + len(PAUSES_S)):
            if why:
                self._setting.now(f"gate {self._name}: block {block + 1}, {_SAID[arm]}, again: {why}")
            self.seen.slices_run += 1
            number = 10 * _KINDS.index(CLOSED if profile.arrivals == "closed" else OPEN) + attempt
            run = driver.drive(profile.arrivals, profile, number)
            samples, verdict = driver.samples(run), driver.verdict(run)
            lost = measuring.counts(samples).lost
            if verdict.valid and not lost:
                for warning in verdict.warnings:
                    self.seen.warnings[warning] = self.seen.warnings.get(warning, 0) + 1
                return run, samples
            driver.discard(run)
            if not driver.endpoint.alive():
                raise MeasurementInvalid(f"the server of {_SAID[arm]} {driver.endpoint.how_it_ended()}")
            why = verdict.reasons[0] if verdict.reasons else f"{lost} of {len(samples)} requests were not answered well"
            if attempt < len(PAUSES_S):
                self._setting.workbench.pause(PAUSES_S[attempt])
                self.seen.repeated.append(f"{_SAID[arm]}: {why}")
        raise MeasurementInvalid(f"a slice of {_SAID[arm]} stayed invalid after {len(PAUSES_S)} repetitions: {why}")


_SAID = {
    schedule.BASELINE: "the baseline",
    schedule.TONIGHT: "tonight's version",
    schedule.TWIN: "the baseline's twin",
    schedule.CANARY: "the canary",
}


def metrics(baseline: Sequence[Slice], other: Sequence[Slice]) -> Measured:
    """The evidence on each metric from the slices of two versions, pair by pair."""
    found: dict[str, Callable[[Slice], float]] = {
        P50.name: lambda each: each.quantile_ms(0.5),
        P95.name: lambda each: each.quantile_ms(0.95),
        THROUGHPUT.name: lambda each: each.throughput_per_s,
        START.name: lambda each: each.start_s,
    }
    measured: dict[object, Evidence] = {}
    for metric in METRICS[:4]:
        try:
            value = found[metric.name]
            measured[metric] = gaps(metric, [value(each) for each in baseline], [value(each) for each in other])
        except ValueError as error:
            measured[metric] = str(error)
    tail = pool([each.latencies_ms for each in baseline], [each.latencies_ms for each in other])
    if tail.n >= samples_needed(tail.quantile):
        measured[P99] = tail
    return measured  # type: ignore[return-value]


def figures(slices: Sequence[Slice]) -> dict[str, float | None]:
    """Each metric's own figure: the median over the slices, p99 over all their requests; None where it cannot be had."""
    if not slices:
        return {metric.name: None for metric in METRICS}
    pooled = np.sort(np.concatenate([each.latencies_ms for each in slices]))
    enough = pooled.size >= samples_needed(0.99)
    values = {
        P50.name: median(each.quantile_ms(0.5) for each in slices),
        P95.name: median(each.quantile_ms(0.95) for each in slices),
        THROUGHPUT.name: median(each.throughput_per_s for each in slices),
        START.name: median(each.start_s for each in slices),
        P99.name: float(pooled[nearest_rank(pooled.size, 0.99) - 1]) if enough else math.nan,
    }
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
    setting.now(f"gate {name}: a look at the baseline")
    with ExitStack() as stack:
        driver = serving(stack, version, f"{name}-look", bay, setting)
        _discarded(driver, _LOOK_WARM_S, 0)
        profile = LoadProfile(arrivals="closed", duration_s=_LOOK_S, seed=setting.seed, users=version.candidate.workers)
        run = driver.drive(CLOSED, profile, 1)
        samples = driver.samples(run)
        driver.discard(run)
        per_s = observe.measurement(run, samples, setting.generator_capacity_per_s).achieved_per_s
        good = samples[samples["outcome"] == SUCCEEDED]
        if not per_s or not len(good):
            raise MeasurementInvalid(f"{name} answered no request well; see {setting.folder / 'logs'}")
        known = good["compute_us"][good["compute_us"] > 0]
        return Look(
            closed_per_s=per_s,
            service_ms=observe.median_service_ms(samples),
            compute_ms=float(np.median(known)) / 1e3 if len(known) else None,
            start_s=driver.endpoint.cold.start_s,
        )


def _discarded(driver: Driver, seconds: float, number: int) -> None:
    profile = LoadProfile(arrivals="closed", duration_s=seconds, seed=0, users=1)
    driver.discard(driver.drive(CLOSED, profile, number))


def _latencies_ms(samples: Samples) -> NDArray[np.float64]:
    ms = (samples["done_ns"] - samples["due_ns"]) / 1e6
    return np.where(samples["outcome"] == SUCCEEDED, ms, np.inf)
