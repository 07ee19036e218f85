"""The routes, as bare ASGI: every answer is prepared here, every inference is the engine's.

Standard error body: `{"error": "one line"}`. Every answered inference carries `Server-Timing: queue;dur=MS, compute;dur=MS`
(W3C Server Timing), the same figures that the statistics add up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from harness.nouns import ModelSpec
from harness.serving import documents
from harness.serving.bodies import SINK, BodyTooLarge, Memory, Sink, body_limit_bytes, read_body
from harness.serving.encoding import choose, compress, decoder, decompress
from harness.serving.engine import ClientGone, Engine, Job, QueueFull, Ran, SessionFailed, one_line
from harness.serving.protocol import VERSION, Codec, Reply, parse_header_length
from harness.serving.sagemaker import Contract
from harness.serving.tensors import ProtocolError, Tensor, shown

log = logging.getLogger("loadstone.serving")

Headers = dict[bytes, bytes]
HeaderList = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_RETRY_AFTER = (b"retry-after", b"1")
_OFF_LOOP_BYTES = 64 * 1024  # (de)compressing more than this takes about a millisecond; zlib lets other threads run
_LINGER_S = 2.0

Decode = Callable[[memoryview, Headers], Any]
Encode = Callable[[Any, list[Tensor]], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`body_bytes` holds for the body as sent and as decompressed."""

    body_bytes: int

    @staticmethod
    def of(spec: ModelSpec) -> Limits:
        return Limits(body_bytes=body_limit_bytes(spec))


class App:
    """An ASGI application serving `spec` with `engine`, which must have been started."""

    def __init__(self, spec: ModelSpec, engine: Engine, *, backend: str, release: str, limits: Limits | None = None) -> None:
        """Raises ValueError for a model whose tensors the protocol cannot carry."""
        self.ready = True
        """What the readiness routes answer; cleared when the server begins to stop."""
        self._engine = engine
        self._limits = limits or Limits.of(spec)
        self._memory = Memory()
        self._codec = Codec(spec)
        self._contract = Contract(spec, self._codec)
        self._gets = self._get_routes(backend, release)
        self._infer_paths = frozenset(f"{base}/infer" for base in self._bases())

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        decode: Decode
        encode: Encode
        if path in self._infer_paths:
            decode, encode = self._decode_protocol, self._codec.encode
        elif path == "/invocations":
            decode, encode = self._contract.decode, self._contract.encode
        else:
            await self._describe(scope["method"], path, send)
            return
        if scope["method"] != "POST":
            await _error(send, 405, f"{path} takes POST only", (b"allow", b"POST"))
            return
        sink = scope.get("extensions", {}).get(SINK)
        await self._answer(dict(scope["headers"]), receive, sink, send, decode, encode)

    def _bases(self) -> tuple[str, str]:
        base = f"/v2/models/{self._codec.name}"
        return base, f"{base}/versions/{VERSION}"

    def _get_routes(self, backend: str, release: str) -> dict[str, Callable[[], Any]]:
        """Path to the function that gives the JSON document; None stands for an empty 200 or, when not ready, 503."""
        codec, engine = self._codec, self._engine
        server = documents.server_metadata(release)
        model = documents.model_metadata(codec, backend)
        config = documents.model_config(codec, backend, engine.workers)
        index = documents.repository_index(codec)

        def statistics() -> dict[str, Any]:
            return documents.model_statistics(codec, engine.statistics)

        routes: dict[str, Callable[[], Any]] = {
            "/v2": lambda: server,
            "/v2/repository/index": lambda: index,
            "/v2/models/stats": statistics,
        }
        for base in self._bases():
            routes |= {base: lambda: model, f"{base}/config": lambda: config, f"{base}/stats": statistics}
        return routes

    async def _describe(self, method: str, path: str, send: Send) -> None:
        """The routes that need no inference."""
        allowed = ("GET", "POST") if path == "/v2/repository/index" else ("GET",)
        path = path.rstrip("/") or "/"
        document = self._gets.get(path)
        probes = {"/ping", "/v2/health/ready", *(f"{base}/ready" for base in self._bases())}
        if document is None and path not in probes and path != "/v2/health/live":
            await _error(send, 404, self._unknown(path))
        elif method not in allowed:
            await _error(send, 405, f"{path} takes {' or '.join(allowed)} only", (b"allow", ", ".join(allowed).encode()))
        elif document is not None:
            await _send(send, 200, [_JSON], orjson.dumps(document()))
        else:
            alive = self.ready or path == "/v2/health/live"
            await _send(send, 200 if alive else 503, [], b"")

    def _unknown(self, path: str) -> str:
        parts = path.split("/")
        if parts[1:3] != ["v2", "models"] or len(parts) < 4:
            return f"no route {shown(path)}"
        if parts[3] != self._codec.name:
            return f"unknown model {shown(parts[3])}; this server serves {self._codec.name}"
        if parts[4:5] == ["versions"] and parts[5:6] != [VERSION]:
            return f"unknown version {shown('/'.join(parts[5:6]))} of {self._codec.name}; this server serves version {VERSION}"
        return f"no route {shown(path)}"

    def _decode_protocol(self, body: memoryview, headers: Headers) -> Any:
        return self._codec.decode(body, parse_header_length(headers.get(b"inference-header-content-length")))

    async def _answer(
        self, headers: Headers, receive: Receive, sink: Sink | None, send: Send, decode: Decode, encode: Encode
    ) -> None:
        """One inference from body to reply; every way it can fail is one status."""
        try:
            await self._infer(headers, receive, sink, send, decode, encode)
        except ProtocolError as error:
            await _error(send, error.status, str(error))
        except BodyTooLarge:
            await _refuse_body(receive, send, f"the body is larger than {self._limits.body_bytes} bytes")
        except QueueFull:
            await _error(send, 503, "too many requests are waiting; try again later", _RETRY_AFTER)
        except SessionFailed as error:
            await _error(send, 500, f"inference failed: {error}")
        except ClientGone:
            pass  # nobody is left to answer

    async def _infer(
        self, headers: Headers, receive: Receive, sink: Sink | None, send: Send, decode: Decode, encode: Encode
    ) -> None:
        body = await self._body(headers, receive, sink)
        begun_ns = time.monotonic_ns()
        call = decode(body, headers)
        decoded_ns = time.monotonic_ns()
        job = self._engine.submit(call.inputs)
        ran = await self._ran(job, receive)
        ran_ns = time.monotonic_ns()
        try:
            reply = encode(call, ran.outputs)
        except (ValueError, TypeError, KeyError) as error:
            log.error("the model's outputs could not be encoded: %s", one_line(error))
            raise SessionFailed(one_line(error)) from error
        encoded_ns = time.monotonic_ns()
        self._memory.give(body)
        await _send_reply(send, reply, ran, headers.get(b"accept-encoding"))
        statistics = self._engine.statistics
        statistics.decode.add(decoded_ns - begun_ns)
        statistics.encode.add(encoded_ns - ran_ns)
        statistics.success.add(encoded_ns - begun_ns)

    async def _body(self, headers: Headers, receive: Receive, sink: Sink | None) -> memoryview:
        window_bits = decoder(headers.get(b"content-encoding"))
        header_length = parse_header_length(headers.get(b"inference-header-content-length")) or 0
        announced = headers.get(b"content-length")
        body = await read_body(receive, sink, self._memory, announced, header_length, self._limits.body_bytes)
        if window_bits is None:
            return body
        limit = self._limits.body_bytes
        if len(body) > _OFF_LOOP_BYTES:
            data = await asyncio.get_running_loop().run_in_executor(None, decompress, body, window_bits, limit)
        else:
            data = decompress(body, window_bits, limit)
        landed = self._memory.take(len(data), header_length)
        landed[:] = data
        return landed

    async def _ran(self, job: Job, receive: Receive) -> Ran:
        """The job's outcome. Only a job that has to queue is watched for its client leaving: one that runs is not stopped."""
        if not job.queued:
            return await job.future
        watcher = asyncio.get_running_loop().create_task(self._drop_when_gone(job, receive))
        try:
            return await job.future
        finally:
            watcher.cancel()

    async def _drop_when_gone(self, job: Job, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._engine.drop(job)


async def _send(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_reply(send: Send, reply: Reply, ran: Ran, accept_encoding: bytes | None) -> None:
    timing = b"queue;dur=%.3f, compute;dur=%.3f" % (ran.queue_ns / 1e6, ran.compute_ns / 1e6)
    headers: HeaderList = [(b"content-type", reply.content_type), (b"server-timing", timing)]
    if reply.header_length is not None:
        headers.append((b"inference-header-content-length", b"%d" % reply.header_length))
    coding = choose(accept_encoding, len(reply.body))
    if coding is not None:
        headers.append((b"content-encoding", coding))
        if len(reply.body) > _OFF_LOOP_BYTES:
            packed = await asyncio.get_running_loop().run_in_executor(None, compress, reply.body, coding)
        else:
            packed = compress(reply.body, coding)
        reply = replace(reply, body=packed)
    await _send(send, 200, headers, reply.body)


async def _error(send: Send, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
    await _send(send, status, [_JSON, *headers], orjson.dumps({"error": message}))


async def _refuse_body(receive: Receive, send: Send, message: str) -> None:
    """413, then read on for a while before closing: a close with unread data would reset the connection and lose the answer."""
    body = orjson.dumps({"error": message})
    headers = [_JSON, _CLOSE, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    try:
        async with asyncio.timeout(_LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass  # waited long enough for a client that sends on regardless
    await send({"type": "http.response.body", "body": b""})
