"""The running system under test: our model server as a child process on its own CPUs and its own port."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.errors import Interrupted, UsageError
from harness.nouns import Artifact, Candidate, Failure
from harness.remote import Expectation
from harness.requestset import RequestSet
from harness.supervise import Child

_POLL_S = 0.005
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """From nothing to the first answer: `start_s` until the server was ready, of which `load_s` loaded the model, and
    `first_inference_ms` the first call of the model itself."""

    start_s: float
    load_s: float
    first_inference_ms: float


class Endpoint(Protocol):
    """Something that answers inference requests and can be ended."""

    host: str
    port: int
    pid: int | None
    """None where the process is not on this machine, or not ours."""
    cold: ColdStart | None
    """None for what was up already."""
    response_bytes: int | None
    """Length of every good reply's body; None when it is not known."""
    requests: RequestSet | None
    """What to send it, where that differs from the bench's own requests."""
    expected: Expectation | None
    """What a good reply is, where its length does not say it."""

    def alive(self) -> bool: ...

    def how_it_ended(self) -> str: ...

    def stop(self) -> None: ...


def start_s(endpoint: Endpoint) -> float:
    """How long one of our own servers took to be ready."""
    if endpoint.cold is None:
        raise ValueError(f"the server at {endpoint.host}:{endpoint.port} was up already")
    return endpoint.cold.start_s


class ServedEndpoint:
    """Our server, started by `serve`."""

    response_bytes: int | None = None
    requests: RequestSet | None = None
    expected: Expectation | None = None

    def __init__(self, child: Child, port: int, cold: ColdStart) -> None:
        self._child = child
        self.host, self.port = _LOOPBACK, port
        self.pid: int | None = child.pid
        self.cold: ColdStart | None = cold

    def alive(self) -> bool:
        return self._child.alive()

    def how_it_ended(self) -> str:
        return self._child.how_it_ended()

    def stop(self) -> None:
        self._child.stop()


def listen(host: str = _LOOPBACK, port: int = 0) -> socket.socket:
    """A listening socket, handed to the server as it is, so that the port cannot be lost between choosing and using it.

    Raises UsageError when there is no free port: what holds them is for the user to see and to end.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; free a port or choose another") from error
    return listener


def serve(
    candidate: Candidate,
    artifact: Artifact,
    model_folder: Path,
    *,
    cpus: Sequence[int],
    log: Path,
    deadline_s: float = 120.0,
    cancelled: Callable[[], bool] = lambda: False,
) -> ServedEndpoint | Failure:
    """Start the server of one candidate on `cpus` and wait until it is ready, or say why it never was."""
    ready_file = log.with_suffix(".ready.json")
    ready_file.unlink(missing_ok=True)
    with listen() as listener:
        port = listener.getsockname()[1]
        child = Child(
            _command(candidate, artifact, model_folder, cpus, listener.fileno(), ready_file),
            log=log,
            cpus=cpus,
            pass_fds=(listener.fileno(),),
            # Another interpreter must find its own packages, not those of this checkout.
            env={"PYTHONPATH": ""} if candidate.python else None,
        )
    try:
        return _await_ready(child, port, ready_file, deadline_s, cancelled)
    except BaseException:
        child.stop(grace_s=0.0)
        raise
    finally:
        ready_file.unlink(missing_ok=True)


def _command(
    candidate: Candidate, artifact: Artifact, model_folder: Path, cpus: Sequence[int], fd: int, ready_file: Path
) -> list[str]:
    return [
        *([candidate.python, "-P"] if candidate.python else [sys.executable]),
        "-m",
        "harness.serving",
        f"--backend={candidate.options.backend}",
        f"--artifact={artifact.path}",
        f"--model-folder={model_folder}",
        f"--name={candidate.model.name}",
        f"--fd={fd}",
        f"--cpus={','.join(str(cpu) for cpu in cpus)}",
        f"--threads={candidate.options.threads}",
        f"--workers={candidate.workers}",
        *([f"--extra-work={candidate.extra_work:.6g}"] if candidate.extra_work else []),
        f"--ready-file={ready_file}",
        "--die-with-parent",
    ]


def _await_ready(
    child: Child, port: int, ready_file: Path, deadline_s: float, cancelled: Callable[[], bool]
) -> ServedEndpoint | Failure:
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if ready_file.exists():
            ready = json.loads(ready_file.read_text(encoding="utf-8"))
            start_s = (time.monotonic_ns() - child.started_ns) / 1e9
            cold = ColdStart(start_s=start_s, load_s=ready["load_s"], first_inference_ms=ready["first_inference_ms"])
            return ServedEndpoint(child, port, cold)
        if not child.alive():
            child.stop(grace_s=0.0)
            return Failure(stage="serve", reason=f"the server {child.how_it_ended()}", log=child.log)
        if cancelled():
            raise Interrupted("interrupted")
        time.sleep(_POLL_S)
    child.stop(grace_s=0.0)
    return Failure(stage="serve", reason=f"the server was not ready within {deadline_s:g} s", log=child.log)
