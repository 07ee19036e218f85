"""Start the real server program around a fake model, and talk to it byte by byte."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.supervise import Child, last_line

ROOT = Path(__file__).parents[3]
READY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    child: Child
    port: int
    ready: dict[str, Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)


def start(
    folder: Path, *arguments: str, module: str = "tests.harness.serving.fake_server", pass_fds: Sequence[int] = ()
) -> tuple[Child, Path]:
    """The server as a child that ends with this process; its ready file is not awaited."""
    ready_file = folder / "ready.json"
    argv = [sys.executable, "-m", module, *arguments, "--ready-file", str(ready_file), "--die-with-parent"]
    return Child(argv, log=folder / "server.log", cwd=ROOT, pass_fds=pass_fds), ready_file


def wait_ready(child: Child, ready_file: Path) -> dict[str, Any]:
    """The ready file's document, as soon as there is one."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not ready_file.exists():
        assert child.alive(), child.how_it_ended()
        assert time.monotonic() < deadline, f"not ready: {last_line(child.log)}"
        time.sleep(0.02)
    document: dict[str, Any] = json.loads(ready_file.read_text())
    return document


@contextmanager
def server(folder: Path, model: str, *arguments: str, pass_fds: Sequence[int] = ()) -> Iterator[Running]:
    """A ready server for `model`, ended and reaped at the end whatever happens."""
    where = () if "--fd" in arguments else ("--port", "0")
    child, ready_file = start(folder, "--model", model, *where, *arguments, pass_fds=pass_fds)
    try:
        ready = wait_ready(child, ready_file)
        yield Running(child=child, port=ready["port"], ready=ready)
    finally:
        child.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A request as bytes; `length` lies about the body's."""
    size = len(body) if length is None else length
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {size}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def receive(connection: socket.socket) -> Response:
    """One whole response, and not a byte of the next. Raises ConnectionError when the server closes first."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _read(connection, 1)
    status_line, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = _read(connection, int(headers["content-length"]))
    return Response(status=int(status_line.split()[1]), headers=headers, body=body)


def _read(connection: socket.socket, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        part = connection.recv(size_bytes - len(data))
        if not part:
            raise ConnectionError("the server closed the connection")
        data += part
    return data


def exchange(running: Running, request: bytes) -> Response:
    with running.connect() as connection:
        connection.sendall(request)
        return receive(connection)
