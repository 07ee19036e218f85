"""One load on one running server: plan it, let the generator execute it, meter the machine meanwhile, keep the facts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import observe
from harness.depth import Depth
from harness.endpoint import Endpoint
from harness.lanes import Lane
from harness.loadplan import plan_for
from harness.nouns import LoadProfile, Validity
from harness.records import RunRecord
from harness.requestset import RequestSet
from harness.resources import Watched
from harness.workbench import Cancelled, LoadGenerator, Workbench
from loadprofiles import samples as sample_files
from loadprofiles.plan import StopRule
from loadprofiles.samples import Samples

_OVERHEAD_S = 30.0


class Allowance:
    """Seconds of load that may still be spent on repeating invalid runs, shared by all lanes of a bench."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._mutex = threading.Lock()

    def take(self, seconds: float) -> bool:
        """Whether `seconds` were left; they are spent if so."""
        with self._mutex:
            granted = seconds <= self._left_s
            if granted:
                self._left_s -= seconds
            return granted


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
    repeats: Allowance
    cancelled: Cancelled
    now: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bay:
    """A lane with its running load generator."""

    lane: Lane
    generator: LoadGenerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """Drives loads on one `endpoint` that runs on `server_cpus`; `name` begins the names of the sample files."""

    name: str
    endpoint: Endpoint
    server_cpus: Sequence[int]
    bay: Bay
    setting: Setting
    patience_s: float
    """The longest latency worth waiting for: the SLO's, where there is one."""

    def drive(self, kind: str, profile: LoadProfile, number: int, stop: StopRule | None = None) -> RunRecord:
        """Run the load; its samples are in the record's file. Raises Interrupted and InfrastructureError."""
        setting, lane = self.setting, self.bay.lane
        name = f"{self.name}-{number}"
        samples = setting.folder / "samples" / f"{name}.bin"
        samples.unlink(missing_ok=True)
        plan, scratch = plan_for(
            profile,
            self.endpoint.requests or setting.requests,
            (self.endpoint.host, self.endpoint.port),
            setting.folder / "plans",
            name,
            samples=samples,
            own_core=not lane.shared,
            drain_timeout_s=max(5.0, 3 * self.patience_s),
            request_timeout_s=max(30.0, 10 * self.patience_s),
            **self._expected(),
        )
        plan = replace(plan, stop_after=stop)
        meter = setting.workbench.meter(
            Watched(
                server_pid=self.endpoint.pid,
                server_cpus=tuple(self.server_cpus),
                lane_cpus=(*lane.server_cpus, *lane.generator_cpus),
                generator_pid=self.bay.generator.pid,
                generator_cpus=lane.generator_cpus,
            )
        )
        try:
            deadline_s = profile.duration_s + plan.drain_timeout_s + plan.request_timeout_s + _OVERHEAD_S
            reply = self.bay.generator.run(plan, deadline_s, setting.cancelled)
        finally:
            use = meter.stop()
            for path in scratch:
                path.unlink(missing_ok=True)
        return RunRecord(kind=kind, profile=profile, reply=reply, resources=use, samples=f"samples/{samples.name}")

    def _expected(self) -> dict[str, Any]:
        expected = self.endpoint.expected
        if expected is None:
            return {"expect_body_bytes": self.endpoint.response_bytes}
        return {
            "expect_status": expected.status,
            "expect_body_bytes": expected.body_bytes,
            "expect_body": expected.body,
            "expect_outputs": expected.outputs,
        }

    def samples(self, run: RunRecord) -> Samples:
        return sample_files.read(self.setting.folder / run.samples)

    def discard(self, run: RunRecord) -> None:
        """Forget the samples of a run that nobody will keep."""
        (self.setting.folder / run.samples).unlink()

    def verdict(self, run: RunRecord) -> Validity:
        return observe.measurement(run, self.samples(run), self.setting.generator_capacity_per_s).validity
