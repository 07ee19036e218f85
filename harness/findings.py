"""What the visits made so far show: the SLO, who can still meet it, the capacities, the common rate. A view, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness import capacity, experiment, observe
from harness import measurement as measuring
from harness.nouns import SLO, Estimate, Measurement, Step
from harness.records import CLOSED, REFERENCE, SEARCH, RunRecord, VisitRecord
from harness.slo import default_slo
from harness.statistics import effective_n
from harness.visit import Known
from loadprofiles import samples as sample_files
from loadprofiles.samples import Samples


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

    def samples(self, run: RunRecord) -> Samples:
        return sample_files.read(self.folder / run.samples)

    @cached_property
    def _measured(self) -> dict[str, list[tuple[VisitRecord, RunRecord, Measurement]]]:
        found: dict[str, list[tuple[VisitRecord, RunRecord, Measurement]]] = {}
        for visit in self.visits:
            for run in visit.runs:
                seen = observe.measurement(run, self.samples(run), self.generator_capacity_per_s)
                found.setdefault(visit.candidate, []).append((visit, run, seen))
        return found

    @cached_property
    def slo(self) -> SLO | None:
        """The user's, or the default from the fastest service time; None before anything was screened."""
        if self.given_slo is not None:
            return self.given_slo
        # A server that fails fast must not set the pace for those that answer.
        working = [name for name in self._measured if not self._failing(name, SLO(quantile=0.99, limit_ms=0.0))]
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
        return None if self.slo is None else self._failing(name, self.slo)

    def hopeless(self, name: str) -> str | None:
        """Why a screened candidate cannot meet the SLO, None when it may."""
        screened = self.kind(name, CLOSED)
        if not screened or self.slo is None:
            return None
        pooled = [measuring.violations(self.samples(run.record), self.slo) for run in screened]
        return experiment.hopeless(sum(n for n, _ in pooled), sum(slow for _, slow in pooled), self.slo)

    def may_meet_slo(self, name: str) -> bool:
        """Whether more measuring of a candidate makes sense: it was screened, it works, and it is not hopeless."""
        cannot = self.failed(name) or self.errors(name) or self.hopeless(name)
        return bool(self.kind(name, CLOSED)) and not cannot

    def closed_capacity_per_s(self, name: str) -> float | None:
        """Throughput of the closed loop: what no open rate can exceed for long."""
        rates = [run.measurement.achieved_per_s for run in self.kind(name, CLOSED)]
        known = [rate for rate in rates if rate]
        return float(np.median(known)) if known else None

    def carries(self, name: str, rate_per_s: float) -> bool:
        closed = self.closed_capacity_per_s(name)
        return closed is not None and experiment.carries(rate_per_s, closed)

    def known(self, name: str) -> Known:
        """What a visit needs to know about its candidate."""
        return Known(
            slo=self.slo,
            closed_capacity_per_s=self.closed_capacity_per_s(name),
            service_ms=self._service_ms(name),
            steps=self.steps(name),
        )

    def steps(self, name: str, *kinds: str) -> tuple[Step, ...]:
        """The evidence on the SLO: every valid open-loop run, of these kinds if any are named."""
        return tuple(run.step for run in self._evidence(name, kinds) if run.step is not None)

    @cached_property
    def capacities(self) -> dict[str, Estimate]:
        """The capacity under the SLO of every candidate with a valid open-loop run, from all of them."""
        return self._capacities(SEARCH, REFERENCE)

    @cached_property
    def search_capacities(self) -> dict[str, Estimate]:
        """The same from the search alone: what the reference runs are planned by, so that they cannot move their own plan."""
        return self._capacities(SEARCH)

    @property
    def reference_rate_per_s(self) -> float | None:
        """The rate at which latencies are compared."""
        return experiment.reference_rate(self.search_capacities, self.given_rate_per_s)

    def _evidence(self, name: str, kinds: tuple[str, ...]) -> list[SeenRun]:
        return [run for kind in (kinds or (SEARCH, REFERENCE)) for run in self.kind(name, kind)]

    def _capacities(self, *kinds: str) -> dict[str, Estimate]:
        found = {}
        for name in sorted(self._measured):
            runs, closed = self._evidence(name, kinds), self.closed_capacity_per_s(name)
            steps = [run.step for run in runs if run.step is not None]
            if steps and closed is not None and self.slo is not None:
                slo = self.slo
                worth = [effective_n(measuring.violated(self.samples(run.record), slo)) for run in runs]
                found[name] = capacity.estimate(steps, slo, closed, effective=worth)
        return found

    def _failing(self, name: str, slo: SLO) -> str | None:
        runs = [(run, seen) for _, run, seen in self._measured.get(name, []) if seen.validity.valid]
        planned, failed = sum(seen.planned for _, seen in runs), sum(seen.failed for _, seen in runs)
        if not planned or failed / planned <= slo.max_error_ratio:
            return None
        kinds = [kind for run, _ in runs for kind in run.reply.errors]
        said = f": {kinds[0]}" if kinds else ""
        return f"{failed / planned:.2%} of {planned} requests failed, the SLO allows {slo.max_error_ratio:.2%}{said}"

    def _service_ms(self, name: str) -> float | None:
        """Median service time with one user. It only plans what to measure, so it needs no interval and no smallest n."""
        medians = [
            observe.median_service_ms(self.samples(run))
            for _, run, measured in self._measured.get(name, [])
            if run.kind == CLOSED and measured.validity.valid
        ]
        known = [median for median in medians if median > 0]  # NaN, of a run in which nothing succeeded, is not
        return float(np.median(known)) if known else None
