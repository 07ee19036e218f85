"""An endpoint that somebody else serves: what its URL says, how to ask it, and what its first answers promise of the others."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InfrastructureError, UsageError
from harness.nouns import TensorSpec
from harness.requestset import RequestSet
from harness.serving.tensors import NUMPY_OF
from loadprofiles.expectation import outputs

OIP, SAGEMAKER, JSON, BYTES = "oip", "sagemaker", "json", "bytes"
PROTOCOLS = (OIP, SAGEMAKER, JSON, BYTES)

_MODELS = "/v2/models/"
_MAX_ANSWER_BYTES = 256 << 20
_READ_BYTES = 1 << 16
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An http URL, taken apart; `path` has the query with it."""

    url: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One complete answer; `header_length` is that of the JSON in front of binary tensors, None without any."""

    status: int
    content_type: str
    header_length: int | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What every good answer under load must be, and why that is all that is asked: see `Plan.expect_*`."""

    status: int
    body_bytes: int | None = None
    body: str | None = None
    outputs: str | None = None

    def __str__(self) -> str:
        if self.body_bytes is not None:
            return f"status {self.status} and {self.body_bytes} bytes"
        if self.outputs:
            return f"status {self.status} and the outputs {self.outputs}"
        if self.outputs is not None:
            return f"status {self.status} and an Open Inference Protocol reply"
        return f"status {self.status} and {'a JSON document' if self.body == 'json' else 'a body that is not empty'}"


def address(url: str) -> Address:
    """Take `url` apart. Raises UsageError for what is not an http URL that can be loaded."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url} is not a URL: {error}") from error
    if parts.scheme == "https":
        raise UsageError(f"{url}: https is not spoken; load the server behind its TLS proxy, by its http address")
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(f"{url} is not http://HOST:PORT/…, such as http://HOST:PORT/v2/models/NAME or …/invocations")
    if parts.username is not None:
        raise UsageError(f"the URL of {parts.hostname} holds a name or password; send them with --header 'Authorization: …'")
    if port == 0:
        raise UsageError(f"{url}: nothing listens on port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Address(url=url, host=parts.hostname, port=80 if port is None else port, path=path)


def protocol_of(path: str, suffixes: Sequence[str]) -> str:
    """What an endpoint of that path speaks: from the path, else from the suffixes of the payload files."""
    bare = path.partition("?")[0].rstrip("/")
    if bare.startswith(_MODELS):
        return OIP
    if bare.endswith("/invocations"):
        return SAGEMAKER
    return JSON if suffixes and set(suffixes) == {".json"} else BYTES


def model_path(at: Address) -> str:
    """The path of the model of an Open Inference Protocol URL, without a final /infer. Raises UsageError when it names none."""
    bare = at.path.partition("?")[0].rstrip("/").removesuffix("/infer").rstrip("/")
    if not bare.startswith(_MODELS) or bare == _MODELS.rstrip("/"):
        raise UsageError(f"{at.url} names no model: the Open Inference Protocol wants http://HOST:PORT/v2/models/NAME")
    return bare


def checked_headers(lines: Sequence[str]) -> dict[str, str]:
    """`Name: value` lines as headers. Raises UsageError for what is none, or is the load generator's own business."""
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.strip()
        if (
            not colon
            or not name
            or any(not (each.isascii() and (each.isalnum() or each in "!#$%&'*+-.^_`|~")) for each in name)
        ):
            raise UsageError(f"--header {line!r} is not NAME: VALUE")
        if name.lower() in ("content-length", "transfer-encoding", "connection", "expect"):
            raise UsageError(f"--header {name}: the load generator sets it itself")
        found[name] = value.strip()
    return found


def declared_inputs(at: Address, timeout_s: float) -> tuple[TensorSpec, ...]:
    """The inputs that an Open Inference Protocol endpoint says its model has; a batch axis of -1 becomes 1.

    Raises UsageError when it does not describe a model.
    """
    try:
        return tuple(
            TensorSpec(name=str(tensor["name"]), dtype=NUMPY_OF[tensor["datatype"]], shape=_shape(tensor))
            for tensor in described(at, timeout_s)["inputs"]
        )
    except (InfrastructureError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{at.url} does not describe a model ({error}); is the server up and the name right?") from error


def described(at: Address, timeout_s: float) -> Any:
    """The metadata that an Open Inference Protocol endpoint gives of its model. Raises InfrastructureError and ValueError."""
    answer = ask(at, "GET", model_path(at), None, {}, timeout_s)
    if answer.status != 200:
        raise ValueError(f"status {answer.status}")
    return json.loads(answer.body)


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    sizes = [int(size) for size in tensor["shape"]]
    if sizes[:1] == [-1]:
        sizes[0] = 1
    if min(sizes, default=1) < 0:
        raise ValueError(f"input {tensor['name']} has the shape {tensor['shape']}: only a batch axis may be free")
    return tuple(sizes)


def first_answers(at: Address, requests: RequestSet, timeout_s: float, most: int = 2) -> list[Answer]:
    """The answers to the first few payloads, one after the other, up to the first that is none."""
    found: list[Answer] = []
    for body in requests.bodies[:most]:
        try:
            found.append(ask(at, "POST", requests.path, body.read_bytes(), requests.headers, timeout_s))
        except InfrastructureError:
            break  # the load will count such failures, with their reasons
    return found


def expectation(protocol: str, answers: Sequence[Answer]) -> Expectation:
    """What to hold every answer under load against, from the first ones. Pure.

    Of answers that are no good only the protocol's own promise is left to expect, so that they count as failures.
    """
    good = [each for each in answers if 200 <= each.status < 300]
    status = good[0].status if good else 200
    if protocol == OIP:
        return _expected_of_oip(status, good)
    documents = protocol == JSON or bool(good and all("json" in each.content_type for each in good))
    return Expectation(status=status, body="json" if documents else "some")


def _expected_of_oip(status: int, good: Sequence[Answer]) -> Expectation:
    """Equal lengths of binary tensors, equal names, types and shapes of JSON ones; any outputs when they vary."""
    if not good:
        return Expectation(status=status, body="some")
    seen = {_outputs_of(each) for each in good}
    if all(each.header_length is not None for each in good) and None not in seen:
        sizes = {len(each.body) for each in good}
        if len(sizes) == 1:
            return Expectation(status=status, body_bytes=sizes.pop())
        return Expectation(status=status, body="some")
    same = seen.pop() if len(seen) == 1 else None
    return Expectation(status=status, body="json", outputs=same or "")


def _outputs_of(answer: Answer) -> str | None:
    try:
        return outputs(json.loads(answer.body[: answer.header_length]))
    except (ValueError, RecursionError):
        return None


def ask(at: Address, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout_s: float) -> Answer:
    """One request on a connection of its own. Raises InfrastructureError when there was no complete answer in time."""
    end = time.monotonic() + timeout_s
    connection = http.client.HTTPConnection(at.host, at.port, timeout=timeout_s)
    try:
        connection.request(method, path, body, dict(headers))
        reply = connection.getresponse()
        received = bytearray()
        while block := reply.read1(_READ_BYTES):
            received += block
            if time.monotonic() > end or len(received) > _MAX_ANSWER_BYTES:
                raise InfrastructureError(f"no end of its answer after {timeout_s:g} s and {len(received):,} bytes")
        if reply.length:
            raise InfrastructureError(f"its answer ended {reply.length} bytes early")
        length = reply.headers.get("Inference-Header-Content-Length", "")
        return Answer(
            status=reply.status,
            content_type=reply.headers.get("Content-Type", "").lower(),
            header_length=int(length) if length.isdigit() else None,
            body=bytes(received),
        )
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise InfrastructureError(f"{error or type(error).__name__}") from error
    finally:
        connection.close()
