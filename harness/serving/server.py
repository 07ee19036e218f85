"""One application on one listening socket: uvicorn's HTTP/1.1 with the limits it lacks.

Added here: the request head is limited in size, a request that does not arrive in time is answered 408, and what is not HTTP
is answered in JSON like every other error.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import orjson
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from harness.serving.app import App
from harness.serving.bodies import SINK, Sink
from harness.serving.direct import Direct
from harness.serving.inference import Answer

HEAD_LIMIT_BYTES = 64 * 1024
_KEEP_ALIVE_S = 300  # longer than any pause within a load profile, so that no pooled connection is closed under its owner
_TICKS_PER_SWEEP = 10  # uvicorn ticks every 0.1 s
_STATUS = {400: b"400 Bad Request", 408: b"408 Request Timeout", 431: b"431 Request Header Fields Too Large"}


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `receiving_since_s` is when the request now arriving began, None between requests."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._in_head = True
        self._sink: Sink | None = None
        self._direct: Direct | None = None
        """The request whose body is arriving, or the one being answered, if it needs no task."""
        self._direct_cycle: RequestResponseCycle | None = None
        self._open_lock, self._lost = threading.Lock(), False
        self._head_is_new = False
        self.idle_since_s: float | None = self.loop.time()
        """When it was opened or its last answer was sent, None while there is a request."""
        self.receiving_since_s: float | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self.refuse(431, f"the request head is larger than {HEAD_LIMIT_BYTES} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self.idle_since_s = None
        self.receiving_since_s = self.loop.time()

    def on_headers_complete(self) -> None:
        self._head_is_new = True
        super().on_headers_complete()
        self._head_is_new = self._in_head = False
        if self._is_direct():
            return
        # The application starts after this callback, so it finds the sink in its scope.
        self._sink = Sink() if any(name == b"content-length" for name, _ in self.headers) else None
        if self._sink is not None:
            self.scope["extensions"] = {SINK: self._sink}  # type: ignore[dict-item]

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # One that had to wait for the answer to another (pipelined) comes here later, its body in its sink.
        fresh = self._head_is_new and not self.transport.get_write_buffer_size()
        self._direct = app.direct(cycle.scope, _Wire(self, cycle)) if fresh else None
        self._direct_cycle = cycle
        if self._direct is None:
            super()._start_asgi_task(cycle, app)

    def _is_direct(self) -> bool:
        """Whether the request now arriving is answered without a task."""
        return self._direct is not None and self._direct_cycle is self.cycle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._fd = transport.get_extra_info("socket").fileno()

    def write_now(self, head: bytes, body: bytes) -> bytes | None:
        """From any thread, while nothing else is being written: what the socket did not take; None when it is gone."""
        with self._open_lock:
            if self._lost or self.transport.is_closing():
                return None
            try:
                sent = os.writev(self._fd, (head, body))
            except BlockingIOError:
                sent = 0
            except OSError:
                return None
        return b"" if sent == len(head) + len(body) else (head + body)[sent:]

    def answered(self, cycle: RequestResponseCycle, rest: bytes) -> None:
        """Send the rest of the answer to a direct request, and go on as uvicorn does after one."""
        self._direct = None
        if cycle.disconnected or self.transport.is_closing():
            return
        cycle.response_started = cycle.response_complete = True
        if rest:
            self.transport.write(rest)
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def on_response_complete(self) -> None:
        # As uvicorn's, without its timer for each pause: the server's sweep ends what has been idle for too long.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since_s = self.loop.time()

    def on_body(self, body: bytes) -> None:
        if self._direct is not None and self._is_direct():
            self._direct.feed(body)
        elif self._sink is None:
            super().on_body(body)
        elif not self.cycle.response_started:
            self._sink.feed(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.receiving_since_s = None
        if self._direct is not None and self._is_direct():
            self._direct.complete()

    def connection_lost(self, exc: Exception | None) -> None:
        with self._open_lock:
            self._lost = True  # the descriptor is closed after this, and may be another connection's then
        super().connection_lost(exc)
        if self._direct is not None:
            self._direct.abandon()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, msg)

    def refuse(self, status: int, message: str) -> None:
        """Close, with an answer from outside the application unless it is answering; nothing more is read."""
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            # What is wrong came behind a whole request: that one gets its answer, and uvicorn closes after it.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if not (answering and self.cycle.response_started):
            body = orjson.dumps({"error": message})
            head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (_STATUS[status], len(body)) + body)
        self.transport.close()


class _Wire:
    """The way back to the client of one direct request."""

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: BoundedProtocol, cycle: RequestResponseCycle) -> None:
        self._connection, self._cycle = connection, cycle

    def early(self, answer: Answer) -> bytes | None:
        return self._connection.write_now(self._head(answer), answer.body)

    def finish(self, answer: Answer, left: bytes | None) -> None:
        self._connection.answered(self._cycle, self._head(answer) + answer.body if left is None else left)

    def _head(self, answer: Answer) -> bytes:
        lines = [STATUS_LINE[answer.status], b"content-length: %d\r\n" % len(answer.body)]
        lines += [b"%b: %b\r\n" % header for header in answer.headers]
        lines.append(b"\r\n" if self._cycle.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)


class Server(uvicorn.Server):
    """Ends requests that take longer than `receive_timeout_s` to arrive, and tells `on_stop` when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, *, receive_timeout_s: float, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._receive_timeout_s = receive_timeout_s
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stop()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_SWEEP == 0:
            self._end_the_slow(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def _end_the_slow(self, now_s: float) -> None:
        for connection in list(self.server_state.connections):
            if not isinstance(connection, BoundedProtocol):
                continue
            if connection.receiving_since_s is not None and now_s - connection.receiving_since_s > self._receive_timeout_s:
                connection.refuse(408, f"the request did not arrive within {self._receive_timeout_s:g} s")
            elif connection.idle_since_s is not None and now_s - connection.idle_since_s > _KEEP_ALIVE_S:
                connection.transport.close()


def serve(app: App, listener: socket.socket, *, receive_timeout_s: float = 30.0, grace_s: int = 4) -> None:
    """Answer on `listener` until SIGTERM or SIGINT, then finish what is in flight, for at most `grace_s`, and return."""

    def stop_being_ready() -> None:
        app.ready = False

    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        access_log=False,
        log_config=None,
        log_level="error",  # not a line for every malformed request: a log that strangers can fill
        timeout_graceful_shutdown=grace_s,
    )
    server = Server(config, receive_timeout_s=receive_timeout_s, on_stop=stop_being_ready)
    # uvicorn raises the signal again once it has stopped; it must find this handler then, not the default one, which kills.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))
