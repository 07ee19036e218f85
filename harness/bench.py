"""The whole job in order: compile every candidate, then screen, search and compare them, block by block.

The decisions between the blocks are pure functions of the visits stored so far, so resuming is the same walk over the same
experiment: a visit that is stored is read, one that is not is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue

from compilers.spec_io import PreparedModel, read_payloads
from harness import experiment, records
from harness.depth import Depth
from harness.errors import InfrastructureError, Interrupted
from harness.experiment import REFERENCE, SCREEN, SEARCH, VisitPlan
from harness.findings import Findings
from harness.lanes import LanePlan
from harness.nouns import SLO, Artifact, Candidate, Failure, Skipped
from harness.progress import Display
from harness.records import VisitRecord
from harness.request import BenchRequest
from harness.requestset import write_requests
from harness.store import Store
from harness.visit import Bay, Setting, make_visit
from harness.workbench import Cancelled, GeneratorProof, Workbench

Built = Artifact | Skipped | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Everything a result is made of. `complete` is false when the bench was stopped before its end."""

    built: Mapping[str, Built]
    findings: Findings
    generator: GeneratorProof
    complete: bool


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
            complete=complete,
        )

    def _compile(self) -> None:
        self._display.expect({name: 30.0 for name in self._candidates} | self._expected_visits(list(self._candidates)))
        for name, candidate in self._candidates.items():
            self._display.now(f"compiling {name}")
            log = self._store.logs / f"compile-{name}.log"
            built = self._workbench.build(candidate, self._model, log, self._cancelled)
            self._built[name] = built
            self._display.finished(name)
            self._display.say(_describe_build(name, built))

    def _expected_visits(self, names: Sequence[str]) -> dict[str, float]:
        return {
            f"{purpose} {name}": experiment.expected_s(self._depth, purpose)
            for purpose in (SCREEN, SEARCH, REFERENCE)
            for name in names
        }

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
                cancelled=self._cancelled,
                now=self._display.now,
            )
            # One pool for all blocks: the kernel ends a child with the thread that started it.
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=len(bays)))
            self._blocks(bays, setting, pool)

    def _prove_generator(self, bay: Bay, bodies: Sequence[Path]) -> GeneratorProof:
        known = self._store.get("generator_proof")
        if known is not None:
            return GeneratorProof(**known)
        self._display.now("measuring the load generator itself")
        log = self._store.logs / "null-server.log"
        proof = self._workbench.prove_generator(bay.generator, bodies, bay.lane.server_cpus, log, self._cancelled)
        self._store.put("generator_proof", asdict(proof))
        return proof

    def _blocks(self, bays: Sequence[Bay], setting: Setting, pool: ThreadPoolExecutor) -> None:
        """Screen everyone; search for those that can meet the SLO; compare those with a capacity at one rate."""
        names, seed, depth = sorted(self._artifacts()), self._request.seed, self._depth
        self._display.expect(self._expected_visits(names))
        self._block(experiment.block(SCREEN, 0, names, seed), bays, setting, pool)
        for repeat in range(depth.search_visits):
            hopeful = list(filter(self._findings().may_meet_slo, names))
            self._block(experiment.block(SEARCH, 1 + repeat, hopeful, seed), bays, setting, pool)
        findings = self._findings()
        rate = findings.reference_rate_per_s
        if rate is None:
            return
        carrying = [name for name in names if findings.may_meet_slo(name) and findings.carries(name, rate)]
        final = experiment.finalists(findings.search_capacities, depth.finalists)
        durations_s = experiment.reference_durations(carrying, final, rate, depth)
        for repeat in range(depth.reference_visits):
            number = 1 + depth.search_visits + repeat
            plans = experiment.block(REFERENCE, number, carrying, seed, rate_per_s=rate, durations_s=durations_s)
            self._block(plans, bays, setting, pool)

    def _block(self, plans: Sequence[VisitPlan], bays: Sequence[Bay], setting: Setting, pool: ThreadPoolExecutor) -> None:
        """Make every visit of a block that is not stored yet, each lane taking the next one when it is free."""
        todo = [plan for plan in plans if plan.id not in self._visits]
        findings, artifacts = self._findings(), self._artifacts()
        free: SimpleQueue[Bay] = SimpleQueue()
        for bay in bays:
            free.put(bay)

        def make(plan: VisitPlan) -> None:
            bay = free.get()
            try:
                if self._cancelled():
                    raise Interrupted("interrupted")
                name = plan.candidate
                self._keep(make_visit(plan, self._candidates[name], artifacts[name], findings.known(name), bay, setting))
            finally:
                free.put(bay)

        futures = [pool.submit(make, plan) for plan in todo]
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
        self._display.finished(f"{visit.purpose} {visit.candidate}")
        if visit.failure:
            self._display.say(f"  {visit.candidate}: {visit.failure.stage} failed: {visit.failure.reason}")

    def _artifacts(self) -> dict[str, Artifact]:
        return {name: built for name, built in self._built.items() if isinstance(built, Artifact)}

    def _findings(self) -> Findings:
        return Findings(
            folder=self._store.folder,
            visits=tuple(sorted(self._visits.values(), key=lambda visit: (visit.block, visit.ordinal))),
            given_slo=self._given_slo,
            given_rate_per_s=self._request.rate_per_s,
            generator_capacity_per_s=self._proof.capacity_per_s,
        )


def _describe_build(name: str, built: Built) -> str:
    match built:
        case Artifact():
            how = "cached" if built.cached else f"compiled in {built.compile_s:.1f} s"
            return f"  {name}: {how}, {built.size_bytes / 1e6:.0f} MB, largest relative error {built.parity.max_rel:.1e}"
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
