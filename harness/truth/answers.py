"""Every reply of a truth server as bytes, made beforehand: its model's description, and each kind of answer in each form. Pure.

The model "truth" takes x, FP32 [1, 8], looks at none of it, and gives y, FP32 [1, 10]: 0.5, 1.5 … 9.5, the reverse when wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson

from harness.nouns import ModelSpec, TensorSpec
from harness.serving import documents
from harness.serving.protocol import JSON, OCTETS, Codec, InferRequest, Reply, WantedOutput
from harness.serving.sagemaker import NPY, TRITON, Contract, Invocation
from harness.truth.spec import Kind

MODEL = ModelSpec(
    name="truth",
    digest="none",
    inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 8)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 10)),),
    parameters=0,
    flops=0,
    weights="file",
    weights_note="the truth server has no weights",
    reference="harness.truth.answers",
)
RIGHT = (np.arange(10, dtype=np.float32) + 0.5).reshape(1, 10)
WRONG = np.ascontiguousarray(RIGHT[:, ::-1])

_ALIVE = ("/ping", "/v2/health/live", "/v2/health/ready", f"/v2/models/{MODEL.name}/ready")
_GARBAGE = b"This is no HTTP.\r\n\r\n"
_REASONS = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 503: b"Service Unavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What of a request decides the form of its answer: the path, and two headers in lower case, None when absent."""

    path: bytes
    content_type: bytes | None
    header_length: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send, and what to do with the connection after it: `keep` it, close it, or `reset` it."""

    data: bytes
    keep: bool
    reset: bool = False


class Answers:
    """The replies, each kind in the form that the request came in."""

    def __init__(self, release: str) -> None:
        """`release` is the version that the server says it is of."""
        codec = Codec(MODEL)
        contract = Contract(MODEL, codec)
        self._good = {form: _reply(contract, codec, form, RIGHT) for form in (b"v2", b"binary", JSON, OCTETS, NPY, TRITON)}
        self._wrong = {form: _reply(contract, codec, form, WRONG) for form in self._good}
        base = f"/v2/models/{MODEL.name}"
        described = {
            "/v2": documents.server_metadata(release),
            "/v2/repository/index": documents.repository_index(codec),
            base: documents.model_metadata(codec, "truth"),
            f"{base}/config": documents.model_config(codec, "truth", 1),
        }
        self._documents = {path.encode(): orjson.dumps(document) for path, document in described.items()}
        self._documents |= {path.encode(): b"" for path in _ALIVE}
        self._versioned = f"{base}/versions/1".encode(), base.encode()

    def immediate(self, method: bytes, form: Form, *, keep: bool) -> Answer | None:
        """The answer to a request that is none of the model's; None for an inference, which every other POST is."""
        path = (form.path.partition(b"?")[0].rstrip(b"/") or b"/").replace(*self._versioned)
        document = self._documents.get(path)
        if document is not None and (method == b"GET" or path == b"/v2/repository/index"):
            return Answer(data=_head(200, JSON, len(document), keep) + document, keep=keep)
        if method == b"POST":
            return None
        if method == b"GET":
            return error(
                404, "the truth server answers any POST, and GET /v2/models/truth, /v2/health/ready or /ping", keep=keep
            )
        return error(405, "the truth server takes GET and POST only", keep=keep)

    def inference(self, kind: Kind, form: Form, queue_ns: int, service_ns: int, *, keep: bool) -> Answer:
        """The answer of `kind`, told to have waited and been computed for that long. NEVER has none."""
        if kind is Kind.UNAVAILABLE:
            return error(503, "unavailable, as asked", keep=keep)
        if kind is Kind.EMPTY:
            return Answer(data=_head(200, JSON, 0, keep), keep=keep)
        if kind is Kind.GARBAGE:
            return Answer(data=_GARBAGE, keep=False)
        if kind is Kind.RESET:
            return Answer(data=b"", keep=False, reset=True)
        reply = (self._wrong if kind is Kind.WRONG else self._good)[_form(form)]
        timing = b"Server-Timing: queue;dur=%.3f, compute;dur=%.3f\r\n" % (queue_ns / 1e6, service_ns / 1e6)
        if reply.header_length is not None:
            timing += b"Inference-Header-Content-Length: %d\r\n" % reply.header_length
        head = _head(200, reply.content_type, len(reply.body), keep and kind is not Kind.TRUNCATED, timing)
        if kind is Kind.TRUNCATED:
            return Answer(data=head + reply.body[: len(reply.body) // 2], keep=False)
        return Answer(data=head + reply.body, keep=keep)


def error(status: int, message: str, *, keep: bool) -> Answer:
    """An error in the form of the model server's."""
    body = orjson.dumps({"error": message})
    return Answer(data=_head(status, JSON, len(body), keep) + body, keep=keep)


def _head(status: int, content_type: bytes, length: int, keep: bool, more: bytes = b"") -> bytes:
    # Said outright, because a client of HTTP/1.0 keeps no connection otherwise.
    connection = b"keep-alive" if keep else b"close"
    head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n%s\r\n"
    return head % (status, _REASONS[status], content_type, length, connection, more)


def _form(form: Form) -> bytes:
    if form.header_length is not None:
        return b"binary"
    if form.path.startswith(b"/v2/"):
        return b"v2"
    kind = (form.content_type or JSON).partition(b";")[0].strip().lower()
    return kind if kind in (OCTETS, NPY, TRITON) else JSON


def _reply(contract: Contract, codec: Codec, form: bytes, output: np.ndarray) -> Reply:
    """As the model server would say it."""
    binary = form in (b"binary", TRITON)
    request = InferRequest(id=None, inputs={}, outputs=(WantedOutput(index=0, binary=binary),))
    if form in (b"v2", b"binary"):
        return codec.encode(request, [output])
    asked = request if form == TRITON else None
    return contract.encode(Invocation(inputs={}, accept=form, request=asked, triton=form == TRITON), [output])
