"""A machine made of arithmetic for whole nights of the gate: promote, compare, and what a defect of either would do.

As a program, `python -m tests.harness.gate.world …`, it is the `loadstone` command on that machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

import numpy as np

from compilers import cache, intake
from compilers.spec_io import PreparedModel
from harness import environment, local
from harness.endpoint import ColdStart, Endpoint
from harness.nouns import Artifact, Candidate, Failure
from harness.reached.nouns import Servable
from harness.requestset import RequestSet
from harness.workbench import Built, Cancelled, Workbench
from tests.harness.fakes import FakeEndpoint, FakeServer, FakeWorld, fake_model

SERVICE_MS = 5.0
NOISE = 0.004
"""Of a request; a restart moves a server by half as much."""


@dataclass
class GateWorld(FakeWorld):
    """Servers whose speed depends on what they serve: `slower` and `starts` map a candidate, its artifact and whether that is
    the baseline's to a factor on the service time and to seconds of start-up."""

    slower: Callable[[Candidate, bool], float] = lambda candidate, accepted: 1.0
    starts: Callable[[Candidate, bool], float] = lambda candidate, accepted: 1.5
    instead: Callable[[str, bool], FakeServer | None] = lambda arm, accepted: None
    """Another server for a version, by its name in the block and whether it is the baseline's artifact."""
    compiled: str = "one"
    """The content of what is compiled from now on."""
    candidates_seen: list[Candidate] = field(default_factory=list)

    def make(self, cache_folder: Path, timeout_s: float) -> Workbench:
        return replace(self.workbench(), build=self._compile, serve=self._start, pause=lambda seconds: None)

    def _compile(self, candidate: Candidate, model: PreparedModel, log: Path, cancelled: Cancelled) -> Built:
        built = self._build(candidate, model, log, cancelled)
        if not isinstance(built, Artifact):
            return built
        folder = model.folder.parent / f"compiled-{candidate.options.backend}-{self.compiled}"
        if not folder.exists():
            folder.mkdir()
            (folder / "code.bin").write_text(f"{candidate.options.backend} {self.compiled}")
            cache.write_manifest(folder)
        return replace(built, path=folder, digest=cache.read_json(folder / cache.MANIFEST)["digest"])  # type: ignore[index]

    def _start(
        self,
        candidate: Candidate,
        artifact: Servable,
        folder: Path,
        requests: RequestSet,
        cpus: Sequence[int],
        log: Path,
        cancelled: Cancelled,
    ) -> Endpoint | Failure:
        served = self._serve(candidate, artifact, folder, requests, cpus, log, cancelled)
        if isinstance(served, Failure):
            return served
        assert isinstance(served, FakeEndpoint)
        assert isinstance(artifact, Artifact)
        self.candidates_seen.append(candidate)
        accepted = "artifacts" in artifact.path.parts
        known = self.instead(log.stem.rpartition("-")[2], accepted) or served.server
        restart = np.random.default_rng(served.port).normal(1.0, NOISE / 2)
        factor = self.slower(candidate, accepted) * (1 + candidate.extra_work) * restart
        served.server = replace(known, service_ms=lambda rng, n: factor * known.service_ms(rng, n), runs=0)
        self._ports[served.port] = served.server
        start_s = self.starts(candidate, accepted) * (1 + 0.01 * float(np.random.default_rng(served.port).normal()))
        served.cold = ColdStart(start_s=start_s, load_s=0.5, first_inference_ms=50.0)
        return served


def steady(ms: float = SERVICE_MS) -> FakeServer:
    return FakeServer(service_ms=lambda rng, n: np.maximum(0.1, ms * rng.normal(1.0, NOISE, n)))


def world(**given: object) -> GateWorld:
    servers = given.pop("servers", None) or {"ort": steady(), "openvino": steady(6.0)}
    return GateWorld(servers=servers, **given)  # type: ignore[arg-type]


@contextmanager
def on(made: GateWorld, folder: Path) -> Iterator[GateWorld]:
    """Make `made` the machine: its two cores, its compilers and servers, and one model, whatever name it is asked for by."""
    with (
        mock.patch.object(environment, "usable_cores", return_value=((0,), (1,))),
        mock.patch.object(intake, "resolve", return_value=fake_model(folder / "model")),
        mock.patch.object(local, "workbench", made.make),
    ):
        yield made


def main() -> None:
    from harness.cli import main as loadstone

    home = Path(os.environ["LOADSTONE_CACHE"])
    home.mkdir(parents=True, exist_ok=True)
    slow = float(os.environ.get("SLOWDOWN", "0"))
    made = world(slower=lambda candidate, accepted: 1.0 if accepted else 1.0 + slow)
    with on(made, home):
        sys.argv[0] = "loadstone"
        loadstone()


if __name__ == "__main__":
    main()
