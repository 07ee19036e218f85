"""Asks an endpoint every payload and compares its answers with the reference, before any load; then watches over it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compilers import parity
from compilers.spec_io import PreparedModel, read_payloads, read_reference
from harness import remote
from harness.endpoint import ColdStart
from harness.errors import InfrastructureError, Interrupted
from harness.nouns import Failure, Parity
from harness.reached import dialects
from harness.reached.dialects import Dialect, Outputs, Payload, Unreadable
from harness.reached.nouns import Reached
from harness.remote import Address, Answer, Expectation
from harness.request import Remote
from harness.requestset import RequestSet

TIMEOUT_S = 60.0
REACH, PARITY = "reach", "parity"
"""The stages at which an endpoint fails: it does not answer, or not what the model says."""

_CONNECT_S = 5.0
_SHOWN = 160


class _Refused(Exception):
    """No answer, or none in this dialect; the message says why."""


@dataclass
class RemoteEndpoint:
    """An endpoint under test that we did not start and will not stop."""

    host: str
    port: int
    requests: RequestSet | None
    expected: Expectation | None
    pid: int | None = None
    cold: ColdStart | None = None
    response_bytes: int | None = field(default=None, init=False)

    def alive(self) -> bool:
        try:
            with socket.create_connection((self.host, self.port), _CONNECT_S):
                return True
        except OSError:
            return False

    def how_it_ended(self) -> str:
        return f"at {self.host}:{self.port} accepts no connections any more"

    def stop(self) -> None:
        """It is somebody else's."""


def reach(asked: Remote, model: PreparedModel, folder: Path, cancelled: Callable[[], bool]) -> Reached | Failure:
    """Put every payload to the endpoint and compare; its requests are written to `folder`. Raises Interrupted."""
    at = remote.address(asked.url)
    protocol = remote.protocol_of(at.path, ())
    path = f"{remote.model_path(at)}/infer" if protocol == remote.OIP else at.path
    payloads = read_payloads(model.folder)
    if protocol == remote.OIP:
        payloads = _renamed(at, payloads)
    try:
        dialect = _understood(at, path, protocol, payloads[0], model)
        answers, outputs = [], []
        for payload in payloads:
            if cancelled():
                raise Interrupted("interrupted")
            answer, found = _ask(at, path, dialect, payload, model)
            answers.append(answer)
            outputs.append(found)
    except _Refused as refused:
        return Failure(stage=REACH, reason=f"{asked.url}: {refused}")
    distance = parity.compare(outputs, read_reference(model.folder))
    wrong = distance if isinstance(distance, str) else parity.verdict(distance, model.spec.tolerance)
    if isinstance(distance, str) or wrong is not None:
        return Failure(stage=PARITY, reason=f"{asked.url} does not answer like the model's fp32 reference: {wrong}")
    return Reached(
        parity=distance,
        dialect=dialect.name,
        requests=_written(path, dialect, payloads, folder),
        expected=_expected(dialect, answers),
    )


def connect(asked: Remote, reached: Reached, model: PreparedModel) -> RemoteEndpoint | Failure:
    """The endpoint for one visit, once it has answered the first payload rightly again."""
    at = remote.address(asked.url)
    protocol = remote.protocol_of(at.path, ())
    dialect = next(each for each in dialects.of(protocol) if each.name == reached.dialect)
    payload = read_payloads(model.folder)[:1]
    try:
        _, found = _ask(
            at, reached.requests.path, dialect, (_renamed(at, payload) if protocol == remote.OIP else payload)[0], model
        )
    except _Refused as refused:
        return Failure(stage=REACH, reason=f"{asked.url}: {refused}")
    distance = parity.compare([found], read_reference(model.folder)[:1])
    wrong = distance if isinstance(distance, str) else _beyond(distance, model)
    if wrong is not None:
        return Failure(stage=PARITY, reason=f"{asked.url} answers differently from before: {wrong}")
    return RemoteEndpoint(host=at.host, port=at.port, requests=reached.requests, expected=reached.expected)


def _beyond(distance: Parity, model: PreparedModel) -> str | None:
    return parity.verdict(distance, model.spec.tolerance)


def _understood(at: Address, path: str, protocol: str, payload: Payload, model: PreparedModel) -> Dialect:
    """The first dialect in which the endpoint answers. Raises _Refused with what it said to the first of them."""
    first: _Refused | None = None
    for dialect in dialects.of(protocol):
        try:
            _ask(at, path, dialect, payload, model)
            return dialect
        except _Refused as refused:
            first = first or refused
    raise first or _Refused("nothing was asked")


def _ask(at: Address, path: str, dialect: Dialect, payload: Payload, model: PreparedModel) -> tuple[Answer, Outputs]:
    try:
        headers, body = dialect.encode(payload)
        answer = remote.ask(at, "POST", path, body, headers, TIMEOUT_S)
        if not 200 <= answer.status < 300:
            raise _Refused(f"answered {answer.status}: {answer.body[:_SHOWN].decode('utf-8', 'replace')}")
        return answer, dialect.decode(answer, model.spec.outputs)
    except InfrastructureError as error:
        raise _Refused(f"no answer ({error}); is it up, and reachable from here?") from error
    except Unreadable as error:
        raise _Refused(f"its answer is no {dialect.name}: {error}") from error


def _renamed(at: Address, payloads: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The payloads under the names that the endpoint says its inputs have, where it has as many of them under other names."""
    try:
        document = remote.described(at, _CONNECT_S)
        names = [str(entry["name"]) for entry in document["inputs"]]
    except (InfrastructureError, ValueError, KeyError, TypeError):
        return [dict(payload) for payload in payloads]  # it may answer without describing itself
    own = list(payloads[0])
    if set(names) == set(own) or len(names) != len(own):
        return [dict(payload) for payload in payloads]
    return [dict(zip(names, payload.values(), strict=True)) for payload in payloads]


def _written(path: str, dialect: Dialect, payloads: Sequence[Payload], folder: Path) -> RequestSet:
    """One file per distinct body. Payloads of one model share names and shapes, and so the headers."""
    folder.mkdir(parents=True, exist_ok=True)
    files, headers = [], dict[str, str]()
    for payload in payloads:
        headers, body = dialect.encode(payload)
        file = folder / f"{hashlib.sha256(body).hexdigest()[:16]}.bin"
        if not file.exists():
            file.write_bytes(body)
        files.append(file)
    return RequestSet(path=path, headers=headers, bodies=tuple(files))


def _expected(dialect: Dialect, answers: Sequence[Answer]) -> Expectation:
    """The same length where every answer had it and holds binary tensors; else a JSON document, which digits make vary."""
    sizes = {len(answer.body) for answer in answers}
    binary = dialect in (dialects.BINARY, dialects.TRITON_BINARY)
    if binary and len(sizes) == 1:
        return Expectation(status=answers[0].status, body_bytes=sizes.pop())
    if dialect is dialects.INSTANCES:
        return Expectation(status=answers[0].status, body="json")
    return remote.expectation(remote.OIP, answers)
