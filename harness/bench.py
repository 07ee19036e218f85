"""The whole job in order: compile every candidate, then screen, search and compare them, block by block.

The decisions between the blocks are pure functions of the visits stored so far, so resuming is the same walk over the same
experiment: a visit that is stored is read, one that is not is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from compilers.spec_io import PreparedModel, read_payloads
from harness import experiment, neighbours, race, records, twin
from harness.cost import usd_per_million
from harness.depth import Depth
from harness.drive import Allowance, Bay, Setting
from harness.errors import InfrastructureError, Interrupted
from harness.experiment import FINAL, SCREEN, SEARCH, VisitPlan
from harness.findings import Findings
from harness.lanes import LanePlan
from harness.nouns import SLO, Artifact, Candidate, Failure, Skipped
from harness.progress import Display
from harness.ranking import Entry
from harness.reached.nouns import Reached, Servable
from harness.records import VisitRecord
from harness.request import BenchRequest
from harness.requestset import write_requests
from harness.store import Store
from harness.visit import make_visit
from harness.workbench import Built, Cancelled, GeneratorProof, Workbench


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a result is made of. `complete` is false when the bench was stopped before its end."""

    built: Mapping[str, Built]
    findings: Findings
    generator: GeneratorProof
    twin: str | None
    """The candidate that was measured twice, None when none was."""
    interference: Mapping[str, Any] | None
    """What the test of the lanes showed, None when one lane, or overlapping ones, measured."""
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """What does the measuring: lanes with their generators, what all visits share, and a thread for each lane."""

    bays: tuple[Bay, ...]
    setting: Setting
    pool: ThreadPoolExecutor


class Bench:
    """One bench over fixed candidates; call `run` once."""

    def __init__(
        self,
        request: BenchRequest,
        model: PreparedModel,
        candidates: Sequence[Candidate],
        depth: Depth,
        slo: SLO | None,
        lane_plan: LanePlan,
        store: Store,
        workbench: Workbench,
        display: Display,
        cancelled: Cancelled,
    ) -> None:
        self._request, self._model, self._depth = request, model, depth
        self._candidates = {candidate.id: candidate for candidate in candidates}
        self._lane_plan, self._store, self._workbench = lane_plan, store, workbench
        self._display, self._cancelled = display, cancelled
        self._visits = {visit.id: visit for visit in map(records.from_json, store.visits())}
        self._given_slo = slo
        self._built: dict[str, Built] = {}
        self._proof = GeneratorProof(capacity_per_s=None, null_p50_ms=None)
        self._memo: dict[tuple[Any, ...], Any] = {}
        self._twin: str | None = None
        self._interference: dict[str, Any] | None = None

    def run(self) -> Outcome:
        """Do what is not yet done. Being interrupted ends the bench early and is seen in `complete`, not raised."""
        complete = True
        try:
            self._compile()
            if self._artifacts():
                self._measure()
        except Interrupted:
            complete = False
        return Outcome(
            built=self._built,
            findings=self._findings(),
            generator=self._proof,
            twin=self._twin,
            interference=self._interference,
            complete=complete,
        )

    def _compile(self) -> None:
        names = list(self._candidates)
        self._display.expect(dict.fromkeys(names, 30.0) | self._expected(names, (), SCREEN, SEARCH, FINAL))
        for name, candidate in self._candidates.items():
            self._display.now(f"compiling {name}" if candidate.remote is None else f"asking {candidate.remote.url}")
            log = self._store.logs / f"compile-{name}.log"
            built = self._workbench.build(candidate, self._model, log, self._cancelled)
            self._built[name] = built
            self._display.finished(name)
            self._display.say(_describe_build(name, built))

    def _expected(self, names: Sequence[str], plans: Sequence[VisitPlan], *later: str) -> dict[str, float]:
        """Seconds ahead, for the display: the visits of the block at hand, and all of each later kind together."""
        count = max(1, len(names))
        ahead = {plan.id: experiment.expected_s(self._depth, plan.purpose, count) for plan in plans}
        return ahead | {purpose: count * experiment.expected_s(self._depth, purpose, count) for purpose in later}

    def _measure(self) -> None:
        requests = write_requests(self._model.spec.name, read_payloads(self._model.folder), self._store.folder / "requests")
        with ExitStack() as stack:
            bays = []
            for lane in self._lane_plan.lanes:
                log = self._store.logs / f"generator-{lane.index}.log"
                generator = self._workbench.generator(lane.generator_cpus, log)
                stack.enter_context(closing(generator))
                bays.append(Bay(lane=lane, generator=generator))
            self._proof = self._prove_generator(bays[0], requests.bodies)
            setting = Setting(
                folder=self._store.folder,
                workbench=self._workbench,
                depth=self._depth,
                seed=self._request.seed,
                requests=requests,
                model_folder=self._model.folder,
                generator_capacity_per_s=self._proof.capacity_per_s,
                repeats=Allowance(self._depth.repeat_s),
                cancelled=self._cancelled,
                now=self._display.now,
            )
            # One pool for all blocks: the kernel ends a child with the thread that started it.
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=len(bays)))
            self._blocks(Crew(bays=tuple(bays), setting=setting, pool=pool))

    def _prove_generator(self, bay: Bay, bodies: Sequence[Path]) -> GeneratorProof:
        known = self._store.get("generator_proof")
        if known is not None:
            return GeneratorProof(**known)
        self._display.now("measuring the load generator itself")
        log = self._store.logs / "null-server.log"
        proof = self._workbench.prove_generator(bay.generator, bodies, bay.lane.server_cpus, log, self._cancelled)
        self._store.put("generator_proof", asdict(proof))
        return proof

    def _blocks(self, crew: Crew) -> None:
        """Screen everyone, search for those who may still win, then compare at one rate and confirm what was found."""
        names, seed = sorted(self._artifacts()), self._request.seed
        crew = self._side_by_side(crew, names)
        self._block(experiment.block(SCREEN, 0, names, seed), crew, SEARCH, FINAL)
        if self._depth.twin and (double := self._add_twin(names)) is not None:
            names.append(double)
            self._block(experiment.block(SCREEN, 0, [double], seed), crew, SEARCH, FINAL)
        number = 0
        for index in range(len(self._depth.rounds)):
            number += 1
            contending = self._contending(names, number)
            self._block(experiment.search_block(number, index, contending, seed), crew, FINAL)
        self._finals(number, names, crew)

    def _side_by_side(self, crew: Crew, names: Sequence[str]) -> Crew:
        """All lanes if measuring in one does not disturb another, else one; lanes that overlap only screen anyway."""
        local = [name for name in names if self._candidates[name].remote is None]
        if len(crew.bays) < 2 or self._lane_plan.why_screening is not None or not local:
            return crew
        known = self._store.get("interference")
        if known is None:
            subject = self._candidates[local[0]], self._artifacts()[local[0]]
            known = neighbours.measure(*subject, crew.bays, crew.setting, crew.pool).to_json()
            self._store.put("interference", known)
        self._interference = known
        if known["why_serial"] is None:
            return crew
        self._display.say(f"  measuring one candidate at a time: {known['why_serial']}")
        return replace(crew, bays=crew.bays[:1])

    def _contending(self, names: Sequence[str], number: int) -> list[str]:
        """Who is measured in block `number`: those whose earlier blocks neither exclude the SLO nor the first place."""
        findings = self._findings(before=number)
        hopeful = list(filter(findings.may_meet_slo, names))
        entries = [
            Entry(
                id=name,
                usd_per_million=usd_per_million(self._candidates[name].instance.usd_per_hour, found),
                capacity_per_s=found,
            )
            for name, found in findings.capacities.items()
            if name in hopeful
        ]
        lost = race.contenders(entries, self._request.objective, hopeful)
        # Twins are compared with each other, so both stay as long as the one they are twins of.
        return [name for name in hopeful if lost[twin.twin_of(name) or name] is None]

    def _finals(self, number: int, names: Sequence[str], crew: Crew) -> None:
        """The last blocks. Only finalists are visited in all of them; the others are looked at once, in the first."""
        findings, depth = self._findings(before=number + 1), self._depth
        rate = findings.reference_rate_per_s
        if rate is None:
            return
        carrying = [name for name in names if findings.may_meet_slo(name) and findings.carries(name, rate)]
        capacities = findings.search_capacities
        final = experiment.finalists({name: capacities[name] for name in carrying if name in capacities}, depth.finalists)
        durations_s = experiment.reference_durations(carrying, final, rate, depth)
        estimates = {name: found for name in final if (found := capacities[name].value)} if depth.confirm_s else {}
        for repeat in range(depth.final_visits):
            findings = self._findings(before=number + 1 + repeat)
            confirm = {name: experiment.confirm_rate(findings.confirmations(name), at) for name, at in estimates.items()}
            plans = experiment.final_block(
                number + 1 + repeat,
                [name for name in carrying if repeat == 0 or name in final],
                self._request.seed,
                rate_per_s=rate,
                durations_s=durations_s,
                confirm=confirm,
                confirm_s=depth.confirm_s,
            )
            self._block(plans, crew)

    def _add_twin(self, names: Sequence[str]) -> str | None:
        """Enter the fastest screened candidate a second time under another name, which no table shows."""
        findings = self._findings()
        services = {name: service for name in names if (service := findings.known(name).service_ms) is not None}
        if not services:
            return None
        own = min(services, key=lambda name: (services[name], name))
        self._twin, other = own, twin.twin_id(own)
        self._candidates[other] = replace(self._candidates[own], id=other)
        self._built[other] = self._built[own]
        return other

    def _block(self, plans: Sequence[VisitPlan], crew: Crew, *later: str) -> None:
        """Make every visit of a block that is not stored yet, each lane taking the next one when it is free."""
        todo = [plan for plan in plans if plan.id not in self._visits]
        self._display.expect(self._expected(sorted({plan.candidate for plan in plans}), todo, *later))
        findings, artifacts = self._findings(), self._artifacts()
        free: SimpleQueue[Bay] = SimpleQueue()
        for bay in crew.bays:
            free.put(bay)

        def make(plan: VisitPlan) -> None:
            bay = free.get()
            try:
                if self._cancelled():
                    raise Interrupted("interrupted")
                name = plan.candidate
                self._keep(make_visit(plan, self._candidates[name], artifacts[name], findings.known(name), bay, crew.setting))
            finally:
                free.put(bay)

        futures = [crew.pool.submit(make, plan) for plan in todo]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:  # what runs ends its visit, what waits is not begun
                future.cancel()
            wait(futures)
            raise

    def _keep(self, visit: VisitRecord) -> None:
        self._store.add_visit(records.to_json(visit))
        self._visits[visit.id] = visit
        self._display.finished(visit.id)
        if visit.failure:
            self._display.say(f"  {visit.candidate}: {visit.failure.stage} failed: {visit.failure.reason}")

    def _artifacts(self) -> dict[str, Servable]:
        return {name: built for name, built in self._built.items() if isinstance(built, Artifact | Reached)}

    def _findings(self, before: int | None = None) -> Findings:
        """What the visits show, all of them or those of the blocks before one, so that a resumed bench decides the same."""
        known = [visit for visit in self._visits.values() if before is None or visit.block < before]
        return Findings(
            folder=self._store.folder,
            visits=tuple(sorted(known, key=lambda visit: (visit.block, visit.ordinal))),
            given_slo=self._given_slo,
            given_rate_per_s=self._request.rate_per_s,
            generator_capacity_per_s=self._proof.capacity_per_s,
            seed=self._request.seed,
            memo=self._memo,
        )


def _describe_build(name: str, built: Built) -> str:
    match built:
        case Artifact():
            how = "cached" if built.cached else f"compiled in {built.compile_s:.1f} s"
            return f"  {name}: {how}, {built.size_bytes / 1e6:.0f} MB, largest relative error {built.parity.max_rel:.1e}"
        case Reached():
            return f"  {name}: reached ({built.dialect}), largest relative error {built.parity.max_rel:.1e}"
        case Skipped():
            return f"  {name}: skipped, {built.reason}"
        case Failure():
            return f"  {name}: {built.stage} failed, {built.reason}"


def require_disk(folder: Path, free_bytes: int, needed_bytes: int) -> None:
    """Refuse to start where the samples could not be kept."""
    if free_bytes < needed_bytes:
        raise InfrastructureError(
            f"{folder} has {free_bytes / 1e9:.1f} GB free, a bench needs {needed_bytes / 1e9:.1f} GB; "
            "free space or choose another --out"
        )
