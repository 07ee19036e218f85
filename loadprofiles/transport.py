"""One HTTP/1.1 connection driven by the event loop: a request in, at most one outstanding, its end reported once.

Nothing here waits. A request is written as far as the socket takes it and the rest when it takes more; a reply is parsed as
it arrives. A connection that broke, or that the server will close, is reported as closed and never used again; nothing is
ever sent twice.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httptools

from loadprofiles.timer import READ, WRITE, Loop, Watcher

WRITE_BYTES = 256 * 1024
"""The most that is handed to the kernel in one turn, so that a large body does not delay the other requests by much."""

_READ_BYTES = 256 * 1024
_MAX_US = 2**31 - 1

_SO_TIMESTAMPNS = 35
"""Linux's option (and the type of its control message) that says when the bytes read had arrived; Python has no name for it."""
_TIMESPEC = struct.Struct("=qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_OLDEST_NS = 60_000_000_000
"""Bytes do not lie unread for longer; a stamp that says so comes of a clock that was set."""

KEPT_BYTES = 64 * 1024
"""Of a body that is kept for a look; the rest is only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A resolved server address, as `socket.connect` takes it."""

    family: int
    address: Any


def resolve(host: str, port: int) -> Address:
    """The first TCP address of `host`; blocks. Raises OSError when there is none."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return Address(family=family, address=address)


def server_timing_us(value: bytes) -> tuple[int, int]:
    """`queue` and `compute` of a Server-Timing header (W3C Server Timing, durations in ms), in us; -1 for an absent one."""
    found = {b"queue": -1, b"compute": -1}
    for metric in value.split(b","):
        name, *parameters = metric.split(b";")
        name = name.strip()
        if name in found:
            for parameter in parameters:
                key, _, duration = parameter.partition(b"=")
                if key.strip().lower() == b"dur":
                    found[name] = _microseconds(duration)
    return found[b"queue"], found[b"compute"]


def _microseconds(duration_ms: bytes) -> int:
    try:
        microseconds = float(duration_ms.strip(b' \t"')) * 1e3
    except ValueError:
        return -1
    return round(microseconds) if 0 <= microseconds <= _MAX_US else -1


def arrival_ns(control: Sequence[tuple[int, int, bytes]]) -> int:
    """When the bytes that `control` came with had arrived, by the monotonic clock: as the kernel noted it, else now.

    How long this process took to come round to reading them is its own affair, and no part of the server's time. The kernel's
    note is of the wall clock, so how long ago it was is taken by that.
    """
    now = time.monotonic_ns()
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) >= _TIMESPEC.size:
            seconds, ns = _TIMESPEC.unpack_from(data)
            ago = time.time_ns() - (seconds * 1_000_000_000 + ns)
            return now - ago if 0 <= ago < _OLDEST_NS else now
    return now


class Connection:
    """Reports through `ended(connection)` when its request has ended, well (`error` is None) or not; `open` says whether it may
    carry another. A connection closed while idle reports `ended` too, with `busy` False. `arrived_ns` is when a whole reply had
    arrived, 0 where there is none.
    """

    __slots__ = (
        "_address", "_complete", "_connecting", "_ended", "_framed", "_into", "_kept", "_loop", "_parser", "_reader",
        "_started", "_surplus", "_unsent", "_view", "_writer", "arrived_ns", "body", "body_bytes", "busy", "compute_us",
        "due_ns", "error", "open", "payload", "queue_us", "sent_ns", "sock", "status", "target",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, address: Address, buffer: bytearray, ended: Callable[[Connection], None], *, keep: bool = False
    ) -> None:
        """`buffer` is scratch memory that the connections of one loop may share; with `keep` the beginning of each reply's body
        is in `body`. Raises OSError when out of descriptors.
        """
        self._loop, self._address, self._ended = loop, address, ended
        self._into, self._view = [buffer], memoryview(buffer)
        self._parser: Any = httptools.HttpResponseParser(self)
        self.body: bytearray | None = bytearray() if keep else None
        self._reader: Watcher | None = None
        self._writer: Watcher | None = None
        self._unsent: memoryview | None = None
        self._connecting = False
        self.open, self.busy = True, False
        self.due_ns = self.sent_ns = self.payload = self.target = 0
        self._forget()
        self.sock = socket.socket(address.family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        except OSError:
            pass  # then a reply has come when it is read

    @staticmethod
    def buffer() -> bytearray:
        return bytearray(_READ_BYTES)

    def connect_now(self, timeout_s: float) -> None:
        """Connect before the load starts; blocks. Raises OSError."""
        self.sock.settimeout(timeout_s)
        self.sock.connect(self._address.address)
        self.sock.setblocking(False)
        self._watch()

    def send(self, request: bytes) -> None:
        """Start `request`; its end is reported, possibly before this returns."""
        self._forget()
        self.busy = True
        try:
            sent = self.sock.send(request if len(request) <= WRITE_BYTES else memoryview(request)[:WRITE_BYTES])
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return self._end(f"connection broke while sending: {error.strerror}")
        if sent < len(request):
            self._unsent = memoryview(request)[sent:]
            self._wait_for_room()
        return None

    def connect_and_send(self, request: bytes) -> None:
        """Start connecting and send `request` as soon as that is done; the end of either is reported."""
        self._forget()
        self.busy = self._connecting = True
        self._unsent = memoryview(request)
        self.sock.setblocking(False)
        try:
            self.sock.connect(self._address.address)
        except BlockingIOError:
            pass
        except OSError as error:
            return self._end(f"cannot connect: {error.strerror}")
        return self._wait_for_room()

    def close(self) -> None:
        """Close without a report; what the request's end was is then the caller's to say."""
        self.open = False
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reader = self._writer = self._unsent = None
        self._parser = None  # a cycle that no collector will see while a load runs
        self.sock.close()

    def _forget(self) -> None:
        self._complete = self._framed = self._kept = self._surplus = self._started = False
        self.status = self.body_bytes = self.arrived_ns = 0
        self.queue_us = self.compute_us = -1
        self.error: str | None = None
        if self.body is not None:
            self.body.clear()

    def _end(self, error: str | None, *, reusable: bool = False) -> None:
        self.error = error
        if not reusable:
            self.close()
        self._ended(self)

    def _watch(self) -> None:
        self._reader = self._loop.io(self.sock.fileno(), READ)
        self._reader.start(self._readable)

    def _wait_for_room(self) -> None:
        if self._writer is None:
            self._writer = self._loop.io(self.sock.fileno(), WRITE)
        self._writer.start(self._writable)

    def _writable(self) -> None:
        if self._connecting:
            self._connecting = False
            code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                return self._end(f"cannot connect: {os.strerror(code)}")
            self._watch()
        if self._unsent is None:
            return None
        try:
            self._unsent = self._unsent[self.sock.send(self._unsent[:WRITE_BYTES]) :]
        except BlockingIOError:
            return None
        except OSError as error:
            return self._end(f"connection broke while sending: {error.strerror}")
        if not self._unsent:
            self._unsent = None
            if self._writer is not None:
                self._writer.stop()
        return None

    def _readable(self) -> None:
        try:
            n, control, _, _ = self.sock.recvmsg_into(self._into, _CONTROL_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            return self._end(f"connection broke: {error.strerror}")
        if not self.busy:  # closed by the server, or bytes that nobody asked for
            return self._end(None)
        if n == 0:
            return self._end_of_stream()
        try:
            self._parser.feed_data(self._view[:n])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            return self._end(f"malformed reply: {error}")
        if self._complete:
            self.arrived_ns = arrival_ns(control)
            # A reply that came before the whole request was sent leaves the stream out of step.
            again = self._kept and not self._surplus and self._unsent is None
            self._end("more than one reply to one request" if self._surplus else None, reusable=again)
        return None

    def _end_of_stream(self) -> None:
        if self._started and not self._framed:  # RFC 9112, 6.3: such a body ends with the connection
            self.status = self._parser.get_status_code()
            return self._end(None)
        return self._end("connection closed in the middle of a reply" if self._started else "connection closed without a reply")

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if size == 13 and name.lower() == b"server-timing":
            self.queue_us, self.compute_us = server_timing_us(value)
        elif (size == 14 and name.lower() == b"content-length") or (size == 17 and name.lower() == b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        self._started = True

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.body is not None and len(self.body) < KEPT_BYTES:
            self.body += body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # interim; the reply is still to come
            self._started = self._framed = False
            return
        self._surplus = self._complete
        self._complete = True
        self._kept = self._parser.should_keep_alive()  # the parser forgets it with the message
        self.status = status
