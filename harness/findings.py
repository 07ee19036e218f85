"""What the visits made so far show: the SLO, who can still meet it, the capacities, the common rate. A view, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness import experiment, observe
from harness import measurement as measuring
from harness.capacity import (
    CapacityFinding,
    ClosedPoint,
    Confirmation,
    LimitCurve,
    OpenRun,
    confirm,
    curves,
    estimate,
    next_run,
    usl,
)
from harness.nouns import DEFAULT_ERROR_RATIO, SLO, Estimate, Measurement, Step
from harness.records import CLOSED, CONFIRM, REFERENCE, SEARCH, RunRecord, VisitRecord
from harness.slo import default_slo
from harness.steady import PATIENCE_S, Verdict
from harness.visit import Known
from loadprofiles import samples as sample_files
from loadprofiles.samples import Samples

_OPEN_LOOP = (SEARCH, REFERENCE, CONFIRM)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """One run with what it showed; its samples are read again when they are wanted."""

    visit: VisitRecord
    record: RunRecord
    measurement: Measurement
    step: Step | None
    """None for a closed loop, and while there is no SLO."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Computed from the visits alone, so that a resumed bench finds the same."""

    folder: Path
    visits: tuple[VisitRecord, ...]
    given_slo: SLO | None
    given_rate_per_s: float | None
    generator_capacity_per_s: float | None
    seed: int
    memo: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """What was computed from stored runs, which never change; shared by all views of one bench."""

    def samples(self, run: RunRecord) -> Samples:
        return sample_files.read(self.folder / run.samples)

    @cached_property
    def _measured(self) -> dict[str, list[tuple[VisitRecord, RunRecord, Measurement]]]:
        found: dict[str, list[tuple[VisitRecord, RunRecord, Measurement]]] = {}
        for visit in self.visits:
            for run in visit.runs:
                key = ("measurement", run.samples, self.generator_capacity_per_s)
                if key not in self.memo:
                    self.memo[key] = observe.measurement(run, self.samples(run), self.generator_capacity_per_s)
                seen: Measurement = self.memo[key]
                found.setdefault(visit.candidate, []).append((visit, run, seen))
        return found

    @cached_property
    def slo(self) -> SLO | None:
        """The user's, or the default from the fastest service time; None before anything was screened."""
        if self.given_slo is not None:
            return self.given_slo
        # A server that fails fast must not set the pace for those that answer.
        working = [name for name in self._measured if not self._failing(name, DEFAULT_ERROR_RATIO)]
        services = [service for name in working if (service := self._service_ms(name)) is not None]
        return default_slo(min(services)) if services else None

    def runs(self, name: str) -> tuple[SeenRun, ...]:
        """Every run of a candidate, in the order made."""
        return tuple(
            SeenRun(
                visit=visit,
                record=record,
                measurement=seen,
                step=None
                if record.kind == CLOSED or self.slo is None
                else observe.step(record, self.samples(record), self.slo, visit.block),
            )
            for visit, record, seen in self._measured.get(name, [])
        )

    def kind(self, name: str, kind: str) -> list[SeenRun]:
        """The valid runs of one kind."""
        return [run for run in self.runs(name) if run.record.kind == kind and run.measurement.validity.valid]

    def failed(self, name: str) -> VisitRecord | None:
        """The first visit of a candidate that failed, None when none did."""
        return next((visit for visit in self.visits if visit.candidate == name and visit.failure), None)

    def errors(self, name: str) -> str | None:
        """Why a candidate fails too often for the SLO, None when it does not. Lateness is no error: it is a violation."""
        return None if self.slo is None else self._failing(name, self.slo.max_error_ratio)

    def unsteady(self, name: str) -> str | None:
        """Why a candidate may not be ranked for never coming to a steady state: in no warm-up, though each had the patience it
        takes. None when it did at least once, or was not given that time; what short warm-ups showed is in the row."""
        own = [visit for visit in self.visits if visit.candidate == name and visit.steadiness is not None]
        if not own or any((visit.warmup_s or 0.0) < PATIENCE_S for visit in own):
            return None
        reasons = [each.steadiness.reason for each in own if each.steadiness and each.steadiness.verdict is Verdict.UNSTEADY]
        return f"no steady state in any of {len(own)} warm-ups: {reasons[-1]}" if len(reasons) == len(own) else None

    def hopeless(self, name: str) -> str | None:
        """Why a screened candidate cannot meet the SLO, None when it may."""
        screened = self.unqueued(name)
        if not screened or self.slo is None:
            return None
        pooled = [measuring.violations(self.samples(run.record), self.slo) for run in screened]
        slower = [sum(counts) for counts in zip(*(slow for _, slow in pooled), strict=True)]
        return experiment.hopeless(sum(n for n, _ in pooled), slower, self.slo)

    def may_meet_slo(self, name: str) -> bool:
        """Whether more measuring of a candidate makes sense: it was screened, it works, and it is not hopeless."""
        cannot = self.failed(name) or self.errors(name) or self.hopeless(name)
        return bool(self.kind(name, CLOSED)) and not cannot

    def unqueued(self, name: str) -> list[SeenRun]:
        """The valid closed-loop runs with the fewest users: no request in them waited for another."""
        runs = self.kind(name, CLOSED)
        fewest = min((run.record.profile.users or 0 for run in runs), default=0)
        return [run for run in runs if run.record.profile.users == fewest]

    def closed_capacity_per_s(self, name: str) -> float | None:
        """Throughput of the closed loop with the number of users that gets most: what no open rate can exceed for long."""
        return max((point.per_s for point in self._closed_points(name)), default=None)

    def carries(self, name: str, rate_per_s: float) -> bool:
        closed = self.closed_capacity_per_s(name)
        return closed is not None and experiment.carries(rate_per_s, closed)

    def known(self, name: str) -> Known:
        """What a visit needs to know about its candidate."""
        return Known(
            slo=self.slo,
            closed_capacity_per_s=self.closed_capacity_per_s(name),
            service_ms=self._service_ms(name),
            runs=self.open_runs(name),
        )

    def steps(self, name: str, *kinds: str) -> tuple[Step, ...]:
        """The evidence on the SLO: every valid open-loop run, of these kinds if any are named."""
        return tuple(run.step for run in self._evidence(name, kinds) if run.step is not None)

    @cached_property
    def capacity_findings(self) -> dict[str, CapacityFinding]:
        """The capacity under the SLO of every candidate with a valid open-loop run, from all of them."""
        return {name: found for name in sorted(self._measured) if (found := self._capacity(name, _OPEN_LOOP)) is not None}

    @property
    def capacities(self) -> dict[str, Estimate]:
        """The estimates of `capacity_findings`."""
        return {name: found.estimate for name, found in self.capacity_findings.items()}

    def capacity_curves(self, name: str) -> tuple[LimitCurve, ...]:
        """The capacity of a candidate under other limits than the SLO's, from the same runs; empty without a finding."""
        found, slo = self.capacity_findings.get(name), self.slo
        if found is None or slo is None:
            return ()
        runs = self._evidence(name, ())
        key = ("curves", *(run.record.samples for run in runs), str(slo))
        if key not in self.memo:
            self.memo[key] = curves(self._open_runs(runs), slo, found, self.closed_capacity_per_s(name), self.seed)
        made: tuple[LimitCurve, ...] = self.memo[key]
        return made

    @cached_property
    def search_capacities(self) -> dict[str, Estimate]:
        """The same from the search alone: what the final runs are planned by, so that they cannot move their own plan."""
        found = {name: self._capacity(name, (SEARCH,)) for name in sorted(self._measured)}
        return {name: each.estimate for name, each in found.items() if each is not None}

    def confirmations(self, name: str) -> tuple[Confirmation, ...]:
        """The confirming runs judged rate by rate, in the order the rates were tried."""
        closed, by_rate = self.closed_capacity_per_s(name), dict[float | None, list[SeenRun]]()
        for run in self.kind(name, CONFIRM):
            by_rate.setdefault(run.record.profile.rate_per_s, []).append(run)
        if not by_rate or closed is None or self.slo is None:
            return ()
        return tuple(
            confirm(self._open_runs(runs), self.slo, (rate or 0.0) / closed, rounds=len(by_rate))
            for rate, runs in by_rate.items()
        )

    @property
    def reference_rate_per_s(self) -> float | None:
        """The rate at which latencies are compared."""
        return experiment.reference_rate(self.search_capacities, self.given_rate_per_s)

    def open_runs(self, name: str) -> tuple[OpenRun, ...]:
        """Every valid open-loop run, as the capacity sees it."""
        return self._open_runs(self._evidence(name, ()))

    def _evidence(self, name: str, kinds: tuple[str, ...]) -> list[SeenRun]:
        return [run for kind in (kinds or _OPEN_LOOP) for run in self.kind(name, kind)]

    def _open_runs(self, runs: Iterable[SeenRun]) -> tuple[OpenRun, ...]:
        return tuple(observe.open_run(run.record, self.samples(run.record), run.visit.id) for run in runs)

    def _capacity(self, name: str, kinds: tuple[str, ...]) -> CapacityFinding | None:
        evidence, closed, slo = self._evidence(name, kinds), self.closed_capacity_per_s(name), self.slo
        if not evidence or closed is None or slo is None:
            return None
        servers = self.unqueued(name)[0].record.profile.users or 1
        searched = self._evidence(name, (SEARCH,))
        ended = None
        if searched:
            ended = next_run(self._estimate(searched, slo, servers, closed), slo, closed, budget=len(searched)).reason
        found, points = self._estimate(evidence, slo, servers, closed), self._closed_points(name)
        return replace(found, closed=points, usl=usl.fit(points), confirmations=self.confirmations(name), stop_rule=ended)

    def _estimate(self, runs: Sequence[SeenRun], slo: SLO, servers: int, closed_per_s: float) -> CapacityFinding:
        key = ("capacity", *(run.record.samples for run in runs), str(slo), servers, closed_per_s)
        if key not in self.memo:
            given = self._open_runs(runs)
            self.memo[key] = estimate(given, slo, servers=servers, closed_capacity_per_s=closed_per_s, seed=self.seed)
        found: CapacityFinding = self.memo[key]
        return found

    def _closed_points(self, name: str) -> tuple[ClosedPoint, ...]:
        """The closed probe: throughput by number of users, the median where it was repeated."""
        rates: dict[int, list[float]] = {}
        for run in self.kind(name, CLOSED):
            users, rate = run.record.profile.users, run.measurement.achieved_per_s
            if users and rate:
                rates.setdefault(users, []).append(rate)
        return tuple(ClosedPoint(users=users, per_s=float(np.median(each))) for users, each in sorted(rates.items()))

    def _failing(self, name: str, allowed: float) -> str | None:
        runs = [(run, seen) for _, run, seen in self._measured.get(name, []) if seen.validity.valid]
        planned, failed = sum(seen.planned for _, seen in runs), sum(seen.failed for _, seen in runs)
        if not planned or failed / planned <= allowed:
            return None
        kinds = [kind for run, _ in runs for kind in run.reply.errors]
        said = f": {kinds[0]}" if kinds else ""
        return f"{failed / planned:.2%} of {planned} requests failed, the SLO allows {allowed:.2%}{said}"

    def _service_ms(self, name: str) -> float | None:
        """Median service time with the fewest users. It only plans what to measure, so it needs no interval."""
        closed = [run for _, run, seen in self._measured.get(name, []) if run.kind == CLOSED and seen.validity.valid]
        fewest = min((run.profile.users or 0 for run in closed), default=0)
        medians = [observe.median_service_ms(self.samples(run)) for run in closed if run.profile.users == fewest]
        known = [median for median in medians if median > 0]  # NaN, of a run in which nothing succeeded, is not
        return float(np.median(known)) if known else None
