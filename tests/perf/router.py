"""A router in front of replicas of a server: least outstanding first, first byte to last passed on as they are.

Just enough HTTP/1.1 for that: keep-alive, and bodies with a Content-Length.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)\r\n", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
_LIMIT = 1 << 22

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Replica:
    """A server behind the router; `spare` are connections to it that nobody uses now."""

    port: int
    outstanding: int = 0
    answered: int = 0
    spare: list[Pair] = field(default_factory=list)
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.idle.set()


class Router:
    """Routes to the replicas that are admitted; `on_answer` is told of every answer."""

    def __init__(self, on_answer: Callable[[], None]) -> None:
        self._on_answer = on_answer
        self._admitted: list[Replica] = []
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.refused = 0

    async def start(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=_LIMIT)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for replica in self._admitted:
            await _close(replica)

    def admit(self, replica: Replica) -> None:
        self._admitted.append(replica)

    async def drain(self, replica: Replica) -> None:
        """Send it nothing more, and wait until it has answered everything."""
        self._admitted.remove(replica)
        await replica.idle.wait()
        await _close(replica)

    @property
    def serving(self) -> int:
        return len(self._admitted)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            while True:
                writer.write(await self._answer(await _message(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or we are to go
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _answer(self, request: bytes) -> bytes:
        if not self._admitted:
            self.refused += 1
            return _UNAVAILABLE
        # Equals in turn.
        first = next(self._turn) % len(self._admitted)
        replica = min(self._admitted[first:] + self._admitted[:first], key=lambda each: each.outstanding)
        replica.outstanding += 1
        replica.idle.clear()
        try:
            pair = (
                replica.spare.pop() if replica.spare else await asyncio.open_connection("127.0.0.1", replica.port, limit=_LIMIT)
            )
            pair[1].write(request)
            reply = await _message(pair[0])
            replica.spare.append(pair)
        finally:
            replica.outstanding -= 1
            if not replica.outstanding:
                replica.idle.set()
        replica.answered += 1
        self._on_answer()
        return reply


async def _close(replica: Replica) -> None:
    while replica.spare:
        _, writer = replica.spare.pop()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(_HEAD_END)
    found = _LENGTH.search(head)
    return head + (await reader.readexactly(int(found[1])) if found and int(found[1]) else b"")
