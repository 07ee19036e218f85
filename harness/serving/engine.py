"""Worker threads, each with a session of its own, fed from one bounded first-in-first-out queue.

Everything that is not inside a worker thread runs on the event loop's thread, which is why the counters need no lock. A session
is loaded, warmed and run in one and the same thread, because several runtimes keep their thread pools per calling thread.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from compilers.interface import Session
from harness.nouns import ModelSpec
from harness.serving.protocol import contiguous
from harness.serving.tensors import Tensor

log = logging.getLogger("loadstone.serving")

Inputs = Mapping[str, Tensor]


class QueueFull(Exception):
    """More requests wait than the queue may hold."""


class ClientGone(Exception):
    """The client closed its connection before its answer was ready."""


class SessionFailed(Exception):
    """The model raised; the message is its one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """How one worker's session came up."""

    load_s: float
    first_inference_ms: float


@dataclass(slots=True, kw_only=True)
class Ran:
    """One inference: its outputs, the time it waited for a worker and the time the session took. Not frozen, to be quick."""

    outputs: list[Tensor]
    queue_ns: int
    compute_ns: int


_SEND_S = 0.05
"""The longest a worker waits for the event loop to send an answer before it takes the next request."""


class Tally:
    """How often something happened and how long it took together."""

    __slots__ = ("count", "ns")

    def __init__(self) -> None:
        self.count = 0
        self.ns = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


class Statistics:
    """Cumulative since start. `dropped`: clients that left while queued; `rejected`: refused because the queue was full."""

    def __init__(self) -> None:
        self.success, self.fail, self.queue = Tally(), Tally(), Tally()
        self.decode, self.compute, self.encode = Tally(), Tally(), Tally()
        self.dropped = 0
        self.rejected = 0
        self.last_inference_ms = 0
        """Wall clock, ms since the epoch; 0 before the first, as Triton has it."""


Outcome = Ran | SessionFailed | ClientGone


class Job:
    """A submitted request; `done` is told its outcome, on the event loop. `queued`: it had to wait for a worker.

    `early` is told a success before, in the worker's thread, and must raise nothing. Whoever pops `cell` (atomic) owns the
    inputs: a worker to run them, or `drop` to forget them.
    """

    __slots__ = ("cell", "done", "early", "queued", "submitted_ns")

    def __init__(
        self, inputs: Inputs, done: Callable[[Outcome], None], early: Callable[[Ran], None] | None, queued: bool
    ) -> None:
        self.cell = [inputs]
        self.done = done
        self.early = early
        self.queued = queued
        self.submitted_ns = time.monotonic_ns()


class Engine:
    """`load` (called once per worker, in the worker's thread) gives the sessions that `submit` spreads requests over."""

    def __init__(self, spec: ModelSpec, load: Callable[[], Session], *, workers: int = 1, max_queue: int = 1024) -> None:
        self.statistics = Statistics()
        self.workers = workers
        self._spec = spec
        self._load = load
        self._most = workers + max_queue
        self._outstanding = 0
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> list[Loaded]:
        """Bring the workers up one after the other; raises what `load` or a first inference raised."""
        loaded = []
        for number in range(self.workers):
            report: Future[Loaded] = Future()
            thread = threading.Thread(target=self._work, args=(report,), name=f"inference-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)
            loaded.append(report.result())
        return loaded

    def ask(self, inputs: Inputs) -> tuple[Job, asyncio.Future[Ran]]:
        """`submit` with a future for the Ran, which raises SessionFailed or ClientGone."""
        future: asyncio.Future[Ran] = asyncio.get_running_loop().create_future()
        return self.submit(inputs, partial(_settle, future)), future

    def submit(self, inputs: Inputs, done: Callable[[Outcome], None], early: Callable[[Ran], None] | None = None) -> Job:
        """Queue `inputs`; `done`, and `early` if it went well, are told what came of it. Raises QueueFull. Event loop only."""
        if self._outstanding >= self._most:
            self.statistics.rejected += 1
            raise QueueFull
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        job = Job(inputs, done, early, queued=self._outstanding >= self.workers)
        self._outstanding += 1
        self._jobs.put(job)
        return job

    def drop(self, job: Job) -> None:
        """The client of `job` left: do not compute it when no worker has begun. Event loop only."""
        try:
            job.cell.pop()
        except IndexError:
            return
        self._outstanding -= 1
        self.statistics.dropped += 1
        job.done(ClientGone())

    def stop(self, timeout_s: float) -> bool:
        """End the workers after what is queued; False when one still ran after `timeout_s`."""
        for _ in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, report: Future[Loaded]) -> None:
        try:
            session, loaded = _bring_up(self._spec, self._load)
        except BaseException as error:  # noqa: BLE001 - a thread's border: the starter raises it again
            report.set_exception(error)
            return
        report.set_result(loaded)
        while (job := self._jobs.get()) is not None:
            try:
                inputs = job.cell.pop()
            except IndexError:
                continue  # its client left
            begun_ns = time.monotonic_ns()
            outcome: Ran | SessionFailed
            try:
                outputs = contiguous(session.run(inputs), len(self._spec.outputs))
                ended_ns = time.monotonic_ns()
                outcome = Ran(outputs=outputs, queue_ns=begun_ns - job.submitted_ns, compute_ns=ended_ns - begun_ns)
                if job.early is not None:
                    job.early(outcome)
            except Exception as error:  # noqa: BLE001 - the model is foreign code; whatever it raises is this request's 500
                ended_ns = time.monotonic_ns()
                outcome = SessionFailed(one_line(error))
            del inputs
            sent = threading.Event() if getattr(session, "keeps_gil", False) else None
            self._hand_over(job, outcome, ended_ns, sent)
            if sent is not None:
                sent.wait(_SEND_S)

    def _hand_over(self, job: Job, outcome: Ran | SessionFailed, ended_ns: int, sent: threading.Event | None) -> None:
        """Give the outcome to the event loop; `sent` is set once whoever waits for it has had its turn there."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._finish, job, outcome, ended_ns)
            if sent is not None:
                # In the loop's next turn the answer is sent, in the one after that this runs.
                self._loop.call_soon_threadsafe(self._loop.call_soon, self._loop.call_soon, sent.set)
        except RuntimeError:
            log.warning("an inference ended after the server had stopped; its answer is lost")

    def _finish(self, job: Job, outcome: Ran | SessionFailed, ended_ns: int) -> None:
        self._outstanding -= 1
        if isinstance(outcome, Ran):
            self.statistics.queue.add(outcome.queue_ns)
            self.statistics.compute.add(outcome.compute_ns)
            self.statistics.last_inference_ms = time.time_ns() // 1_000_000
        else:
            log.error("inference failed: %s", outcome)
            self.statistics.fail.add(ended_ns - job.submitted_ns)
        job.done(outcome)


def _settle(future: asyncio.Future[Ran], outcome: Outcome) -> None:
    if future.done():
        return  # its task was cancelled at shutdown
    if isinstance(outcome, Ran):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)


def _bring_up(spec: ModelSpec, load: Callable[[], Session]) -> tuple[Session, Loaded]:
    start_ns = time.monotonic_ns()
    session = load()
    loaded_ns = time.monotonic_ns()
    contiguous(session.run({tensor.name: np.zeros(tensor.shape, tensor.dtype) for tensor in spec.inputs}), len(spec.outputs))
    ran_ns = time.monotonic_ns()
    return session, Loaded(load_s=(loaded_ns - start_ns) / 1e9, first_inference_ms=(ran_ns - loaded_ns) / 1e6)


def one_line(error: BaseException, limit: int = 300) -> str:
    """`Type: first line of the message`, shortened to `limit` characters."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:limit]
