"""One client's connection: bytes in, at most one whole request at a time out, and an answer back. Never waits."""

from __future__ import annotations

import select
import socket
import struct
from typing import Any

import httptools

from harness.truth.answers import Answer, Form, error

READ_BYTES = 256 * 1024
HEAD_LIMIT_BYTES = 64 * 1024

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s


class Connection:
    """`complete` from when a whole request is there until it is answered; `open` until it is closed.

    Bodies are counted off and forgotten. A request sent before the one in front was answered is not read: the connection is
    closed after the answer, and clients that pipeline have to ask again (RFC 9112, section 9.3.2).
    """

    __slots__ = (
        "_content_type", "_epoll", "_expects", "_given_up", "_head_bytes", "_header_length", "_keep", "_parser", "_path",
        "_surplus", "_unsent", "complete", "open", "sock",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, epoll: select.epoll) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self._epoll = sock, epoll
        self._parser: Any = httptools.HttpRequestParser(self)
        self._unsent: memoryview | None = None
        self._given_up = self._surplus = self.complete = False
        self.open = True
        self._forget()
        epoll.register(sock.fileno(), select.EPOLLIN)

    @property
    def form(self) -> Form:
        return Form(path=self._path, content_type=self._content_type, header_length=self._header_length)

    @property
    def method(self) -> bytes:
        method: bytes = self._parser.get_method()
        return method

    @property
    def keep(self) -> bool:
        """Whether the client wants the connection kept after the answer."""
        return self._keep and not self._surplus

    def read(self, buffer: memoryview) -> bool:
        """Take in what has come, by way of the scratch `buffer`; whether a request has just become complete."""
        try:
            count = self.sock.recv_into(buffer)
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        before = self.complete
        if count == 0:
            self._ended()
        elif not self._surplus:
            self._feed(buffer[:count])
        return self.open and self.complete and not before

    def answer(self, answer: Answer) -> None:
        """Send it, now or as the client takes it, and be ready for the next request or close."""
        self._surplus |= not answer.keep  # nothing after it is read
        if answer.reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._send(answer.data)

    def give_up(self) -> None:
        """There will be no answer: keep the connection for as long as the client does."""
        self._given_up = True

    def writable(self) -> None:
        """Send on; the socket takes more."""
        if self._unsent is not None:
            self._send(self._unsent)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._parser = None  # it and this refer to one another
            self.sock.close()

    def _send(self, data: bytes | memoryview) -> None:
        try:
            sent = self.sock.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._epoll.modify(self.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
            return
        if self._unsent is not None:
            self._unsent = None
            self._epoll.modify(self.sock.fileno(), select.EPOLLIN)
        if self._surplus:
            self.close()
        else:
            self.complete = False
            self._forget()

    def _ended(self) -> None:
        """The client sends no more; it may still wait for its answer."""
        if self.complete and not self._given_up:
            self._surplus = True
            self._epoll.modify(self.sock.fileno(), 0 if self._unsent is None else select.EPOLLOUT)
        else:
            self.close()

    def _feed(self, data: memoryview) -> None:
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            if not self.complete:
                self.answer(error(400, f"this is not an HTTP/1.1 request: {wrong}", keep=False))
            self._surplus = True
            return
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self.answer(error(400, f"the request's head is longer than {HEAD_LIMIT_BYTES} bytes", keep=False))

    def _forget(self) -> None:
        self._path = b""
        self._content_type: bytes | None = None
        self._header_length: bytes | None = None
        self._keep, self._expects = True, False
        self._head_bytes = 0  # -1 once the head is complete

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._surplus |= self.complete

    def on_url(self, url: bytes) -> None:
        if not self.complete:
            self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        size = len(name)
        if size == 12 and name.lower() == b"content-type":
            self._content_type = value
        elif size == 31 and name.lower() == b"inference-header-content-length":
            self._header_length = value
        elif size == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        self._head_bytes = -1
        if self._expects:
            try:
                self.sock.send(_CONTINUE)
            except OSError:
                pass  # gone, or it never reads: the next read or answer finds out

    def on_message_complete(self) -> None:
        if not self.complete:
            self.complete = True
            self._keep = self._parser.should_keep_alive()
