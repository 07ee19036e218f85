"""The routes, as bare ASGI: every answer is prepared here, every inference is the engine's.

Standard error body: `{"error": "one line"}`. Every answered inference carries `Server-Timing: queue;dur=MS, compute;dur=MS`
(W3C Server Timing), the same figures that the statistics add up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from harness.nouns import ModelSpec
from harness.serving import documents
from harness.serving.bodies import LENGTH_DIGITS, SINK, BodyTooLarge, Memory, Sink, body_limit_bytes, read_body
from harness.serving.direct import Direct, Wire
from harness.serving.encoding import WORTHWHILE_BYTES, choose, compress, decoder, decompress
from harness.serving.engine import ClientGone, Engine, Job, QueueFull, Ran, SessionFailed
from harness.serving.inference import JSON, Answer, Form, Headers, Inference, failure, refusal
from harness.serving.protocol import VERSION, Codec, parse_header_length
from harness.serving.sagemaker import Contract
from harness.serving.tensors import ProtocolError, shown

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CLOSE = (b"connection", b"close")
_TASK_HEADERS = frozenset({b"content-encoding", b"transfer-encoding", b"expect"})
"""What takes more than one answer, or may take more than a moment, needs a task."""
_OFF_LOOP_BYTES = 64 * 1024  # (de)compressing more than this takes about a millisecond; zlib lets other threads run
_LINGER_S = 2.0


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
        protocol = Form(self._decode_protocol, self._codec.encode)
        self._forms = {f"{base}/infer": protocol for base in self._bases()}
        self._forms["/invocations"] = Form(self._contract.decode, self._contract.encode)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        form = self._forms.get(path)
        if form is None:
            await self._describe(scope["method"], path, send)
            return
        if scope["method"] != "POST":
            await _send(send, failure(405, f"{path} takes POST only", (b"allow", b"POST")))
            return
        sink = scope.get("extensions", {}).get(SINK)
        await self._answer(dict(scope["headers"]), receive, sink, send, form)

    def direct(self, scope: MutableMapping[str, Any], wire: Wire) -> Direct | None:
        """The request of `scope`, whose body is still to come, as one that needs no task; None when it does."""
        form = self._forms.get(scope["path"])
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"")
        if form is None or scope["method"] != "POST" or not _TASK_HEADERS.isdisjoint(headers):
            return None
        if choose(headers.get(b"accept-encoding")) is not None:
            return None
        if not announced.isdigit() or len(announced) > LENGTH_DIGITS or int(announced) > self._limits.body_bytes:
            return None
        try:
            header_length = parse_header_length(headers.get(b"inference-header-content-length")) or 0
        except ProtocolError:
            return None
        return Direct(form, headers, self._engine, self._memory, self._memory.take(int(announced), header_length), wire)

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
            await _send(send, failure(404, self._unknown(path)))
        elif method not in allowed:
            allow = (b"allow", ", ".join(allowed).encode())
            await _send(send, failure(405, f"{path} takes {' or '.join(allowed)} only", allow))
        elif document is not None:
            await _send(send, Answer(200, [JSON], orjson.dumps(document())))
        else:
            alive = self.ready or path == "/v2/health/live"
            await _send(send, Answer(200 if alive else 503, [], b""))

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

    async def _answer(self, headers: Headers, receive: Receive, sink: Sink | None, send: Send, form: Form) -> None:
        """One inference from body to reply."""
        try:
            await self._infer(headers, receive, sink, send, form)
        except (ProtocolError, QueueFull, SessionFailed) as error:
            await _send(send, refusal(error))
        except BodyTooLarge:
            await _refuse_body(receive, send, f"the body is larger than {self._limits.body_bytes} bytes")
        except ClientGone:
            pass  # nobody is left to answer

    async def _infer(self, headers: Headers, receive: Receive, sink: Sink | None, send: Send, form: Form) -> None:
        body = await self._body(headers, receive, sink)
        inference = Inference(form, headers)
        job, ran = self._engine.ask(inference.inputs(body))
        answer = inference.answer(await self._ran(job, ran, receive))
        self._memory.give(body)
        await _compress(answer, headers.get(b"accept-encoding"))
        await _send(send, answer)
        inference.count(self._engine.statistics)

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

    async def _ran(self, job: Job, ran: asyncio.Future[Ran], receive: Receive) -> Ran:
        """The job's outcome. Only a job that has to queue is watched for its client leaving: one that runs is not stopped."""
        if not job.queued:
            return await ran
        watcher = asyncio.get_running_loop().create_task(self._drop_when_gone(job, receive))
        try:
            return await ran
        finally:
            watcher.cancel()

    async def _drop_when_gone(self, job: Job, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._engine.drop(job)


async def _send(send: Send, answer: Answer) -> None:
    answer.headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _compress(answer: Answer, accept_encoding: bytes | None) -> None:
    """As the client accepts it, if that is worth it."""
    coding = choose(accept_encoding)
    if coding is None or len(answer.body) < WORTHWHILE_BYTES:
        return
    answer.headers.append((b"content-encoding", coding))
    if len(answer.body) > _OFF_LOOP_BYTES:
        answer.body = await asyncio.get_running_loop().run_in_executor(None, compress, answer.body, coding)
    else:
        answer.body = compress(answer.body, coding)


async def _refuse_body(receive: Receive, send: Send, message: str) -> None:
    """413, then read on for a while before closing: a close with unread data would reset the connection and lose the answer."""
    answer = failure(413, message, _CLOSE)
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    try:
        async with asyncio.timeout(_LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass  # waited long enough for a client that sends on regardless
    await send({"type": "http.response.body", "body": b""})
