"""One inference from a whole body to an answer, and every way it can fail as one status.

`Inference` does what has to be done whoever carries the bytes: the application (`app`), or the connection itself (`direct`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from harness.serving.engine import Inputs, QueueFull, Ran, SessionFailed, Statistics, one_line
from harness.serving.protocol import Reply
from harness.serving.tensors import ProtocolError, Tensor

log = logging.getLogger("loadstone.serving")

Headers = dict[bytes, bytes]
HeaderList = list[tuple[bytes, bytes]]
Decode = Callable[[memoryview, Headers], Any]
Encode = Callable[[Any, list[Tensor]], Reply]

JSON = (b"content-type", b"application/json")
_RETRY_AFTER = (b"retry-after", b"1")


@dataclass(frozen=True, slots=True)
class Form:
    """How the requests of one path are read and answered."""

    decode: Decode
    encode: Encode


@dataclass(slots=True)
class Answer:
    """A response, but for Content-Length and what the connection adds."""

    status: int
    headers: HeaderList
    body: bytes


class Inference:
    """Decodes one request, encodes its outcome, and adds the times of both to the statistics once it is answered."""

    __slots__ = ("_begun_ns", "_call", "_decode_ns", "_encode_ns", "_ended_ns", "_form", "_headers")

    def __init__(self, form: Form, headers: Headers) -> None:
        self._form, self._headers = form, headers

    def inputs(self, body: memoryview) -> Inputs:
        """Raises ProtocolError when the body is not what the model takes."""
        self._begun_ns = time.monotonic_ns()
        self._call = self._form.decode(body, self._headers)
        self._decode_ns = time.monotonic_ns() - self._begun_ns
        inputs: Inputs = self._call.inputs
        return inputs

    def answer(self, ran: Ran) -> Answer:
        """Uncompressed. Raises SessionFailed when the model's outputs are none that can be sent."""
        begun_ns = time.monotonic_ns()
        try:
            reply = self._form.encode(self._call, ran.outputs)
        except (ValueError, TypeError, KeyError) as error:
            log.error("the model's outputs could not be encoded: %s", one_line(error))
            raise SessionFailed(one_line(error)) from error
        self._ended_ns = time.monotonic_ns()
        self._encode_ns = self._ended_ns - begun_ns
        timing = b"queue;dur=%.3f, compute;dur=%.3f" % (ran.queue_ns / 1e6, ran.compute_ns / 1e6)
        headers = [(b"content-type", reply.content_type), (b"server-timing", timing)]
        if reply.header_length is not None:
            headers.append((b"inference-header-content-length", b"%d" % reply.header_length))
        return Answer(200, headers, reply.body)

    def count(self, statistics: Statistics) -> None:
        """Once the answer is on its way."""
        statistics.decode.add(self._decode_ns)
        statistics.encode.add(self._encode_ns)
        statistics.success.add(self._ended_ns - self._begun_ns)


def refusal(error: ProtocolError | QueueFull | SessionFailed) -> Answer:
    """What a client is told that gets no inference."""
    if isinstance(error, ProtocolError):
        return failure(error.status, str(error))
    if isinstance(error, QueueFull):
        return failure(503, "too many requests are waiting; try again later", _RETRY_AFTER)
    return failure(500, f"inference failed: {error}")


def failure(status: int, message: str, *headers: tuple[bytes, bytes]) -> Answer:
    """The one form of every error."""
    return Answer(status, [JSON, *headers], orjson.dumps({"error": message}))
