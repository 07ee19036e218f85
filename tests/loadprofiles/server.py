"""A real HTTP server whose path says how it behaves: the well-behaved one, and every way of not being it."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

BODY = b"0123456789"
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _binary(size: int) -> bytes:
    """An Open Inference Protocol reply with one float tensor after its JSON."""
    header = b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, %d], "parameters": {"binary_data_size": %d}}]}' % (
        size,
        4 * size,
    )
    lengths = (len(header), len(header) + 4 * size)
    return (
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n" % lengths
        + header
        + bytes(4 * size)
    )


REPLIES = {
    "good": GOOD,
    "timed": b"HTTP/1.1 200 OK\r\nServer-Timing: queue;dur=0.25, compute;dur=1.5\r\nContent-Length: 10\r\n\r\n" + BODY,
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + GOOD,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
    "busy": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "short": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n012",
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "json": _json(b'{"predictions": [[0.5]]}'),
    "cut-json": _json(b'{"predictions": [[0.5'),
    "oip": _json(b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'),
    "oip-other": _json(b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}'),
    "metadata": _json(b'{"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]}'),
    "no-metadata": _json(b'{"error": "no such model"}'),
    "free-axis": _json(b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, -1]}]}'),
    "binary": _binary(2),
    "binary-other": _binary(3),
    "garbage": b"SSH-2.0-OpenSSH_9.6\r\n\r\n\r\n",
    "surplus": GOOD + GOOD,
}
CLOSING = {
    "closes": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n" + BODY,
    "closes-silently": GOOD,
    "until-eof": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "truncated": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123",
    "truncated-chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n45",
    "truncated-head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "no-reply": b"",
}


class Handler(socketserver.BaseRequestHandler):
    server: Server
    turns = 0

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), self.request.makefile("rb") as stream:
            while line := stream.readline():
                size, head = 0, b""
                while (header := stream.readline().strip().lower()) != b"":
                    if header.startswith(b"content-length:"):
                        size = int(header.split(b":")[1])
                    head += header + b"\n"
                body = stream.read(size)
                with self.server.lock:
                    self.server.received.append(len(body))
                    self.server.heads.append(head)
                if not self.behave(line.split()[1].decode().strip("/")):
                    return

    def behave(self, name: str) -> bool:
        """Answer once; whether the connection stays."""
        name = self.server.routes.get(name, name)
        if name.startswith("every-other-"):
            self.turns += 1
            name = name.removeprefix("every-other-") if self.turns % 2 else "good"
        elif name == "first-2-binary-then-binary-other":
            posted = sum(size > 0 for size in self.server.received)
            name = "binary" if posted <= 2 else "binary-other"
        if name.startswith("slow-"):
            time.sleep(float(name.removeprefix("slow-")) / 1e3)
        elif name == "stall":
            time.sleep(max(0.0, self.server.first_request() + self.server.stall_s - time.monotonic()))
        elif name == "reset":
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
            return False
        elif name == "never":
            self.server.released.wait(30)
            return False
        if name in CLOSING:
            self.request.sendall(CLOSING[name])
            return False
        self.request.sendall(REPLIES.get(name, GOOD))
        return True


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.received: list[int] = []
        self.heads: list[bytes] = []
        self.accepted = 0
        self.stall_s = 1.0
        self.routes: dict[str, str] = {}
        self._first: float | None = None

    def process_request(self, request: Any, client_address: Any) -> None:
        self.accepted += 1
        super().process_request(request, client_address)

    def first_request(self) -> float:
        with self.lock:
            self._first = self._first or time.monotonic()
            return self._first

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
