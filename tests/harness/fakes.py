"""A workbench made of arithmetic: servers are single queues with known service times, and an hour of load takes no time.

The generator obeys the plan file by file and leaves the same samples and the same reply as the real one, so everything behind
it is exercised as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compilers import spec_io
from compilers.spec_io import PreparedModel
from harness.endpoint import ColdStart, Endpoint
from harness.errors import Interrupted
from harness.nouns import Artifact, Candidate, Failure, ModelSpec, Parity, Skipped, TensorSpec
from harness.reached.nouns import Reached, Servable
from harness.remote import Expectation
from harness.requestset import RequestSet
from harness.resources import ResourceUse, Watched
from harness.workbench import Built, Cancelled, GeneratorProof, LoadGenerator, Meter, Workbench
from loadprofiles import samples as sample_files
from loadprofiles.plan import Plan, Reply
from loadprofiles.samples import FAILED, RECORD, SUCCEEDED, Samples


@dataclass
class FakeServer:
    """`service_ms` maps a random generator and n to n service times; `fail_share` of the requests get a 500."""

    service_ms: Callable[[np.random.Generator, int], np.ndarray]
    fail_share: float = 0.0
    dies_after_runs: int | None = None
    runs: int = 0


def constant(ms: float) -> FakeServer:
    return FakeServer(service_ms=lambda rng, n: np.full(n, ms) * rng.normal(1.0, 0.01, n))


@dataclass
class FakeEndpoint:
    server: FakeServer
    port: int
    stopped: list[int]
    host: str = "127.0.0.1"
    pid: int | None = 1
    response_bytes: int | None = None
    requests: RequestSet | None = None
    expected: Expectation | None = None
    cold: ColdStart | None = field(default_factory=lambda: ColdStart(start_s=1.5, load_s=0.5, first_inference_ms=50.0))

    def alive(self) -> bool:
        return self.server.dies_after_runs is None or self.server.runs <= self.server.dies_after_runs

    def how_it_ended(self) -> str:
        return "killed by SIGSEGV"

    def stop(self) -> None:
        self.stopped.append(self.port)


class FakeGenerator:
    """Replays plans through Lindley's recursion (1952): start = max(due, previous done)."""

    pid: int | None = None

    def __init__(self, servers: Mapping[int, FakeServer], interrupt_after: int | None) -> None:
        self._servers, self._left = servers, interrupt_after
        self._clock_ns = 1_000_000_000

    def run(self, plan: Plan, deadline_s: float, cancelled: Cancelled) -> Reply:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise Interrupted("interrupted")
        server = self._servers[plan.port]
        for port in (plan.port, *plan.also):
            self._servers[port].runs += 1
        order = np.load(plan.order)
        rng = np.random.default_rng([plan.port, server.runs])
        if plan.targets:
            samples = self._in_turns(plan, rng)
        else:
            samples = self._open(plan, server, rng) if plan.arrivals else self._closed(plan, server, rng)
        samples["payload"] = order[np.arange(len(samples)) % len(order)] if len(samples) else 0
        sample_files.write(Path(plan.samples), samples)
        return self._reply(plan, samples)

    def close(self) -> None:
        pass

    def _in_turns(self, plan: Plan, rng: np.random.Generator) -> Samples:
        """Several servers, each with a queue of its own."""
        due, targets = np.load(str(plan.arrivals)) + self._clock_ns, np.load(str(plan.targets))
        samples = np.zeros(len(due), RECORD)
        for index, port in enumerate((plan.port, *plan.also)):
            own = np.flatnonzero(targets == index)
            samples[own] = self._queue(due[own], self._servers[port], rng)
        return samples

    def _open(self, plan: Plan, server: FakeServer, rng: np.random.Generator) -> Samples:
        return self._queue(np.load(str(plan.arrivals)) + self._clock_ns, server, rng)

    def _queue(self, due: np.ndarray, server: FakeServer, rng: np.random.Generator) -> Samples:
        service = (server.service_ms(rng, len(due)) * 1e6).astype(np.int64)
        done, free = np.empty(len(due), np.int64), 0
        for i, at in enumerate(due):
            free = max(int(at), free) + int(service[i])
            done[i] = free
        return _records(due, due, done, service, server, rng)

    def _closed(self, plan: Plan, server: FakeServer, rng: np.random.Generator) -> Samples:
        """One server, `plan.users` users: each request but the first few is sent when the one that many before it is done."""
        many = (server.service_ms(rng, 20_000) * 1e6).astype(np.int64)
        ends, users = np.cumsum(many), plan.users or 1
        n = users + int(np.searchsorted(ends, int(plan.duration_s * 1e9)))
        sent = self._clock_ns + np.concatenate([np.zeros(users, np.int64), ends[: n - users]])
        return _records(sent, sent, self._clock_ns + ends[:n], many[:n], server, rng)

    def _reply(self, plan: Plan, samples: Samples) -> Reply:
        window_ns = int(plan.duration_s * 1e9)
        end = int(samples["done_ns"].max()) if len(samples) else self._clock_ns + window_ns
        failed = int((samples["outcome"] == FAILED).sum())
        reply = Reply(
            planned=len(samples),
            succeeded=len(samples) - failed,
            failed=failed,
            dropped=0,
            undrained=0,
            start_ns=self._clock_ns,
            window_ns=window_ns,
            active_ns=max(window_ns, end - self._clock_ns),
            cpu_s=1e-4 * len(samples),
            cpu_peak=0.05,
            loop_lag_p99_ms=0.1,
            run_queue_wait_s=0.0,
            connections_opened_in_window=0,
            max_in_flight=1,
            in_flight_integral_ns=int((samples["done_ns"] - samples["sent_ns"]).sum()),
            locust_requests=len(samples),
            locust_failures=failed,
        )
        self._clock_ns = end + 1_000_000_000
        return reply


def _records(
    due: np.ndarray, sent: np.ndarray, done: np.ndarray, service: np.ndarray, server: FakeServer, rng: np.random.Generator
) -> Samples:
    samples = np.zeros(len(due), RECORD)
    samples["due_ns"], samples["sent_ns"], samples["done_ns"] = due, sent, done
    samples["compute_us"] = service // 1000
    samples["queue_us"] = np.maximum(0, (done - sent - service) // 1000)
    broken = rng.random(len(due)) < server.fail_share
    samples["outcome"] = np.where(broken, FAILED, SUCCEEDED)
    samples["status"] = np.where(broken, 500, 200)
    return samples


@dataclass
class FakeMeter:
    steal_share: float = 0.0

    def stop(self) -> ResourceUse:
        return ResourceUse(
            wall_s=1.0,
            server_cpus=1,
            server_cpu_s=0.5,
            peak_rss_bytes=200_000_000,
            steal_share=self.steal_share,
            foreign_share=0.0,
        )


@dataclass
class FakeWorld:
    """Servers by backend name; a backend mapped to Skipped or Failure does not build."""

    servers: Mapping[str, FakeServer | Skipped | Failure]
    interrupt_after: int | None = None
    """Runs after which the load generator reports Ctrl-C."""
    steal_share: float = 0.0
    """What the hypervisor takes in every run."""
    generator_runs: int = 0
    stopped: list[int] = field(default_factory=list)
    visits: list[str] = field(default_factory=list)
    _ports: dict[int, FakeServer] = field(default_factory=dict)

    def workbench(self) -> Workbench:
        return Workbench(
            build=self._build,
            serve=self._serve,
            generator=self._generator,
            meter=self._meter,
            prove_generator=lambda *_: GeneratorProof(capacity_per_s=8000.0, null_p50_ms=0.1),
        )

    def _build(self, candidate: Candidate, model: PreparedModel, log: Path, cancelled: Cancelled) -> Built:
        made = self.servers[_key(candidate)]
        if not isinstance(made, FakeServer):
            return made
        if candidate.remote is not None:
            parity = Parity(max_abs=1e-6, max_rel=1e-6, top1_agreement=1.0, payloads=32)
            requests = RequestSet(path="/invocations", headers={}, bodies=())
            return Reached(parity=parity, dialect="a fake's", requests=requests, expected=Expectation(status=200, body="json"))
        return Artifact(
            path=model.folder,
            digest="0" * 64,
            size_bytes=1000,
            compile_s=1.0,
            parity=Parity(max_abs=1e-6, max_rel=1e-6, top1_agreement=1.0, payloads=32),
            cached=False,
        )

    def _serve(
        self,
        candidate: Candidate,
        artifact: Servable,
        folder: Path,
        requests: RequestSet,
        cpus: Sequence[int],
        log: Path,
        cancelled: Cancelled,
    ) -> Endpoint | Failure:
        server = self.servers[_key(candidate)]
        if isinstance(server, Failure):
            return server
        assert isinstance(server, FakeServer)
        port = 10_000 + len(self._ports)
        self._ports[port] = server
        self.visits.append(log.stem)
        found = FakeEndpoint(server=server, port=port, stopped=self.stopped)
        if candidate.remote is not None:
            found.pid = found.cold = None
        return found

    def _generator(self, cpus: Sequence[int], log: Path) -> LoadGenerator:
        return FakeGenerator(self._ports, self.interrupt_after)

    def _meter(self, watched: Watched) -> Meter:
        self.generator_runs += 1
        return FakeMeter(self.steal_share)


def _key(candidate: Candidate) -> str:
    return candidate.options.backend if candidate.remote is None else candidate.remote.name


def fake_model(folder: Path) -> PreparedModel:
    """A prepared model with two payloads of four numbers."""
    if folder.exists():
        return spec_io.read_prepared(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensor = TensorSpec(name="x", dtype="float32", shape=(1, 4))
    spec = ModelSpec(
        name="fake",
        digest="1" * 64,
        inputs=(tensor,),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 4)),),
        parameters=4,
        flops=8,
        weights="file",
        weights_note="made by a test",
        reference="arithmetic",
    )
    spec_io.write_spec(folder, spec)
    spec_io.write_payloads(folder, [{"x": np.full((1, 4), value, np.float32)} for value in (1.0, 2.0)])
    return spec_io.read_prepared(folder)
