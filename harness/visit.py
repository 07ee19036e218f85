"""One visit: start a candidate's server, warm it up, measure what the visit is for, stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import capacity, experiment, observe
from harness.depth import Depth
from harness.endpoint import Endpoint
from harness.errors import MeasurementInvalid
from harness.experiment import REFERENCE, SCREEN, SEARCH, VisitPlan
from harness.lanes import Lane
from harness.loadplan import plan_for
from harness.nouns import SLO, Artifact, Candidate, Failure, LoadProfile, Step
from harness.records import CLOSED, RunRecord, VisitRecord
from harness.requestset import RequestSet
from harness.workbench import Cancelled, LoadGenerator, Workbench
from loadprofiles import samples as sample_files
from loadprofiles.plan import Plan

_OVERHEAD_S = 30.0
_PURPOSE_STREAM = {SCREEN: 1, SEARCH: 2, REFERENCE: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all visits of one bench share."""

    folder: Path
    workbench: Workbench
    depth: Depth
    seed: int
    requests: RequestSet
    model_folder: Path
    generator_capacity_per_s: float | None
    cancelled: Cancelled
    now: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bay:
    """A lane with its running load generator."""

    lane: Lane
    generator: LoadGenerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What earlier blocks found about the candidate: needed by a search visit only."""

    slo: SLO | None = None
    closed_capacity_per_s: float | None = None
    service_ms: float | None = None
    steps: tuple[Step, ...] = ()


def make_visit(
    plan: VisitPlan, candidate: Candidate, artifact: Artifact, known: Known, bay: Bay, setting: Setting
) -> VisitRecord:
    """Make the visit and leave nothing running. A server that fails is a record with a failure, not an exception.

    Raises Interrupted when cancelled, InfrastructureError when the generator cannot work.
    """
    setting.now(f"{plan.purpose} {candidate.id}: starting its server")
    cpus = bay.lane.server_cpus[: candidate.options.threads * candidate.workers]
    log = setting.folder / "logs" / f"{plan.id}.log"
    endpoint = setting.workbench.serve(
        candidate, artifact, setting.model_folder, setting.requests, cpus, log, setting.cancelled
    )
    if isinstance(endpoint, Failure):
        return _record(plan, failure=endpoint)
    try:
        return _Visit(plan, candidate, known, bay, setting, endpoint).make()
    finally:
        endpoint.stop()


class _Visit:
    """The runs of one visit on a server that is up."""

    def __init__(
        self, plan: VisitPlan, candidate: Candidate, known: Known, bay: Bay, setting: Setting, endpoint: Endpoint
    ) -> None:
        self._plan, self._candidate, self._known = plan, candidate, known
        self._bay, self._setting, self._endpoint = bay, setting, endpoint
        self._runs: list[RunRecord] = []
        self._count = 0
        self._repeats = setting.depth.repeats

    def make(self) -> VisitRecord:
        failure: Failure | None = None
        warmup_s, steady = 0.0, None
        try:
            warmup_s, steady = self._warm_up()
            {SCREEN: self._screen, SEARCH: self._search, REFERENCE: self._reference}[self._plan.purpose]()
        except MeasurementInvalid as error:
            failure = Failure(stage="measure", reason=str(error), log=self._log())
        if failure is None and not self._endpoint.alive():
            failure = Failure(stage="measure", reason=f"the server {self._endpoint.how_it_ended()}", log=self._log())
        return _record(
            self._plan, endpoint=self._endpoint, warmup_s=warmup_s, steady=steady, runs=tuple(self._runs), failure=failure
        )

    def _warm_up(self) -> tuple[float, bool]:
        """Closed-loop windows until the medians of three in a row agree within 5 %, or the time for it is over."""
        depth, medians, spent_s = self._setting.depth, list[float](), 0.0
        self._now("warming up")
        while spent_s < depth.warmup_max_s and self._endpoint.alive():
            run = self._drive(CLOSED, self._closed(depth.warmup_window_s))
            path = self._setting.folder / run.samples
            medians.append(observe.median_service_ms(sample_files.read(path)))
            path.unlink()
            spent_s += run.reply.active_ns / 1e9
            if observe.steady(medians):
                return spent_s, True
        return spent_s, False

    def _screen(self) -> None:
        self._now("one user")
        self._keep(CLOSED, self._closed(self._setting.depth.probe_s))

    def _search(self) -> None:
        known, depth = self._known, self._setting.depth
        if known.slo is None or known.closed_capacity_per_s is None:
            raise ValueError("a search visit needs an SLO and a screened candidate")
        steps = list(known.steps)
        for number in range(depth.search_steps):
            rate = capacity.next_rate(
                steps,
                known.slo,
                known.closed_capacity_per_s,
                service_ms=known.service_ms,
                budget=len(known.steps) + depth.search_steps,
            ).rate_per_s
            if rate is None or not self._endpoint.alive():
                return
            self._now(f"step {number + 1} of {depth.search_steps}, {rate:.3g}/s")
            run, valid = self._keep(SEARCH, self._poisson(rate, experiment.step_s(rate, depth), number))
            if valid:
                samples = sample_files.read(self._setting.folder / run.samples)
                steps.append(observe.step(run, samples, known.slo, self._plan.block))

    def _reference(self) -> None:
        rate, duration_s = self._plan.rate_per_s, self._plan.duration_s
        if rate is None or duration_s is None:
            raise ValueError("a reference visit needs a rate and a duration")
        slices = experiment.slices_s(duration_s)
        for number, slice_s in enumerate(slices):
            self._now(f"{slice_s:.0f} s at {rate:.3g}/s, part {number + 1} of {len(slices)}")
            self._keep(REFERENCE, self._poisson(rate, slice_s, number))

    def _keep(self, kind: str, profile: LoadProfile) -> tuple[RunRecord, bool]:
        """Drive a load and keep its record, and whether it is valid; the visit's repeats are spent on those that are not."""
        while True:
            run = self._drive(kind, profile)
            samples = sample_files.read(self._setting.folder / run.samples)
            verdict = observe.measurement(run, samples, self._setting.generator_capacity_per_s).validity
            if verdict.valid or self._repeats == 0 or not self._endpoint.alive():
                self._runs.append(run)
                return run, verdict.valid
            self._repeats -= 1
            (self._setting.folder / run.samples).unlink()
            self._now(f"repeating, {verdict.reasons[0]}")

    def _drive(self, kind: str, profile: LoadProfile) -> RunRecord:
        setting, lane = self._setting, self._bay.lane
        self._count += 1
        name = f"{self._plan.id}-{self._count}"
        samples = setting.folder / "samples" / f"{name}.bin"
        samples.unlink(missing_ok=True)
        plan, scratch = self._load_plan(profile, samples, name)
        meter = setting.workbench.meter(self._endpoint.pid, self._server_cpus(), [*lane.server_cpus, *lane.generator_cpus])
        try:
            deadline_s = profile.duration_s + plan.drain_timeout_s + plan.request_timeout_s + _OVERHEAD_S
            reply = self._bay.generator.run(plan, deadline_s, setting.cancelled)
        finally:
            use = meter.stop()
            for path in scratch:
                path.unlink(missing_ok=True)
        return RunRecord(kind=kind, profile=profile, reply=reply, resources=use, samples=f"samples/{samples.name}")

    def _load_plan(self, profile: LoadProfile, samples: Path, name: str) -> tuple[Plan, list[Path]]:
        """The generator's orders for `profile`, and the files made for them. Waiting is bounded by the SLO, if there is one."""
        limit_s = self._known.slo.limit_ms / 1e3 if self._known.slo else 1.0
        return plan_for(
            profile,
            self._setting.requests,
            (self._endpoint.host, self._endpoint.port),
            self._setting.folder / "plans",
            name,
            samples=samples,
            drain_timeout_s=max(5.0, 3 * limit_s),
            request_timeout_s=max(30.0, 10 * limit_s),
            expect_body_bytes=self._endpoint.response_bytes,
        )

    def _closed(self, duration_s: float) -> LoadProfile:
        return LoadProfile(arrivals="closed", duration_s=duration_s, seed=self._seed(0), users=self._candidate.workers)

    def _poisson(self, rate_per_s: float, duration_s: float, number: int) -> LoadProfile:
        return LoadProfile(arrivals="poisson", duration_s=duration_s, seed=self._seed(number), rate_per_s=rate_per_s)

    def _seed(self, number: int) -> int:
        """The same for every candidate (common random numbers), another for each block, purpose and step."""
        key = [self._setting.seed, _PURPOSE_STREAM[self._plan.purpose], self._plan.block, number]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def _server_cpus(self) -> tuple[int, ...]:
        return self._bay.lane.server_cpus[: self._candidate.options.threads * self._candidate.workers]

    def _log(self) -> Path:
        return self._setting.folder / "logs" / f"{self._plan.id}.log"

    def _now(self, what: str) -> None:
        self._setting.now(f"{self._plan.purpose} {self._candidate.id}: {what}")


def _record(
    plan: VisitPlan,
    *,
    endpoint: Endpoint | None = None,
    warmup_s: float | None = None,
    steady: bool | None = None,
    runs: tuple[RunRecord, ...] = (),
    failure: Failure | None = None,
) -> VisitRecord:
    return VisitRecord(
        id=plan.id,
        block=plan.block,
        ordinal=plan.ordinal,
        candidate=plan.candidate,
        purpose=plan.purpose,
        cold=None if endpoint is None else endpoint.cold,
        warmup_s=warmup_s,
        steady=steady,
        runs=runs,
        failure=failure,
    )
