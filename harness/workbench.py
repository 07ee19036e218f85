"""What a bench works with: everything that touches processes, handed in, so that fakes can stand in for all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from compilers.spec_io import PreparedModel
from harness.endpoint import Endpoint
from harness.nouns import Artifact, Candidate, Failure, Skipped
from harness.reached.nouns import Reached, Servable
from harness.requestset import RequestSet
from harness.resources import ResourceUse, Watched
from loadprofiles.plan import Plan, Reply

Cancelled = Callable[[], bool]
Built = Artifact | Reached | Skipped | Failure
"""What became of making a candidate ready: compiled, reached, or why neither."""


class LoadGenerator(Protocol):
    """One load-generating process; runs one plan at a time."""

    @property
    def pid(self) -> int | None: ...

    def run(self, plan: Plan, deadline_s: float, cancelled: Cancelled) -> Reply: ...

    def close(self) -> None: ...


class Meter(Protocol):
    """Meters one server from its making until `stop`."""

    def stop(self) -> ResourceUse: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorProof:
    """What the load generator does against a server that costs nothing: its highest rate, and one user's median latency."""

    capacity_per_s: float | None
    null_p50_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """`build` compiles a candidate, `serve` starts its server on CPUs and checks its first answer, `generator` starts a load
    generator on CPUs, `meter` starts metering, `prove_generator` measures what a generator can do against a null
    server, `pause` lets so many seconds pass."""

    build: Callable[[Candidate, PreparedModel, Path, Cancelled], Built]
    serve: Callable[[Candidate, Servable, Path, RequestSet, Sequence[int], Path, Cancelled], Endpoint | Failure]
    generator: Callable[[Sequence[int], Path], LoadGenerator]
    meter: Callable[[Watched], Meter]
    prove_generator: Callable[[LoadGenerator, Sequence[Path], Sequence[int], Path, Cancelled], GeneratorProof]
    pause: Callable[[float], None] = time.sleep
