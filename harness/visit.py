"""One visit: start a candidate's server, warm it up, measure what the visit is for, stop it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness import experiment, observe, race, steady
from harness.capacity import CapacityFinding, OpenRun, estimate, next_run
from harness.drive import Bay, Driver, Setting
from harness.endpoint import Endpoint
from harness.errors import InfrastructureError, MeasurementInvalid
from harness.experiment import FINAL, SCREEN, SEARCH, VisitPlan
from harness.nouns import SLO, Candidate, Failure, LoadProfile
from harness.reached.nouns import Servable
from harness.records import CLOSED, CONFIRM, REFERENCE, RunRecord, VisitRecord
from harness.records import SEARCH as SEARCH_RUN
from harness.steady import Steadiness, Window
from loadprofiles.plan import StopRule

_STREAM = {CLOSED: 0, SEARCH_RUN: 2, REFERENCE: 3, CONFIRM: 4}
_NO_SLO_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What earlier blocks found about the candidate: needed by a search visit only."""

    slo: SLO | None = None
    closed_capacity_per_s: float | None = None
    service_ms: float | None = None
    runs: tuple[OpenRun, ...] = ()


def make_visit(
    plan: VisitPlan, candidate: Candidate, artifact: Servable, known: Known, bay: Bay, setting: Setting
) -> VisitRecord:
    """Make the visit and leave nothing running. A server that fails is a record with a failure, not an exception.

    Raises Interrupted when cancelled, InfrastructureError when the generator cannot work.
    """
    setting.now(f"{plan.purpose} {candidate.id}: starting its server")
    cpus = server_cpus(candidate, bay)
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


def server_cpus(candidate: Candidate, bay: Bay) -> tuple[int, ...]:
    """The CPUs of a lane that a candidate's server gets: as many as its threads, and none where it runs elsewhere."""
    if candidate.remote is not None:
        return ()
    return bay.lane.server_cpus[: candidate.options.threads * candidate.workers]


@dataclass(frozen=True, slots=True, kw_only=True)
class _WarmUp:
    """The seconds spent, the verdict on the windows, and these."""

    spent_s: float
    found: Steadiness | None = None
    start_ns: int | None = None
    windows: tuple[Window, ...] = ()


class _Visit:
    """The runs of one visit on a server that is up."""

    def __init__(
        self, plan: VisitPlan, candidate: Candidate, known: Known, bay: Bay, setting: Setting, endpoint: Endpoint
    ) -> None:
        self._plan, self._candidate, self._known = plan, candidate, known
        self._setting, self._endpoint = setting, endpoint
        self._driver = Driver(
            name=plan.id,
            endpoint=endpoint,
            server_cpus=server_cpus(candidate, bay),
            bay=bay,
            setting=setting,
            patience_s=known.slo.longest_ms / 1e3 if known.slo else _NO_SLO_PATIENCE_S,
        )
        self._runs: list[RunRecord] = []
        self._count = 0

    def make(self) -> VisitRecord:
        failure: Failure | None = None
        warm_up = _WarmUp(spent_s=0.0)
        try:
            warm_up = self._warm_up()
            {SCREEN: self._screen, SEARCH: self._search, FINAL: self._final}[self._plan.purpose]()
        except MeasurementInvalid as error:
            failure = Failure(stage="measure", reason=str(error), log=self._log())
        except InfrastructureError as error:
            # Of somebody else's endpoint it is the candidate that went away, not this machine that cannot measure.
            if self._candidate.remote is None or self._endpoint.alive():
                raise
            failure = Failure(stage="measure", reason=f"the endpoint went away: {error}")
        if failure is None and not self._endpoint.alive():
            failure = Failure(stage="measure", reason=f"the server {self._endpoint.how_it_ended()}", log=self._log())
        return _record(
            self._plan,
            endpoint=self._endpoint,
            warm_up=warm_up,
            runs=tuple(self._runs),
            failure=failure,
        )

    def _warm_up(self) -> _WarmUp:
        """Closed-loop runs until their windows show a steady state or the time is over."""
        depth, windows, spent_s = self._setting.depth, list[Window](), 0.0
        found, start_ns = steady.judge(windows), None
        self._now("warming up")
        while spent_s < depth.warmup_max_s and not found.steady and self._endpoint.alive():
            run = self._drive(CLOSED, self._closed(depth.warmup_window_s, 1))
            windows += observe.windows(self._driver.samples(run), run.reply.start_ns, run.reply.window_ns)
            self._driver.discard(run)
            start_ns = run.reply.start_ns if start_ns is None else start_ns
            spent_s += run.reply.active_ns / 1e9
            found = steady.judge(windows)
        return _WarmUp(spent_s=spent_s, found=found, start_ns=start_ns, windows=tuple(windows))

    def _screen(self) -> None:
        for users in self._setting.depth.probe_users:
            if not self._endpoint.alive():
                return
            self._now(f"{users} user{'' if users == 1 else 's'} for each worker")
            self._keep(CLOSED, self._closed(self._setting.depth.probe_s, users))

    def _search(self) -> None:
        known, plan = self._known, self._plan
        if known.slo is None or known.closed_capacity_per_s is None or plan.round is None or plan.contending is None:
            raise ValueError("a search visit needs an SLO, a screened candidate and a round")
        round_, runs = self._setting.depth.rounds[plan.round], list(known.runs)
        for number in range(round_.steps):
            finding = self._estimate(runs, known.slo, known.closed_capacity_per_s)
            rate = next_run(
                finding,
                known.slo,
                known.closed_capacity_per_s,
                service_ms=known.service_ms,
                budget=len(known.runs) + round_.steps,
            ).rate_per_s
            if rate is None or not self._endpoint.alive():
                return
            self._now(f"round {plan.round + 1}, step {number + 1} of {round_.steps}, {rate:.3g}/s")
            duration_s = race.step_s(round_, plan.contending, rate)
            stop = observe.stop_rule(known.slo, rate, duration_s, known.closed_capacity_per_s)
            run, valid = self._keep(SEARCH_RUN, self._poisson(SEARCH_RUN, rate, duration_s, number), stop)
            if valid:
                runs.append(observe.open_run(run, self._driver.samples(run), plan.id))

    def _estimate(self, runs: Sequence[OpenRun], slo: SLO, closed_capacity_per_s: float) -> CapacityFinding | None:
        """What the runs so far say of the capacity, None before the first."""
        if not runs:
            return None
        servers, seed = self._candidate.workers, self._setting.seed
        return estimate(runs, slo, servers=servers, closed_capacity_per_s=closed_capacity_per_s, seed=seed)

    def _final(self) -> None:
        """The common rate, and the finalist's own capacity if it is to be confirmed."""
        plan = self._plan
        if plan.rate_per_s is None or plan.duration_s is None:
            raise ValueError("a final visit needs a rate and a duration")
        self._open_loop(REFERENCE, plan.rate_per_s, plan.duration_s)
        if plan.confirm_rate_per_s is not None and plan.confirm_s is not None:
            self._open_loop(CONFIRM, plan.confirm_rate_per_s, plan.confirm_s)

    def _open_loop(self, kind: str, rate_per_s: float, duration_s: float) -> None:
        slices = experiment.slices_s(duration_s)
        for number, slice_s in enumerate(slices):
            if not self._endpoint.alive():
                return
            self._now(f"{kind}, {slice_s:.0f} s at {rate_per_s:.3g}/s, part {number + 1} of {len(slices)}")
            self._keep(kind, self._poisson(kind, rate_per_s, slice_s, number))

    def _keep(self, kind: str, profile: LoadProfile, stop: StopRule | None = None) -> tuple[RunRecord, bool]:
        """Drive a load and keep its record, and whether it is valid. An invalid run is repeated as often as the depth says, as
        long as the bench may spend time on repeating."""
        for left in reversed(range(self._setting.depth.repeats + 1)):
            run = self._drive(kind, profile, stop)
            verdict = self._driver.verdict(run)
            if verdict.valid or not left or not self._endpoint.alive() or not self._setting.repeats.take(profile.duration_s):
                break
            self._driver.discard(run)
            self._now(f"repeating, {verdict.reasons[0]}")
        self._runs.append(run)
        return run, verdict.valid

    def _drive(self, kind: str, profile: LoadProfile, stop: StopRule | None = None) -> RunRecord:
        self._count += 1
        return self._driver.drive(kind, profile, self._count, stop)

    def _closed(self, duration_s: float, users: int) -> LoadProfile:
        users *= self._candidate.workers
        return LoadProfile(arrivals="closed", duration_s=duration_s, seed=self._seed(CLOSED, 0), users=users)

    def _poisson(self, kind: str, rate_per_s: float, duration_s: float, number: int) -> LoadProfile:
        seed = self._seed(kind, number)
        return LoadProfile(arrivals="poisson", duration_s=duration_s, seed=seed, rate_per_s=rate_per_s)

    def _seed(self, kind: str, number: int) -> int:
        """The same for every candidate (common random numbers), another for each block, kind of run and step."""
        key = [self._setting.seed, _STREAM[kind], self._plan.block, number]
        return int(np.random.SeedSequence(key).generate_state(1)[0])

    def _log(self) -> Path:
        return self._setting.folder / "logs" / f"{self._plan.id}.log"

    def _now(self, what: str) -> None:
        self._setting.now(f"{self._plan.purpose} {self._candidate.id}: {what}")


def _record(
    plan: VisitPlan,
    *,
    endpoint: Endpoint | None = None,
    warm_up: _WarmUp | None = None,
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
        warmup_s=warm_up.spent_s if warm_up else None,
        steadiness=warm_up.found if warm_up else None,
        runs=runs,
        failure=failure,
        warmup_start_ns=warm_up.start_ns if warm_up else None,
        warmup_window_ms=tuple(each.median_ms if each.median_ms > 0 else None for each in (warm_up.windows if warm_up else ())),
    )
