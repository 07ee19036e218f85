"""A server that answers every request at once with the same bytes: what the generator can do when the server costs nothing.

Run as `python -m loadprofiles.null_server --port 0`; it prints the port it listens on as one line.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from typing import cast

from harness.supervise import die_with_parent


class NullServer(asyncio.Protocol):
    """Counts off requests by their Content-Length, whole, in pieces or several at once, and answers each."""

    def __init__(self, response: bytes) -> None:
        self._response = response
        self._pending = b""
        self._body_left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        answers = 0
        while data or self._pending:
            if self._body_left:
                taken = min(self._body_left, len(data))
                self._body_left -= taken
                data = data[taken:]
                answers += not self._body_left
                if self._body_left:
                    break
                continue
            head, found, rest = (self._pending + data).partition(b"\r\n\r\n")
            if not found:
                self._pending = head
                break
            self._pending, data = b"", rest
            self._body_left = content_length(head)
            answers += not self._body_left
        if answers:
            self._transport.write(self._response * answers)


def content_length(head: bytes) -> int:
    """The Content-Length of a request head, 0 when it has none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def response(body_bytes: int) -> bytes:
    """A whole 200 response with that many zero bytes."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {body_bytes}\r\n\r\n"
    return head.encode() + bytes(body_bytes)


async def serve(listener: socket.socket, body_bytes: int) -> None:
    """Answer on `listener` until cancelled."""
    prebuilt = response(body_bytes)
    server = await asyncio.get_running_loop().create_server(lambda: NullServer(prebuilt), sock=listener, backlog=4096)
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer every HTTP request at once with the same bytes.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="listen on this port of 127.0.0.1; 0 takes a free one")
    where.add_argument("--fd", type=int, help="listen on this inherited socket")
    parser.add_argument("--body-bytes", type=int, default=2, help="length of the response body")
    parser.add_argument("--die-with-parent", action="store_true", help="have the kernel end this process with its parent")
    options = parser.parse_args()
    if options.die_with_parent:
        die_with_parent()
    import uvloop

    if options.fd is not None:
        listener = socket.socket(fileno=options.fd)
    else:
        listener = socket.create_server(("127.0.0.1", options.port), backlog=4096)
    uvloop.run(serve(listener, options.body_bytes))


if __name__ == "__main__":
    main()
